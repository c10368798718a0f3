"""The checks of the safety gate: each evaluates a potential and returns rows; the teacher goes through the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from distill.analysis.gate import (
    NEAREST,
    REQUIRED,
    VOLUMES,
    GateRow,
    Whose,
    judge_compression,
    judge_depth,
    judge_dimer,
    judge_dynamics,
    judge_splice,
)
from distill.analysis.random_cells import PRESSURES, STEPS, relax_cells
from distill.base.progress import Progress
from distill.base.random import stream
from distill.dynamics.survival import JudgedRun, judged_langevin
from distill.exporting.references import References
from distill.potentials.interface.derivatives import Slope
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double
from distill.statics.dimers import dimers
from distill.statics.gradients import ALLOWED, COARSE, gradients, has_double
from distill.statics.relax import relaxed
from distill.structures.compression import compressed
from distill.structures.frames import Frames, concatenate
from distill.structures.guard import UnphysicalStructure
from distill.structures.pairs import pairs_at, pairs_of

COPIES, LARGER_RATTLE = 24, 0.15
"""Sheared and rattled copies of each crystal, and the further rattle of every other one, Å."""
SPLICE, SPLICE_POINTS = (0.5, 1.0), 257
"""Range of the joint in units of the sum of the covalent radii: it holds all ranges that repulsions have had."""
STEP = 0.001
"""Å and strain of the differences where another program computes: cells are small, and compressed matter is stiff."""
PROBE = 20
"""Steps of dynamics by which the time of a step is measured."""
LIGHT = 2
"""Atomic number up to which the time step is half a femtosecond."""


def dimer_rows(elements: tuple[int, ...], potential: Potential) -> list[GateRow]:
    """Return a row for each pair of elements: its wall from 0.3 Å on."""
    curves = dimers(elements, potential, shortest=NEAREST).arrays["curves"]
    rows = []
    for pair in pairs_of(elements):
        name = "-".join(chemical_symbols[z] for z in pair)
        energies = np.array(curves[name]["energies"], dtype=float)
        bond = float(covalent_radii[list(pair)].sum())
        rows.append(judge_dimer(name, np.array(curves[name]["distances"]), energies, bond))
    return rows


def splice_rows(elements: tuple[int, ...], potential: Potential) -> list[GateRow]:
    """Return a row for each pair of elements: whether repulsion and network are joined smoothly."""
    double, rows = in_double(potential), []
    for pair in pairs_of(elements):
        bond = float(covalent_radii[list(pair)].sum())
        distances = bond * np.linspace(*SPLICE, SPLICE_POINTS)
        said = double.evaluate(pairs_at([pair], [distances]), stress=False)
        along = np.asarray(said.forces).reshape(-1, 2, 3)[:, 1, 0]
        name = "-".join(chemical_symbols[z] for z in pair)
        rows.append(judge_splice(name, distances, np.asarray(said.energy), along))
    return rows


def compression_rows(of: References, potential: Potential) -> list[GateRow]:
    """Return two rows for each crystal: compressed evenly to half of its volume, and with a warning to 0.3."""
    rows = []
    for one, name in zip(of.crystals, of.names, strict=True):
        said = potential.evaluate(concatenate([compressed(one, float(v), None, {}) for v in VOLUMES]))
        pressures = None
        if potential.predicts_stress and said.stress is not None:
            pressures = -np.trace(said.stress, axis1=1, axis2=2) / 3
        rows += judge_compression(name, said.energy_per_atom, pressures)
    return rows


def shear_rows(of: References, potential: Potential) -> list[GateRow]:
    """Return a row for each crystal: the lowest energy of copies that are compressed, sheared and rattled."""
    rows = []
    for one, name in zip(of.repeated, of.names, strict=True):
        copies = concatenate([one, *sheared(one)])
        energies = potential.evaluate(copies, stress=False).energy_per_atom
        rows.append(judge_depth(name, energies[1:], float(energies[0]), "compressed, sheared and rattled"))
    return rows


def sheared(one: Frames) -> list[Frames]:
    """Return copies of a crystal from 0.95 to half of its volume, sheared and rattled; every other one more so."""
    copies = []
    for k, volume in enumerate(np.geomspace(0.95, REQUIRED, COPIES)):
        rng = stream(0, "gate", "shear", k)
        copy = compressed(one, float(volume), rng, {})
        more = rng.normal(0.0, LARGER_RATTLE, copy.positions.shape) if k % 2 else 0.0
        copies.append(replace(copy, positions=copy.positions + more))
    return copies


def sphere_rows(of: References, potential: Potential) -> list[GateRow]:
    """Return one row: how many cells of hard spheres fall into a hole when they are relaxed, at 0 and at 50 GPa."""
    cells = of.cells
    with Progress().phase("hard spheres", 2 * STEPS * len(cells), "structure") as phase:
        pressures = np.repeat(PRESSURES, len(cells))
        fallen = int(relax_cells(potential.evaluate, concatenate([cells] * len(PRESSURES)), pressures, phase).sum())
    number = len(cells) * len(PRESSURES)
    holds = "atoms stay apart" if not fallen else "atoms come within 0.6 of their covalent distance, downhill"
    said = f"hard spheres relaxed: {holds} in {fallen or number} of {number} cells"
    return [GateRow("hard spheres relaxed", not fallen, fallen, 0, "cells", said)]


def gradient_rows(of: References, potential: Potential) -> list[GateRow]:
    """Return one row: forces and stress against differences of the energy, in rattled and in compressed copies."""
    bases = of.repeated if len(of.repeated) else of.structures[:1]
    copies = [_displaced(one, k) for k, one in enumerate(bases)]
    copies += [sheared(one)[COPIES // 2] for one in of.repeated[:1]]
    found = gradients(concatenate(copies), potential, name=f"{len(copies)} rattled structures", coarse_step=STEP)
    slopes = [Slope(**one) for kind in ("forces", "stress") for one in found.arrays[kind]]
    worst = float(np.max([one.error for one in slopes]))
    limit = ALLOWED if has_double(potential) else COARSE
    said = "; ".join(found.flaws) or found.sound
    return [GateRow("F = -dE/dx", not found.flaws, worst if np.isfinite(worst) else None, limit, "relative", said)]


def _displaced(one: Frames, k: int) -> Frames:
    return replace(one, positions=one.positions + stream(0, "gate", "gradient", k).normal(0, 0.05, one.positions.shape))


def dynamics_rows(
    of: References, potential: Potential, teacher: Potential | None, temperature: float, ps: float, seconds: float
) -> list[GateRow]:
    """Return one row: dynamics of the smallest crystal, or the first structure, at twice the highest temperature.

    Args:
        of: what it starts from.
        potential: the model.
        teacher: judges the structure that a failed run ends in, where there is one.
        temperature: the highest at which the model is meant to be used, K.
        ps: length, ps.
        seconds: wall time; the run is shortened to what this allows.
    """
    one, name = (of.repeated[0], of.names[0]) if len(of.repeated) else (of.structures[0], "the first structure")
    atoms = replace(one, fixed=None).to_atoms()[0]
    start = _rested(atoms, potential)
    timestep = 0.5 if min(atoms.numbers) <= LIGHT else 1.0
    how: dict[str, Any] = {"temperature": 2 * temperature, "friction_per_ps": 10.0, "sample_every": 10}
    how["timestep_fs"] = timestep
    probe = judged_langevin(start, potential, ps=PROBE * timestep / 1000, rng=stream(0, "gate", "probe"), **how)
    allowed = seconds / max(probe.trajectory.ms_per_step, 1e-3) * timestep
    length, run = min(ps, max(allowed, PROBE * timestep / 1000)), probe
    if probe.trajectory.broke == "":
        run = judged_langevin(start, potential, ps=length, rng=stream(0, "gate", "dynamics"), **how)
    rest = float(potential.evaluate([start], stress=False).energy_per_atom[0])
    row = judge_dynamics(
        name,
        2 * temperature,
        run.series["time_fs"],
        run.series["potential_energy"] / len(atoms) - rest,
        run.series["min_ratio"],
        broke=run.trajectory.broke,
        planned_ps=length,
        wanted_ps=ps,
    )
    return [row if row.passed or teacher is None else row.blamed(_blame(run, teacher))]


def _rested(atoms: Atoms, potential: Potential) -> Atoms:
    """Return a structure that has gone a little downhill; as it was where that ends in none that can be evaluated."""
    rested = relaxed(atoms, potential.calculator(), fmax=0.05, steps=20).atoms
    try:
        potential.check(Frames.from_atoms([rested]))
    except UnphysicalStructure:
        return atoms
    return rested


def _blame(run: JudgedRun, teacher: Potential) -> Whose:
    """Return whose hole a run fell into: the teacher's too where its energy also falls towards the closest frame."""
    frames = run.trajectory.frames
    closest = int(np.argmin(run.series["min_ratio"]))
    first, worst = teacher.evaluate(frames[[0, closest]], stress=False).energy_per_atom
    return "teacher" if not worst >= first else "student"
