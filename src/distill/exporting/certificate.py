"""The certificate of an exported student: another program says the same as this package.

Ours is evaluated in double precision, whatever the other computes in. Every difference stands beside its limit; what
could not be done says why, and counts as not shown. Each program brings a function that evaluates structures with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from platform import machine
from typing import Any, Protocol, TypeVar

import numpy as np
from ase import Atoms

from distill.base.arrays import Array
from distill.base.conventions import DTYPES, Precision
from distill.base.errors import DistillError
from distill.exporting.frames import SEED, certificate_frames
from distill.potentials.interface.potential import Potential

FILE = "certificate.json"

LIMITS = {
    "double": {"energy": 1e-6, "forces": 1e-6, "forces_relative": 1e-7, "stress": 1e-8, "ranks": 1e-9},
    "single": {"energy": 1e-6, "forces": 1e-5, "forces_relative": 1e-6, "stress": 1e-6, "ranks": 1e-6},
}
"""Largest differences: eV/atom; eV/Å, and in addition relative to the largest force; eV/Å³; and between ranks eV/Å."""

STEP = 1e-3
"""Å; of the numerical derivative, whose error goes with the fourth power."""
DERIVATIVE = 1e-5
"""eV/Å; the largest difference of the forces from the numerical derivative, of one unit of displacement."""
NVE_STEPS, NVE_TIMESTEP_FS, NVE_TEMPERATURE = 200, 0.25, 100.0
"""Steps, fs, K."""
DRIFT = 0.01
"""How far the total energy may go away from its first value, of what is exchanged between potential and kinetic energy.
The integrator's own error is (ω Δt)² / 8 of it, 0.003 for the stretching of bonds to hydrogen."""

