"""Change single bits of a finished run's files, and see whether every change is found and none is used.

    python tests/campaign/flips.py [--flips 400] [--seed 0]

The toy pipeline of ``tests/unit/workflow`` runs once. Then, again and again, one bit of one file changes: of a
manifest, of a plan, or of what a stage wrote. ``plan`` and ``status`` must answer, ``run`` must say what is damaged
and end well, and afterwards everything is again as it was. The last line counts; exit status 1 if a change was missed,
used, or in the way.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "workflow"))

from toy_folder import Toy

from distill.api import explain
from distill.base.errors import DistillError
from distill.workflow.runner import run_recipe
from distill.workflow.status import run_status


def flippable(runs: Path) -> list[Path]:
    """Return the files whose content counts: manifests, what stages wrote, and the plans of the run."""
    kept = sorted(path for path in (runs / ".store").rglob("*") if path.is_file() and path.suffix != ".lock")
    return [*kept, *sorted((runs / "toy").glob("*plan.json"))]


def content(runs: Path) -> dict[str, bytes]:
    """Return what all files hold, those aside that tell times."""
    timed = {"manifest.json", "summary.json"}
    return {str(path.relative_to(runs)): path.read_bytes() for path in flippable(runs) if path.name not in timed}


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def one(toy: Toy, path: Path, bit: int, before: dict[str, bytes]) -> str:
    """Flip a bit, use every command, and return what went wrong, empty if nothing did."""
    flip(path, bit)
    said = io.StringIO()
    try:
        explain(toy.load(), runs=toy.runs)
        run_status("toy", toy.runs)
        with contextlib.redirect_stderr(said):
            run_recipe(toy.load(), runs=toy.runs)
    except (DistillError, ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        return f"in the way: {type(error).__name__}: {error}"
    if path.parent.name != "toy" and "is damaged" not in said.getvalue():
        return "not found"
    after = content(toy.runs)
    wrong = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    wrong = [name for name in wrong if not name.endswith("log.txt")]  # nothing reads it, and it stays as it is
    return f"used: {', '.join(sorted(wrong))}" if wrong else ""


def campaign(folder: Path, flips: int, seed: int) -> list[str]:
    """Return what went wrong in so many flips, each with file and bit."""
    rng, toy, lost = random.Random(seed), Toy(folder), []
    run_recipe(toy.load(), runs=toy.runs, progress=False)
    before = content(toy.runs)
    for number in range(flips):
        path = rng.choice([path for path in flippable(toy.runs) if path.stat().st_size])
        bit = rng.randrange(8 * path.stat().st_size)
        trouble = one(toy, path, bit, before)
        if trouble:
            lost.append(f"flip {number}, bit {bit} of {path.relative_to(toy.runs)}: {trouble}")
            print(lost[-1], flush=True)
    return lost


def main() -> None:
    """Flip as many bits as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lost = campaign(Path(folder), options.flips, options.seed)
    print(f"{options.flips} flips, {len(lost)} missed, used or in the way")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
