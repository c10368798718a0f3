"""Guess units and signs of labels by comparing them with the predictions of the zero-shot teacher.

A foundation model that was fitted to other calculations still predicts the pattern of forces, energy differences and
stresses; where the pattern agrees, the ratio of labels to predictions tells the unit, and its sign the convention. What
labels may be is in :mod:`distill.structures.checks.readings`; what counts as agreement are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.compare import Comparison
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.orders import check_order
from distill.structures.checks.readings import (
    TYPICAL,
    Quantity,
    Reading,
    Way,
    equally_likely,
    is_usual,
    readings,
)
from distill.structures.checks.ways import VIRIALS, energy_ways, force_ways, stress_ways
from distill.structures.frames import Frames, concatenate

Predict = Callable[[Frames], Frames]
"""Returns structures with the labels that the zero-shot teacher predicts."""

CLEAR = 0.8
"""Correlation above which a wrong unit is an error. CHGNet has 0.92 to 0.99 for forces of liquid and crystalline
silicon and of water; chance gives 24 values a correlation of 0.8 less than once in 100 000."""
CLEAR_ENERGIES = 0.9
"""The same for energies, of which there are few: six values reach it by chance once in 70 times."""
WEAK = 0.5
"""Correlation below which labels and predictions have nothing to do with each other."""
LARGE_ENERGY = 0.02
"""eV/atom: energies that differ by less need not resemble the predictions."""
VALUES = 24
"""Fewer values than this give a warning at most (energies: :data:`FEWEST_ENERGIES`)."""
FEWEST_ENERGIES = 5

MOST_ATOMS = 1200
"""Atoms that the teacher is asked for, over all files: a few seconds of CHGNet on two cores."""
MOST_PAIRS = 200_000
"""The same for pairs of atoms within :data:`SIGHT`, as in so many atoms of diamond; memory grows with them."""
SIGHT = 6.0
"""Å; the cutoff of most foundation models."""
MOST_FRAMES = 24
"""The same for structures, of each file."""

KINDS: Mapping[Quantity, str] = {"forces": "force-unit", "energies": "energy-unit", "stresses": "stress-unit"}


def judge(
    data: FileFrames, quantity: Quantity, ways: Sequence[Way], teacher: str, expected: float = TYPICAL
) -> list[Finding]:
    """Return what a comparison says about the unit of one quantity: nothing, where it is right.

    Args:
        data: the structures.
        quantity: which of their labels.
        ways: ways to read them, the right one first; none where they tell nothing.
        teacher: who predicts.
        expected: ratio of labels to predictions in the right unit.
    """
    if not ways:
        return []
    best = max((way.comparison for way in ways), key=lambda one: abs(one.correlation))
    possible = readings(ways, expected)
    usual = any(reading.right and is_usual(reading, possible) for reading in possible)
    energies = quantity == "energies"
    if usual and (energies or abs(best.correlation) >= WEAK):
        return []
    if abs(best.correlation) < WEAK:
        return _unlike(data, quantity, ways[0].comparison, teacher)
    enough = best.values >= (FEWEST_ENERGIES if energies else VALUES)
    clear = abs(best.correlation) >= (CLEAR_ENERGIES if energies else CLEAR)
    if energies and not enough and not clear:  # two or three values agree with anything
        return []
    said = _said(quantity, ways[0].comparison if not possible or not possible[0].times else best, teacher)
    if not possible:
        return [data.finding("warning", KINDS[quantity], f"{said}, which is not a known unit", "Check their unit")]
    likely = equally_likely(possible)
    named, remedy = " or ".join(_named(reading) for reading in likely), _remedy(quantity, possible, likely)
    if clear and enough and not any(reading.right for reading in possible):
        return [data.finding("error", KINDS[quantity], f"{said}: {named}", remedy)]
    what = f"{said}: perhaps {named}, but that is not clear"
    return [data.finding("warning", KINDS[quantity], what, remedy)]


def _said(quantity: Quantity, comparison: Comparison, teacher: str) -> str:
    return (
        f"{quantity} are {comparison.ratio:.3g} times what {teacher} predicts, with a correlation of "
        f"{abs(comparison.correlation):.2f}"
    )


def _unlike(data: FileFrames, quantity: Quantity, comparison: Comparison, teacher: str) -> list[Finding]:
    """Return that labels have nothing to do with the predictions, unless they are too small to."""
    if quantity == "energies" and comparison.size < LARGE_ENERGY:
        return []
    what = f"{quantity} do not resemble what {teacher} predicts (correlation {comparison.correlation:.2f})"
    remedy = "Check units, signs and the order of atoms"
    if not data.frames.pbc.any():
        remedy += ", and whether a Lattice is missing (a crystal or a liquid is read as a cluster without it)"
    remedy += "; nothing is wrong if the teacher is poor on this material"
    return [data.finding("warning", KINDS[quantity], what, remedy)]


def _named(reading: Reading) -> str:
    return " or ".join(reading.units)


def _remedy(quantity: Quantity, possible: Sequence[Reading], likely: Sequence[Reading]) -> str:
    others = [reading for reading in possible if reading not in likely and not reading.right]
    text = likely[0].short() if len(likely) == 1 else " or ".join(reading.text() for reading in likely)
    less = f"; less likely by {', '.join(reading.text() for reading in others)}" if others else ""
    told = "" if len(likely) == 1 else ". The file does not tell which: see how it was written"
    named = ", or name their key 'virial'" if likely[0].way == VIRIALS else ""
    return f"Multiply the {quantity} by {text}{named}{less}{told}"


def check_units(
    files: list[FileFrames], predict: Predict, teacher: str, pooled: bool = True, voigt: Collection[str] = ()
) -> list[Finding]:
    """Compare a few structures of each file with the teacher's predictions.

    Forces and stresses are judged file by file, energies, of which there are fewer, of all files together unless
    ``pooled`` is False (for files of different levels of theory). Structures whose elements the teacher does not know
    must have been left out. ``voigt`` names the files with stresses of six values, whose order is judged too.

    Returns:
        findings on units and signs; one of kind ``units-unchecked`` where nothing could be compared.
    """
    chosen = [data.frames[pick(data.frames, MOST_ATOMS // len(files), MOST_FRAMES)] for data in files]
    some = [FileFrames(labels, data.name) for data, labels in zip(files, chosen, strict=True) if len(labels)]
    if not some:
        what = f"units were not compared with {teacher}: every structure has more than {MOST_ATOMS} atoms"
        return [Finding("info", "units-unchecked", what, ", ".join(data.name for data in files))]
    everything = concatenate([data.frames for data in some])
    predicted = predict(everything)
    findings: list[Finding] = []
    start, ratios = 0, []
    for data in some:
        theirs = predicted[start : start + len(data.frames)]
        start += len(data.frames)
        ways = force_ways(data.frames, theirs)
        wrong = judge(data, "forces", ways, teacher)
        findings += wrong
        ratios += [ratio for way in ways if not wrong and (ratio := way.usual_ratio(CLEAR)) is not None]
        findings += _judge_stress(data, theirs, teacher, data.name in voigt)
        if not pooled:
            findings += judge(data, "energies", energy_ways(data.frames, theirs), teacher, _expected(ratios[-1:]))
    if pooled:
        together = FileFrames(everything, ", ".join(data.name for data in some))
        findings += judge(together, "energies", energy_ways(everything, predicted), teacher, _expected(ratios))
    return findings


def _expected(ratios: Sequence[float]) -> float:
    """Return the ratio that energies should have if that of the forces, in the right unit, is known."""
    return float(np.median(ratios)) if ratios else TYPICAL


def _judge_stress(data: FileFrames, predicted: Frames, teacher: str, voigt: bool) -> list[Finding]:
    order: list[Finding] = []
    if voigt:
        order, data = check_order(data, predicted, teacher)
    return order + judge(data, "stresses", stress_ways(data.frames, predicted, CLEAR), teacher)


def pair_counts(frames: Frames) -> Array:
    """Return about how many pairs of atoms within :data:`SIGHT` each structure has, ``[B]``, from its density."""
    around = frames.n_atoms - 1.0
    whole = frames.pbc.all(axis=1) & (frames.volumes > 0)
    density = frames.n_atoms[whole] / frames.volumes[whole]
    around[whole] = density * 4 / 3 * np.pi * SIGHT**3
    return np.asarray(frames.n_atoms * around)


def pick(frames: Frames, most_atoms: int, most_frames: int) -> Array:
    """Return at most so many structures, spread over the energies per atom but for their ends, ascending.

    One structure of up to :data:`MOST_ATOMS` atoms is taken even where ``most_atoms`` are fewer; none of more than
    :data:`MOST_PAIRS` pairs is, and together they have no more.
    """
    pairs = pair_counts(frames)
    order = np.arange(len(frames)) if frames.energy is None else np.argsort(frames.energy_per_atom, kind="stable")
    fitting = order[frames.n_atoms[order] <= max(most_atoms, int(frames.n_atoms.min()))]
    fitting = fitting[(frames.n_atoms[fitting] <= MOST_ATOMS) & (pairs[fitting] <= MOST_PAIRS)]
    if not len(fitting):
        return fitting
    most = min(most_atoms / frames.n_atoms[fitting].mean(), MOST_PAIRS / max(pairs[fitting].mean(), 1.0))
    number = max(1, min(most_frames, len(fitting), int(most)))
    middles = ((np.arange(number) + 0.5) * len(fitting) / number).astype(np.int64)
    return np.sort(fitting[middles])
