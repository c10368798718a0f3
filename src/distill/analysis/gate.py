"""What the safety gate asks of a potential before it is given away: walls that hold wherever a simulation may get to.

Each judgement takes arrays and returns rows; :mod:`distill.exporting.gate` computes the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from distill.analysis.dimers import WALL, equilibrium, falls_below
from distill.analysis.energy_volume import WELL_BELOW
from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO, EV_PER_A3_IN_GPA

NEAREST = 0.3
"""Å, the shortest distance of two atoms that is looked at."""
AT, HIGH = 0.5, 10.0
"""Å and eV: two atoms so near are so far above their lowest energy, at least."""
VOLUMES = np.array([1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3])
"""Volumes of compressed crystals, relative to that of the reference."""
EXPANDED = 0.8
"""The reference may be so much larger than what the model says is the equilibrium volume."""
REQUIRED, WARNED = 0.5, 0.3
"""Relative volumes down to which a crystal must resist, and below which nothing is said."""
WELL = 0.05
"""eV/atom that no structure of a composition may be below its reference crystal."""
JUMP = 0.1
"""eV/Å that the force between two atoms may jump by."""

Whose = Literal["", "student", "teacher"]


@dataclass(frozen=True)
class GateRow:
    """One check of the gate.

    Attributes:
        name: what was looked at.
        passed: whether the model is sound there.
        value: what was found; None where it is no number.
        limit: what it is compared with.
        unit: of both.
        sentence: what was found, in words.
        whose: whose flaw it is; empty where there is none, or no teacher to ask.
        warns: whether a failure is only told.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    unit: str
    sentence: str
    whose: Whose = ""
    warns: bool = False

    @property
    def fails(self) -> bool:
        """Whether the model must not be given away for it."""
        return not self.passed and not self.warns

    def blamed(self, whose: Whose) -> GateRow:
        """Return the row with whose flaw it is."""
        if self.passed or not whose:
            return self
        said = {"student": "the student's hole: the teacher has none there", "teacher": "the teacher's hole too"}[whose]
        return replace(self, whose=whose, sentence=f"{self.sentence} ({said})")


def judge_dimer(pair: str, distances: Array, energies: Array, bond: float) -> GateRow:
    """Judge the wall between two atoms: it rises without end below 0.9 of their distance, to at least 10 eV at 0.5 Å.

    Where half of the covalent distance is shorter than 0.5 Å (H-H: 0.31 Å), the height is that at half of it.

    Args:
        pair: for instance ``"O-H"``.
        distances: ``[P]`` Å, ascending.
        energies: ``[P]`` eV; those that are not finite are a hole.
        bond: the sum of the covalent radii, Å.
    """
    name, at = f"two atoms {pair}", min(AT, bond / 2)
    if not np.isfinite(energies).all():
        where = distances[~np.isfinite(energies)].max()
        return GateRow(name, False, None, HIGH, "eV", f"the energy of {pair} is not finite at {where:.2f} Å")
    height = float(np.interp(at, distances, energies) - energies.min())
    fall = falls_below(distances, energies, WALL * equilibrium(distances, energies, bond))
    if fall is not None:
        said = f"the energy of {pair} falls when the atoms come nearer than {fall:.2f} Å"
    elif height < HIGH:
        said = f"two atoms {pair} at {at:.2f} Å are only {height:.2g} eV above their lowest energy"
    else:
        said = f"{pair} repel each other down to {distances[0]:.2f} Å, with {height:.3g} eV at {at:.2f} Å"
    return GateRow(name, fall is None and height >= HIGH, height, HIGH, "eV", said)


def judge_splice(pair: str, distances: Array, energies: Array, forces: Array) -> GateRow:
    """Judge whether energy and force between two atoms go on smoothly where a repulsion is joined to a network.

    A jump of the force is what a step differs from the mean of its neighbours, extrapolated to steps of no length. The
    energy must change by the work of the force (Simpson's rule), within a thousandth or the work of such a jump.

    Args:
        pair: for instance ``"O-H"``.
        distances: ``[P]`` Å, ascending and evenly spaced, ``P`` odd and some hundreds.
        energies: ``[P]`` eV.
        forces: of the farther atom along the bond, ``[P]`` eV/Å.
    """
    name = f"joint of the repulsion of {pair}"
    step = distances[1] - distances[0]
    jumps = _jumps(forces)
    jump, where = float(jumps.max()), float(distances[1 + int(np.argmax(jumps))])
    work = step / 3 * (forces[0] + forces[-1] + 4 * forces[1:-1:2].sum() + 2 * forces[2:-1:2].sum())
    change = energies[0] - energies[-1]
    missing = float(abs(change - work))
    if not np.isfinite([jump, missing]).all():
        return GateRow(name, False, None, JUMP, "eV/Å", f"energy or force of {pair} are not finite")
    if jump > JUMP:
        said = f"the force between {pair} jumps by {jump:.2g} eV/Å near {where:.2f} Å"
    elif missing > max(1e-3 * abs(change), JUMP * step):
        said = f"the energy of {pair} changes by {change:.4g} eV, the work of its force is {work:.4g} eV"
    else:
        said = f"energy and force between {pair} are smooth from {distances[0]:.2f} to {distances[-1]:.2f} Å"
        return GateRow(name, True, jump, JUMP, "eV/Å", said)
    return GateRow(name, False, jump, JUMP, "eV/Å", said)