Check = dict[str, Any]
Certificate = dict[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """What a program says of one structure."""

    energy: float
    """eV."""
    forces: Array
    """``[N, 3]`` eV/Å."""
    stress: Array | None = None
    """``[3, 3]`` eV/Å³ with ASE's sign; of no meaning without a periodic cell, and None from who has none."""


P = TypeVar("P", bound=Potential)

Evaluate = Callable[[Sequence[Atoms]], Sequence[Evaluated]]


class Session(Protocol):
    """A program that has loaded what was written for it."""

    def evaluate(self, structures: Sequence[Atoms]) -> Sequence[Evaluated]:
        """Return what the program says of structures."""

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in dynamics of the program's own without a thermostat, eV.

        It begins at :data:`NVE_TEMPERATURE` and is :data:`NVE_STEPS` of :data:`NVE_TIMESTEP_FS` long; ``[steps + 1]``.
        """


def reference(potential: P, precision: Precision = "double") -> P:
    """Return a copy of the potential on the CPU; in double precision it is what others are compared with."""
    return copy.deepcopy(potential).to("cpu").in_precision(DTYPES[precision]).eval()


def begun(engine: str, precision: Precision) -> Certificate:
    """Return the first lines of a certificate."""
    made = {"engine": engine, "date": datetime.now(UTC).isoformat(timespec="seconds"), "precision": precision}
    return made | {"machine": machine(), "seed_of_frames": SEED}


def verdict_of(checks: Mapping[str, Check]) -> str:
    """Return what checks amount to: ``failed``, ``passed``, or ``passed, but for what was not run``."""
    passed = [check["passed"] for check in checks.values()]
    return "failed" if False in passed else "passed" if all(passed) else "passed, but for what was not run"


def together(certificates: Mapping[str, Certificate]) -> Certificate:
    """Return the certificates of all programs as ``certificate.json`` has them, with one verdict on top."""
    verdicts = [str(one["verdict"]) for one in certificates.values()]
    ran = [verdict for verdict in verdicts if not verdict.startswith("not run")]
    if not ran:
        verdict = verdicts[0] if len(verdicts) == 1 else "not run"
    elif "failed" in ran:
        verdict = "failed"
    else:
        verdict = "passed" if set(verdicts) == {"passed"} else "passed, but for what was not run"
    return {"verdict": verdict, "programs": dict(certificates)}


def not_run_or(check: Callable[[], Check]) -> Check:
    """Return a check; where the program stopped with an error, one that was not run, and why."""
    try:
        return check()
    except DistillError as error:
        return {"passed": None, "verdict": f"not run: {error}"}


def program_checks(potential: Potential, session: Session, precision: Precision) -> dict[str, Check]:
    """Return all checks of a program that runs on one rank: the frames, the numerical derivative and the dynamics."""
    student = reference(potential)
    frames = certificate_frames(student.elements or (), student.cutoff)
    found = dict(zip(frames, session.evaluate(list(frames.values())), strict=True))
    checks = frame_checks(student, frames, found, precision)
    checks["numerical derivative"] = not_run_or(
        lambda: derivative_check(session.evaluate, frames["rattled by 0.1 Å"], precision)
    )
    checks["constant energy"] = not_run_or(lambda: energy_check(*session.constant_energy(frames["rattled by 0.01 Å"])))
    return checks


def frame_checks(
    potential: Potential, frames: Mapping[str, Atoms], found: Mapping[str, Evaluated], precision: Precision
) -> dict[str, Check]:
    """Return how far a program is from ours for each frame."""
    limits, ours = LIMITS[precision], potential.evaluate(list(frames.values()))
    checks: dict[str, Check] = {}
    for at, (name, atoms) in enumerate(frames.items()):
        expected = ours[at]
        energies, forces, stresses = expected.energy, expected.forces, expected.stress
        if energies is None or forces is None or stresses is None:
            raise ValueError("a potential predicts energies, forces and stresses")
        largest = limits["forces"] + limits["forces_relative"] * float(np.abs(forces).max(initial=0))
        rows = [
            ("energy_ev_per_atom", abs(found[name].energy - energies[0]) / len(atoms), limits["energy"]),
            ("forces_ev_per_angstrom", difference(found[name].forces, forces), largest),
        ]
        stress = found[name].stress
        if atoms.pbc.all() and stress is not None:
            rows.append(("stress_ev_per_cubic_angstrom", difference(stress, stresses[0]), limits["stress"]))
        checks[f"frame: {name}"] = judged(rows)
    return checks


def derivative_check(evaluate: Evaluate, atoms: Atoms, precision: Precision) -> Check:
    """Return how far forces are from the five-point derivative of the energy along a random displacement."""
    if precision == "single":
        return {"passed": None, "verdict": "not run: energies are rounded to more than they change by"}
    direction = np.random.default_rng(SEED).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    moved = []
    for factor in (-2, -1, 0, 1, 2):
        moved.append(atoms.copy())
        moved[-1].positions += factor * STEP * direction
    found = evaluate(moved)
    far_left, left, _, right, far_right = (one.energy for one in found)
    numerical = (8 * (right - left) - (far_right - far_left)) / (12 * STEP)
    off = abs(numerical + float((found[2].forces * direction).sum()))
    return judged([("forces_ev_per_angstrom", off, DERIVATIVE)])


def energy_check(total: Array, potential: Array) -> Check:
    """Return how far the total energy goes away in dynamics without a thermostat.

    Args:
        total: total energy at every step, ``[steps]`` eV.
        potential: potential energy, the same.
    """
    off = float(np.abs(total - total[0]).max() / np.ptp(potential))
    return judged([("of_the_energy_exchanged", off, DRIFT)])


def difference(a: Array, b: Array) -> float:
    """Return the largest difference of two arrays; 0 of empty ones."""
    return float(np.abs(a - b).max(initial=0))


def judged(rows: Iterable[tuple[str, float, float]]) -> Check:
    """Return differences beside their limits, and whether all are below."""
    rows = list(rows)
    values: Check = {name: {"difference": float(value), "limit": limit} for name, value, limit in rows}
    return values | {"passed": all(bool(value <= limit) for _, value, limit in rows)}
