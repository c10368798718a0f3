"""How often the verdict is wrong, where the truth is known: Lennard-Jones potentials judged against each other.

A teacher of four replicas of liquid argon, and sets of four replicas each of a student that is the very same potential,
and of one whose atoms are one hundredth larger. Of the first, rejections are false alarms; of the second, anything else
is a miss:

    python tests/benchmarks/verdicts.py                    # 20 sets of each: 17 minutes on one core
    python tests/benchmarks/verdicts.py --sets 3 --ps 5
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from argon import EDGE, SIGMA, TEMPERATURE, LennardJones
from ase.build import bulk

from distill.analysis.verdicts import Criterion, Verdict
from distill.dynamics.course import Course
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.md import run_md
from distill.dynamics.replica import PRODUCTION, at_the_end, run_replica, samples_of
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.observables import OBSERVABLES
from distill.observables.base import Measured
from distill.observables.criteria import Observed, compared

STEP_FS, SAVE_FS, HOT = 10.0, 100.0, 200.0
"""Steps and samples, fs; where the crystal melts first, K."""
WANTED: dict[str, dict[str, Any]] = {
    "g": {"kind": "rdf", "range": [3.0, 7.5], "width": 0.1, "tolerance": "3 %"},
    "E": {"kind": "energy", "tolerance": 0.0004},
    "p": {"kind": "pressure", "tolerance": 0.008},
    "D": {"kind": "diffusion", "tolerance": "20 %"},
}
"""What is observed, and how far it may be off."""


def main() -> None:
    """Run all replicas, judge all sets, and print how many were rejected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20, help="sets of replicas of each student")
    parser.add_argument("--ps", type=float, default=15.0, help="length of a replica, ps")
    parser.add_argument("--cells", type=int, default=3, help="face-centred cells along an edge")
    given = parser.parse_args()
    observables = {
        name: OBSERVABLES[of["kind"]].model_validate(of | {"run": "liquid"}, strict=False)
        for name, of in WANTED.items()
    }
    began = time.process_time()
    teacher = [measured(observables, SIGMA, seed, given) for seed in range(4)]
    for factor in (1.0, 1.01):
        decisions: Counter[str] = Counter()
        outcomes: dict[str, Counter[str]] = {name: Counter() for name in observables}
        for number in range(given.sets):
            seeds = [1000 * round(1000 * factor) + 4 * number + k for k in range(4)]
            student = [measured(observables, factor * SIGMA, seed, given) for seed in seeds]
            criteria = [Criterion(2, "survival", "pass")]
            for name, observable in observables.items():
                of = [[replica[name] for replica in replicas] for replicas in (student, teacher)]
                one = compared(Observed(name, observable, *of, (given.ps, given.ps)))
                assert one is not None
                criteria.append(one)
                outcomes[name][one.outcome] += 1
            decisions[Verdict(tuple(criteria)).decision] += 1
        said = "; ".join(f"{name} {dict(of)}" for name, of in outcomes.items())
        print(f"sigma x {factor:.2f}: {dict(decisions)} of {given.sets} sets ({said})", flush=True)
    print(f"{time.process_time() - began:.0f} s of processor time")


def measured(observables: dict[str, Any], sigma: float, seed: int, given: argparse.Namespace) -> dict[str, Measured]:
    """Return what one replica of a potential shows."""
    atoms = bulk("Ar", "fcc", a=EDGE, cubic=True).repeat(given.cells)
    hot, ensemble = (Ensemble("nvt", temperature, "bussi", 500.0) for temperature in (HOT, TEMPERATURE))
    course = Course(given.ps, STEP_FS, SAVE_FS, given.ps, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        molten = run_md(atoms, LennardJones(sigma), hot, replace(course, ps=3.0), Path(folder) / "hot")
        replica = Path(folder) / "replica"
        liquid = at_the_end(molten.trajectory, atoms)
        run_replica(liquid, LennardJones(sigma), ensemble, course, replica, equilibrate_ps=5.0)
        samples = samples_of(TrajectoryFolder(replica / PRODUCTION))
        return {name: observable.measure(samples) for name, observable in observables.items()}


if __name__ == "__main__":
    main()