def _jumps(forces: Array) -> Array:
    """Return how far a force jumps in each of its steps but the outer ones, eV/Å; 0 where it does not.

    What a smooth force, or one with a jump in its second derivative, has of an excess falls to a quarter or less where
    steps are halved; that of a jump stays.
    """
    fine, coarse = _excess(forces), _excess(forces[::2])
    same = coarse[np.clip((np.arange(len(fine)) + 1) // 2 - 1, 0, len(coarse) - 1)]
    return np.asarray(np.maximum(fine - np.maximum(same - fine, 0) / 3, 0))


def _excess(forces: Array) -> Array:
    """Return by how much each change of a force, but the outer ones, differs from the mean of its neighbours, eV/Å."""
    changes = np.diff(forces)
    return np.asarray(np.abs(changes[1:-1] - (changes[:-2] + changes[2:]) / 2))


def judge_compression(crystal: str, energies: Array, pressures: Array | None) -> list[GateRow]:
    """Judge a crystal at :data:`VOLUMES`: its energy rises and its pressure stays positive, without end.

    What is compressed begins at the lowest energy down to 0.8 of the reference's volume, and 0.9 of that.

    Args:
        crystal: what it is called.
        energies: ``[P]`` eV/atom.
        pressures: ``[P]`` eV/Å³, or None where the model has no stress.

    Returns:
        Two rows: down to half of the volume, and to 0.3 of it, which warns. Values are relative volumes.
    """
    first = int(np.argmin(np.where(np.isfinite(energies[VOLUMES >= EXPANDED]), energies[VOLUMES >= EXPANDED], np.inf)))
    inside = np.flatnonzero(WELL_BELOW * VOLUMES[first] + 1e-9 >= VOLUMES)
    highest = np.maximum.accumulate(np.where(np.isfinite(energies), energies, -np.inf)[first:])
    faults = {
        int(k): f"the energy of {crystal} falls when it is compressed to {VOLUMES[k]:g} of its volume"
        for k in inside
        if not energies[k] >= highest[k - 1 - first]
    }
    if pressures is not None:
        for k in inside[~(pressures[inside] > 0)]:
            gpa = pressures[k] * EV_PER_A3_IN_GPA
            said = f"the pressure of {crystal} is {gpa:.3g} GPa where it is compressed to {VOLUMES[k]:g} of its volume"
            faults.setdefault(int(k), said)
    worst = min(faults, default=len(VOLUMES))
    sound_to = float(VOLUMES[worst - 1])
    rows = []
    for limit, warns in ((REQUIRED, False), (WARNED, True)):
        passed = sound_to <= limit + 1e-9
        what = "energy rises" if pressures is None else "energy rises and the pressure is positive"
        said = f"of {crystal} the {what} down to {limit:g} of its volume" if passed else faults[worst]
        rows.append(GateRow(f"{crystal} at {limit:g} of its volume", passed, sound_to, limit, "V/V0", said, "", warns))
    return rows


def judge_depth(crystal: str, energies: Array, reference: float, kind: str) -> GateRow:
    """Judge whether nothing is below the reference crystal: ``energies`` ``[P]`` and ``reference`` in eV/atom."""
    name = f"{crystal}, {kind}"
    broken = int(np.sum(~np.isfinite(energies)))
    if broken:
        said = f"the energy of {crystal}, {kind}, is not finite in {broken} of {len(energies)} structures"
        return GateRow(name, False, None, -WELL, "eV/atom", said)
    lowest = float(energies.min() - reference)
    where = f"{crystal}, {kind}, is {abs(lowest):.3g} eV/atom {'below' if lowest < 0 else 'above'} the crystal"
    said = f"the lowest of {len(energies)} structures of {where}"
    return GateRow(name, lowest >= -WELL, lowest, -WELL, "eV/atom", said)


def judge_dynamics(
    crystal: str,
    temperature: float,
    time_fs: Array,
    depth: Array,
    min_ratio: Array,
    *,
    broke: str,
    planned_ps: float,
    wanted_ps: float,
) -> GateRow:
    """Judge whether a run of dynamics stayed whole.

    Melting and other changes that heat brings are allowed; a run that ends, atoms within 0.6 of their covalent
    distance, and energies below the crystal's are not.

    Args:
        crystal: what it began from.
        temperature: K.
        time_fs: ``[T]`` fs.
        depth: potential energy above the crystal's, ``[T]`` eV/atom.
        min_ratio: smallest distance in units of the sum of the covalent radii, ``[T]``.
        broke: why it ended; empty where it did not.
        planned_ps: its length.
        wanted_ps: the length that it was shortened from, or the same.
    """
    close, deep = np.flatnonzero(min_ratio < CLOSEST_RATIO), np.flatnonzero(~(depth >= -WELL))
    reached = float(time_fs[-1]) / 1000 if len(time_fs) else 0.0
    at = f"of {crystal} at {temperature:g} K"
    flaw = broke
    if not flaw and len(close):
        k = close[0]
        flaw = f"two atoms come within {min_ratio[k]:.2f} of their covalent distance at {time_fs[k]:.0f} fs"
    if not flaw and len(deep):
        flaw = f"the energy is {-depth[deep[0]]:.2g} eV/atom below the crystal's at {time_fs[deep[0]]:.0f} fs"
    if not flaw and reached < 0.9 * planned_ps:
        flaw = f"it ends after {reached:.2g} of {planned_ps:.2g} ps"
    shortened = "" if planned_ps >= wanted_ps else f" ({wanted_ps:g} ps would have taken too long)"
    said = f"dynamics {at}: {flaw}" if flaw else f"dynamics {at} stay whole for {reached:.2g} ps{shortened}"
    return GateRow(f"dynamics at {temperature:g} K", not flaw, reached, planned_ps, "ps", said)
