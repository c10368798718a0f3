"""What works on a GPU and how fast: one command, the most important first, that ends in the time it is given.

    python tests/benchmarks/gpu.py --device cuda --minutes 6 --out DIR
    python tests/benchmarks/gpu.py --device cpu --minutes 1 --out DIR       # the rehearsal

Every result is printed at once and added to ``DIR/gpu.jsonl``; the table is in ``DIR/gpu.md``, tracebacks in
``DIR/gpu.log``. The cases are in ``gpu_cases.py``. They run in two processes: correctness first, while others compile
networks into the compiler's cache, then everything that is timed, with the machine to itself. A case that fails is a
row that says so. Where a process dies with its case, or its GPU can no longer be used (an illegal access spoils all
that follows), a new one goes on with the next case. It runs from a source tree that is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from generation import positive, say, table, with_allocator

from distill.base.errors import DistillError
from distill.workflow.machine import reset_peak_memory, resolve_device, usable_cores, use_threads

PHASES = ("correctness", "speed")
COMPILING = 0.4
"""Share of the time after which networks that are not compiled by then never will be."""

PLANNED = 6.0
"""Minutes that the seconds of the cases are meant for; they stretch with ``--minutes``."""

PATIENCE = 40.0
"""Seconds that a case on a GPU may take at least: some import a lot or compile for themselves."""

UNUSABLE = 3
"""Exit code of a process that cannot go on with the next case."""

COMPILED = ("painn", "tensornet")
"""The networks that are compiled."""

Figures = dict[str, float | int | str]


class Skipped(Exception):
    """Raised by a case that cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Bench:
    """What the cases are given.

    Attributes:
        device: torch device.
        deadline: when everything has to be over, as ``time.time()`` counts.
        stretch: by what the seconds planned for a case are multiplied.
        out: folder of the results.
        water: labelled cells of water, or None.
    """

    device: str
    deadline: float
    stretch: float
    out: Path
    water: Path | None

    @property
    def on_gpu(self) -> bool:
        """Whether this is not a rehearsal."""
        return self.device.startswith("cuda")

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.time()

    def row(self, case: str, **figures: float | int | str) -> None:
        """Print a result and keep it."""
        print(f"{case}: {described(figures)}", flush=True)
        with (self.out / "gpu.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"case": case, **figures}) + "\n")

    def rows(self) -> list[Figures]:
        """Return the results so far, of all processes."""
        file = self.out / "gpu.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def figure(self, case: str, name: str) -> float | None:
        """Return the last figure of that name of a case, if it was measured."""
        found = [row[name] for row in self.rows() if row["case"] == case and name in row]
        return float(found[-1]) if found else None

    def failed(self, case: str, reason: str) -> None:
        """Record that a case gave nothing."""
        self.row(case, failed=reason)


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Attributes:
        name: unique.
        phase: one of :data:`PHASES`.
        seconds: what it takes on a GPU, roughly.
        run: measures, and gives its results to :meth:`Bench.row`.
    """

    name: str
    phase: str
    seconds: float
    run: Callable[[Bench], None]


def described(figures: Figures) -> str:
    """Return figures as text, for instance ``peak_mib 512, structures_per_s 1.2e+04``."""
    return ", ".join(f"{name} {f'{v:.3g}' if isinstance(v, float) else v}" for name, v in figures.items())


# One process, case by case


def run_cases(bench: Bench, cases: list[Case]) -> None:
    """Run the cases that there is time for; ends the process where the next one could not be trusted."""
    for case in cases:
        needed = case.seconds * min(bench.stretch, 1.0) / 2
        if bench.left() < needed:
            bench.row(case.name, skipped=f"{bench.left():.0f} s are left, it needs {needed:.0f}")
            continue
        (bench.out / "current").write_text(case.name, encoding="utf-8")
        limit = bench.left() + 2
        if bench.on_gpu:  # a busy processor may be slow, a GPU that takes so long hangs
            limit = min(limit, max(3 * case.seconds * bench.stretch, PATIENCE))
        watchdog = threading.Timer(limit, give_up, (bench, case.name, limit))
        watchdog.daemon = True
        watchdog.start()
        try:
            run_case(bench, case)
        finally:
            watchdog.cancel()


def give_up(bench: Bench, name: str, limit: float) -> None:
    """End this process, whose case takes too long."""
    bench.failed(name, f"not done after {limit:.0f} s")
    os._exit(UNUSABLE)


def run_case(bench: Bench, case: Case) -> None:
    """Run one case and record its seconds, its peak memory, or why it failed."""
    reset_peak_memory()
    begin = time.perf_counter()
    try:
        case.run(bench)
    except Skipped as reason:
        bench.row(case.name, skipped=str(reason))
        return
    except Exception as error:
        with (bench.out / "gpu.log").open("a", encoding="utf-8") as file:
            file.write(f"--- {case.name}\n{traceback.format_exc()}\n")
        say("".join(traceback.format_exception(error)[-3:])[-800:])
        bench.failed(case.name, f"{type(error).__name__}: {shortened(str(error))}")
        if not usable(bench.device):
            sys.exit(UNUSABLE)
        return
    bench.row(case.name, seconds=time.perf_counter() - begin, **gpu_memory(bench))


def shortened(text: str) -> str:
    """Return a message in one line, the beginning and the end of a long one."""
    text = " ".join(text.split())
    return text if len(text) < 400 else f"{text[:150]} ... {text[-250:]}"


def gpu_memory(bench: Bench) -> Figures:
    """Return the most memory that was allocated on the GPU since the case began."""
    if not bench.on_gpu:
        return {}
    import torch

    return {"peak_gpu_mib": round(torch.cuda.max_memory_allocated() / 1024**2)}


def usable(device: str) -> bool:
    """Return whether the device still computes: some errors spoil it for the rest of the process."""
    import torch

    try:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        return float(torch.ones(3, device=device).sum()) == 3.0
    except RuntimeError:
        return False


# The processes


def command(options: argparse.Namespace, deadline: float, *what: str) -> list[str]:
    """Return the command of a process of this script."""
    own = [sys.executable, __file__, "--device", options.device, "--minutes", str(options.minutes)]
    own += ["--out", str(options.out), "--threads", str(options.threads), "--deadline", str(deadline), *what]
    return own + (["--water", str(options.water)] if options.water else [])


def run_phase(options: argparse.Namespace, bench: Bench, phase: str) -> None:
    """Run the cases of a phase in one process, or in several where one dies."""
    current = bench.out / "current"
    current.write_text("", encoding="utf-8")
    while bench.left() > 0:
        after = current.read_text(encoding="utf-8")
        process = subprocess.Popen(command(options, bench.deadline, "--phase", phase, "--after", after))
        try:
            code = process.wait(timeout=max(bench.left(), 0.0) + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        last = current.read_text(encoding="utf-8")
        if code and code != UNUSABLE:
            bench.failed(last if last != after else phase, f"its process ended with code {code}")
        if code == 0 or last == after:
            return


def wait_for(processes: list[subprocess.Popen[bytes]], until: float) -> None:
    """Wait for processes until a time, and end those that are not done."""
    for process in processes:
        try:
            process.wait(timeout=max(until - time.time(), 0.0))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


def orchestrate(options: argparse.Namespace) -> None:
    """Run everything in time, and write the table."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("gpu.jsonl", "gpu.log", "gpu.md", "current"):
        (options.out / name).unlink(missing_ok=True)
    begin, seconds = time.time(), 60 * options.minutes
    bench = make_bench(options, begin + seconds)
    compilers = []
    if bench.on_gpu or options.compile:
        wanted = [f"{arch} {purpose}" for arch in COMPILED for purpose in ("fit", "use")]
        compilers = [subprocess.Popen(command(options, bench.deadline, "--warm", one)) for one in wanted]
    for phase in PHASES:
        run_phase(options, bench, phase)
        wait_for(compilers, begin + COMPILING * seconds)
    (options.out / "current").unlink(missing_ok=True)
    rows = [f"| {row.pop('case')} | {described(row)} |" for row in bench.rows()]
    (options.out / "gpu.md").write_text(table("| case | results |", rows) + "\n", encoding="utf-8")
    print(f"{time.time() - begin:.0f} s in all; the table is in {options.out / 'gpu.md'}", flush=True)


def make_bench(options: argparse.Namespace, deadline: float) -> Bench:
    """Return what the cases are given."""
    return Bench(options.device, deadline, options.minutes / PLANNED, options.out, options.water)


def arguments() -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: cuda)")
    parser.add_argument("--minutes", type=float, default=PLANNED, help=f"for everything (default: {PLANNED:g})")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results; made if need be")
    parser.add_argument("--water", type=Path, metavar="FILE", help="extended XYZ of labelled cells of water")
    parser.add_argument("--threads", type=positive, default=usable_cores(), help="of the processor (default: all)")
    parser.add_argument("--compile", action="store_true", help="compile networks in a rehearsal too (minutes)")
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--after", default="", help=argparse.SUPPRESS)
    parser.add_argument("--warm", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the whole, or as one of its processes some cases."""
    options = arguments()
    with_allocator()
    warnings.filterwarnings("ignore")
    if options.deadline is None:
        orchestrate(options)
        return
    from gpu_cases import CASES, compiling

    bench = make_bench(options, options.deadline)
    resolve_device(options.device)
    use_threads(options.threads)
    if options.warm:
        run_case(bench, compiling(*options.warm.split()))
    else:
        names = [case.name for case in CASES]
        first = names.index(options.after) + 1 if options.after else 0
        run_cases(bench, [case for case in CASES[first:] if case.phase == options.phase])


if __name__ == "__main__":
    import gpu  # the cases import this module by its name; there is to be one of it

    try:
        gpu.main()
    except DistillError as error:
        say(str(error))
        sys.exit(error.exit_code)
