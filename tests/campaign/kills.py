"""Kill runs at single file operations and at random moments, and compare what comes out with an unbroken run.

    python tests/campaign/kills.py [--kills 100] [--recipe RECIPE] [--distill PROGRAM] [--seed 0]

Without a recipe it is the toy pipeline of ``tests/unit/workflow``, where a kill takes a few seconds. With one, which
must be deterministic, all stages are real. An unbroken run is the reference. Then, again and again, a copy of it loses
one artifact, or one and all that depend on it; the command runs and is killed, up to three times, and is finished:

  operation  the worker dies before its n-th file operation, or the run does, or both
  finish     the worker dies just before a finished folder is renamed to its place
  remove     the worker dies before the n-th file that it deletes
  moment     the run and all below it die at a random moment

Lost is a last run that fails, a file that differs in anything but times, and a temporary file that stays. The last line
counts; exit status 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOYS = HERE.parent / "unit" / "workflow"
TIMES = re.compile(r"seconds|_s$|^ms_|wall|elapsed|^time$")
NOT_COMPARED = {"manifest.json", "log.txt", "report.html", "costs.png", "speed.csv", "summary.json"}
"""Files that tell times; manifests are read by the run itself."""
HANG_S = 600.0
"""Seconds after which a run hangs."""


@dataclass(frozen=True)
class Death:
    """A way to die: who, taking whom along, before which operation."""

    role: str
    whom: str
    event: str
    number: int

    def spec(self, root: Path, flag: Path) -> str:
        """Return what ``dying.py`` is told."""
        return f"{self.role}:{self.whom}:{self.event}:{self.number}:{root}:{flag}"


def deaths(rng: random.Random) -> Death | float:
    """Return a way to die, or seconds after which all die."""
    way = rng.choice(("operation", "operation", "operation", "finish", "remove", "moment"))
    if way == "moment":
        return rng.uniform(0.3, 6.0)
    if way == "finish":
        return Death("worker", rng.choice(("self", "all")), "finish", 1)
    if way == "remove":
        return Death("worker", "self", "os.remove", rng.randint(1, 5))
    role = rng.choice(("worker", "worker", "run"))
    whom = rng.choice(("self", "all")) if role == "worker" else "self"
    return Death(role, whom, "any", int(rng.triangular(1, 60, 5)) if role == "worker" else rng.randint(1, 25))


class Runs:
    """The command, where it is run, and how it is killed.

    Args:
        command: the program and what comes before ``run``.
        recipe: the recipe.
        work: a folder for the copies.
    """

    def __init__(self, command: list[str], recipe: Path, work: Path) -> None:
        self.command, self.recipe, self.work = command, recipe, work
        self.flag, self.hook = work / "flag", work / "hook"
        self.hook.mkdir(parents=True)
        shutil.copy(HERE / "dying.py", self.hook / "sitecustomize.py")

    def run(self, folder: Path, death: Death | float | None = None) -> tuple[int, str]:
        """Return exit status and error stream of a run that dies so, or not at all."""
        self.flag.unlink(missing_ok=True)
        path = os.pathsep.join([str(self.hook), *filter(None, [os.environ.get("PYTHONPATH")])])
        at = death.spec(folder, self.flag) if isinstance(death, Death) else ""
        process = subprocess.Popen(
            [*self.command, "run", str(self.recipe), "--runs", str(folder), "--device", "cpu"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "KILL_AT": at},
        )
        try:
            _, said = process.communicate(timeout=death if isinstance(death, float) else HANG_S)
        except subprocess.TimeoutExpired:
            if not isinstance(death, float):
                raise
            for one in [*_below(process.pid), process.pid]:
                _kill(one)
            _, said = process.communicate(timeout=HANG_S)
        return process.returncode, said


def _below(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have (Linux)."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_below(child)]
    return found


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def canonical(path: Path) -> Any:
    """Return what a file holds, without times."""
    data = path.read_bytes()
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(data.decode()))
        return [{name: value for name, value in row.items() if not TIMES.search(name)} for row in rows]
    return _without_times(json.loads(data)) if path.suffix == ".json" else data


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if not TIMES.search(name) and name != "seal"}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, Path]:
    """Return the files and links below a folder by name; locks mean nothing once nobody holds them."""
    every = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {str(path.relative_to(folder)): path for path in every if path.suffix != ".lock"}


def differences(reference: Path, folder: Path) -> Iterator[str]:
    """Yield how a finished run differs from the unbroken one."""
    before, after = contents(reference), contents(folder)
    yield from (f"{name} is missing" for name in sorted(before.keys() - after.keys()))
    yield from (f"{name} was left" for name in sorted(after.keys() - before.keys()))
    for name in sorted(before.keys() & after.keys()):
        compared = before[name].name not in NOT_COMPARED and "/logs/" not in name and not before[name].is_symlink()
        if compared and canonical(before[name]) != canonical(after[name]):
            yield f"{name} differs"


def campaign(runs: Runs, kills: int, seed: int) -> list[str]:
    """Return what was lost in so many kills, each with what had happened before."""
    rng, reference, copy = random.Random(seed), runs.work / "reference", runs.work / "copy"
    status, said = runs.run(reference)
    if status:
        raise SystemExit(f"the unbroken run ended with {status}: {said}")
    tasks = json.loads(next(reference.glob("*/plan.json")).read_text())["tasks"]
    done, lost = 0, list[str]()
    while done < kills:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(reference, copy, symlinks=True)
        story = [_take_away(copy / ".store", tasks, rng)]
        for _ in range(rng.randint(1, 3)):
            death = deaths(rng)
            runs.run(copy, death)
            if isinstance(death, Death) and not runs.flag.exists():
                break  # it was finished before
            story.append(str(death))
            done += 1
        status, said = runs.run(copy)
        wrong = [f"it ended with {status}: {said}"] if status else list(differences(reference, copy))
        print(f"{done:5d} {' > '.join(story)}: {'; '.join(wrong) or 'as the reference'}", flush=True)
        lost += [f"{' > '.join(story)}: {one}" for one in wrong]
    return lost


def _take_away(store: Path, tasks: dict[str, Any], rng: random.Random) -> str:
    """Delete the artifact of a task, or also of all that depend on it, and return which."""
    chosen = {rng.choice(sorted(tasks))}
    name = next(iter(chosen))
    if rng.random() < 0.3:
        for task, said in tasks.items():  # in the order of the plan
            chosen |= {task} if chosen & set(said["needs"]) else set()
    for task in chosen:
        shutil.rmtree(store / tasks[task]["stage"] / tasks[task]["hash"][:16])
    return name + "+" * (len(chosen) > 1)


def main() -> None:
    """Kill as often as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--recipe", type=Path, help="a recipe instead of the toys'")
    parser.add_argument("--distill", default="distill", help="the program that runs the recipe")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command, recipe = [options.distill], options.recipe
        if recipe is None:
            command, recipe = toy(Path(folder))
        lost = campaign(Runs(command, recipe.absolute(), Path(folder) / "work"), options.kills, options.seed)
    print(f"{options.kills} kills, {len(lost)} lost")
    sys.exit(bool(lost))


def toy(folder: Path) -> tuple[list[str], Path]:
    """Write the toy recipe into a folder, and return the command that runs it, and the recipe."""
    sys.path.insert(0, str(TOYS))
    from toy_folder import TOY_CLI, Toy

    return [sys.executable, TOY_CLI], Toy(folder).path


if __name__ == "__main__":
    main()
