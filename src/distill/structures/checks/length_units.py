"""Judge the units of positions and cells, with the forces that the teacher predicts in each unit that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.compare import compare_forces
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.lengths import Lengths, explanations, impossible, in_a_corner, nearest_ratios
from distill.structures.checks.units import CLEAR, WEAK, Predict, pick
from distill.structures.checks.ways import stress_ways
from distill.structures.frames import Frames, concatenate

BETTER = 0.15
"""A unit is better than lengths as they are read if forces correlate so much more."""
TRIED = 4
"""Explanations that the teacher is asked about, ..."""
ATOMS = 128
"""... and atoms of each of them, a second of CHGNet on two cores."""


@dataclass(frozen=True)
class Judged:
    """What was found on lengths.

    Attributes:
        findings: an error that names a unit, or a warning.
        data: the structures with lengths in Å, as far as the unit is known.
        sound: which of them are possible structures, ``[B]``.
    """

    findings: list[Finding]
    data: FileFrames
    sound: Array


def check_lengths(data: FileFrames, predict: Predict | None, teacher: str, virial: bool = False) -> Judged:
    """Find the unit of positions and cells where nearest distances are not those of atoms.

    Args:
        data: structures of elements that the teacher knows, if it is to be asked.
        predict: its predictions, which choose between units; None leaves the choice to geometry.
        teacher: its name.
        virial: whether the stress was read from a virial, with volumes in the unit that is found.
    """
    frames = data.frames
    bad = impossible(frames) if len(frames) else np.zeros(0, dtype=np.bool_)
    found: list[Finding] = []
    if (bad.all() and len(bad)) or bad.sum() >= 2:
        some = np.flatnonzero(bad)
        found, lengths = _explained(data, some, predict, teacher)
        if lengths:
            frames = _with(frames, some, _rescaled(frames[some], lengths, virial))
            return Judged(found, replace(data, frames=frames), ~impossible(frames))
    elif in_a_corner(frames):
        found, lengths = retry(data, predict, teacher) if predict else ([], None)
        if not lengths and Lengths("Å", "Bohr") in explanations(frames):
            what = "the atoms of every structure lie in one corner of the cell, as if the cell alone was in Bohr"
            remedy = "Multiply the cell by 0.529177, if it is; nothing is wrong with a cluster in vacuum"
            found = [data.finding("warning", "length-unit", what, remedy)]
        if lengths:
            frames = _rescaled(frames, lengths, virial)
            return Judged(found, replace(data, frames=frames), ~impossible(frames))
    return Judged(found, data, ~bad)


def _explained(
    data: FileFrames, some: Array, predict: Predict | None, teacher: str
) -> tuple[list[Finding], Lengths | None]:
    """Return what is said of impossible structures, and the unit that makes them possible."""
    frames = data.frames[some]
    closest = float(np.median(nearest_ratios(frames)[:, 0]))
    which = () if len(some) == len(data.frames) else some
    what = (
        f"nearest distances are {closest:.2g} times the sums of covalent radii"
        if 0 < closest < np.inf
        else "atoms lie on top of each other"
        if closest == 0
        else "no two atoms are near each other"
    )
    possible = explanations(frames)[:TRIED]
    if not possible:
        if closest < 1:
            return [], None  # what is said of atoms too close says it
        remedy = "Check the unit of positions and cell: 1 Bohr is 0.529177 Å, 1 nm 10 Å"
        return [data.finding("warning", "far-atoms", what, remedy, which)], None
    fits = correlations(frames, possible, predict)
    best = int(np.argmax(np.where(np.isnan(fits), -1, fits) - 1e-3 * np.arange(len(fits))))
    lengths = possible[best]
    if fits[best] >= WEAK:
        what += f": {lengths.words}, with which forces correlate {fits[best]:.2f} with {teacher}"
        return [data.finding("error", "length-unit", what, lengths.remedy, which)], lengths
    alike = [one for one in possible if not one.both_wrong][:2] or possible[:1]
    words = " or ".join(one.words for one in alike)
    remedy = "; or ".join([alike[0].remedy, *(one.remedy[0].lower() + one.remedy[1:] for one in alike[1:])])
    return [data.finding("error", "length-unit", f"{what}: {words}", remedy, which)], lengths


def retry(data: FileFrames, predict: Predict, teacher: str) -> tuple[list[Finding], Lengths | None]:
    """Return an error and the unit in which forces resemble the predictions, where as they are read they do not."""
    as_read = Lengths("Å", "Å")
    possible = [as_read, *explanations(data.frames)[:TRIED]]
    fits = correlations(data.frames, possible, predict)
    stress = possible[1:2] == [Lengths("Å", "Bohr")] and _stress_tells(data.frames, possible[1], predict)
    if len(possible) < 2 or np.isnan(fits[0]) or np.isnan(fits[1:]).all():
        return [], None
    best = 1 + int(np.nanargmax(fits[1:]))
    if fits[best] < CLEAR or (fits[best] < fits[0] + BETTER and not stress):
        return [], None
    what = f"forces correlate {fits[0]:.2f} with {teacher}, but {fits[best]:.2f} with {possible[best].words}"
    return [data.finding("error", "length-unit", what, possible[best].remedy)], possible[best]


def correlations(frames: Frames, possible: Sequence[Lengths], predict: Predict | None) -> Array:
    """Return how forces correlate with the predictions in each unit; NaN where that is not known."""
    fits = np.full(len(possible), np.nan)
    if predict is None or frames.forces is None:
        return fits
    tried = [lengths.in_angstrom(frames) for lengths in possible]
    tried = [one[pick(one, ATOMS, TRIED)] for one in tried]
    predicted = predict(concatenate(tried))
    start = 0
    for i, one in enumerate(tried):
        theirs = predicted[start : start + len(one)]
        start += len(one)
        compared = compare_forces(one, theirs) if len(one) else None
        fits[i] = abs(compared.correlation) if compared else np.nan
    return fits


def _stress_tells(frames: Frames, lengths: Lengths, predict: Predict) -> bool:
    """Return whether stresses have a usual size in these units alone; forces within molecules do not see the cell."""
    usual = []
    for one in (frames, lengths.in_angstrom(frames)):
        some = one[pick(one, ATOMS, TRIED)]
        ways = stress_ways(some, predict(some), CLEAR) if len(some) else []
        usual.append(bool(ways) and ways[0].usual_ratio(CLEAR) is not None)
    return usual == [False, True]


def _rescaled(frames: Frames, lengths: Lengths, virial: bool) -> Frames:
    moved = lengths.in_angstrom(frames)
    if frames.stress is None or not virial:
        return moved
    by = (frames.volumes / np.maximum(moved.volumes, 1e-12))[:, None, None]
    return replace(moved, stress=frames.stress * by)


def _with(frames: Frames, some: Array, others: Frames) -> Frames:
    """Return structures of which ``some`` are replaced by ``others``."""
    parts = list(frames)
    for i, one in zip(some, others, strict=True):
        parts[i] = one
    return concatenate(parts)
