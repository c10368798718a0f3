"""Guess units and signs of labels by comparing them with the predictions of the zero-shot teacher.

A foundation model that was fitted to other calculations still predicts the pattern of forces, energy differences and
stresses; where the pattern agrees, the ratio of labels to predictions tells the unit, and its sign the convention. What
counts as agreement, and how far a ratio may be from a unit's, are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units

from distill.base.arrays import Array
from distill.structures.checks.compare import Comparison, compare_energies, compare_forces, compare_stresses
from distill.structures.checks.finding import FileFrames, Finding
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
"""Fewer values than this give a warning at most (energies: :data:`ENERGIES`)."""
ENERGIES = 5
LOW, HIGH = 0.5, 1.9
"""Range of labels over predictions, in the right unit. Foundation models are too soft, so that it is above 1: silicon
1.1 to 1.9 in single structures, 1.3 in the middle; Deng et al., npj Comput. Mater. 11, 9 (2025)."""
TYPICAL = 1.25
"""The ratio that is expected; the unit is the one that comes nearest to it. Ratios of 0.92 to 1.7 then tell
Hartree/Bohr from Hartree/Å, a factor of 1.9 apart."""

ALIKE = 0.1
"""Logarithm of the ratio of two units below which no comparison tells them apart."""

MOST_ATOMS = 1200
"""Atoms that the teacher is asked for, over all files: a few seconds of CHGNet on two cores."""
MOST_FRAMES = 24
"""The same for structures, of each file."""

Quantity = Literal["forces", "energies", "stresses"]

UNITS: Mapping[Quantity, Mapping[str, float]] = {
    "forces": {
        "eV/Å": 1.0,
        "Hartree/Bohr": units.Hartree / units.Bohr,
        "Hartree/Å": units.Hartree,
        "Ry/Bohr": units.Rydberg / units.Bohr,
        "kcal/mol/Å": units.kcal / units.mol,
        "kJ/mol/Å": units.kJ / units.mol,
        "kJ/mol/nm (or meV/Å)": 0.1 * units.kJ / units.mol,
    },
    "energies": {
        "eV": 1.0,
        "Hartree": units.Hartree,
        "Ry": units.Rydberg,
        "kcal/mol": units.kcal / units.mol,
        "kJ/mol": units.kJ / units.mol,
        "meV": 1e-3,
    },
    "stresses": {
        "eV/Å³": 1.0,
        "GPa": units.GPa,
        "kbar": 0.1 * units.GPa,
        "Hartree/Bohr³": units.Hartree / units.Bohr**3,
    },
}
"""Each unit in ours, which is the factor that converts labels."""

KINDS: Mapping[Quantity, str] = {"forces": "force-unit", "energies": "energy-unit", "stresses": "stress-unit"}
SIGNS: Mapping[Quantity, str] = {
    "forces": "gradients instead of forces",
    "energies": "binding energies counted positive",
    "stresses": "stresses of the other sign convention",
}


@dataclass(frozen=True)
class Reading:
    """One way to read labels.

    Attributes:
        units: units that they may be in, with the factors, signs included, that convert them to ours.
        distance: how far the ratio is from what it should then be, as a logarithm.
    """

    units: Mapping[str, float]
    distance: float

    @property
    def factor(self) -> float:
        """The first factor."""
        return next(iter(self.units.values()))

    def text(self) -> str:
        """Return for instance ``27.211 (Hartree/Å) or 25.711 (Ry/Bohr)``."""
        return " or ".join(f"{factor:.5g} ({unit})" for unit, factor in self.units.items())


def readings(comparison: Comparison, quantity: Quantity) -> list[Reading]:
    """Return the units that would explain the ratio, the likeliest first; the sign is in the factor.

    Units of nearly the same size (:data:`ALIKE`) cannot be told apart and are one reading.
    """
    found = []
    for unit, value in UNITS[quantity].items():
        ratio = abs(comparison.ratio) * value
        if LOW <= ratio <= HIGH:
            distance = abs(float(np.log(ratio / TYPICAL)))
            found.append(Reading({unit: float(np.copysign(value, comparison.ratio))}, distance))
    found.sort(key=lambda reading: reading.distance)
    return _merged(found)


def _merged(found: list[Reading]) -> list[Reading]:
    """Join readings whose factors are alike; the larger factor comes first."""
    merged: list[Reading] = []
    for reading in found:
        alike = [m for m in merged if abs(np.log(reading.factor / m.factor)) < ALIKE]
        if alike:
            both = sorted([*alike[0].units.items(), *reading.units.items()], key=lambda item: -abs(item[1]))
            merged[merged.index(alike[0])] = Reading(dict(both), alike[0].distance)
        else:
            merged.append(reading)
    return merged


def judge(data: FileFrames, quantity: Quantity, comparison: Comparison, teacher: str) -> list[Finding]:
    """Return what a comparison says about the unit of one quantity: nothing, where it is right."""
    possible = readings(comparison, quantity)
    right = bool(possible) and possible[0].factor == 1.0
    energies = quantity == "energies"
    enough = comparison.values >= (ENERGIES if energies else VALUES)
    clear = abs(comparison.correlation) >= (CLEAR_ENERGIES if energies else CLEAR)
    if right and (comparison.correlation >= WEAK or energies):
        return []
    said = (
        f"{quantity} are {comparison.ratio:.3g} times what {teacher} predicts, with a correlation of "
        f"{abs(comparison.correlation):.2f}"
    )
    if abs(comparison.correlation) < WEAK:
        if energies and comparison.size < LARGE_ENERGY:
            return []
        what = f"{quantity} do not resemble what {teacher} predicts (correlation {comparison.correlation:.2f})"
        remedy = "Check units, signs and the order of atoms; nothing is wrong if the teacher is poor on this material"
        return [data.finding("warning", KINDS[quantity], what, remedy)]
    if not possible:
        what = f"{said}, which is not a known unit"
        return [data.finding("warning", KINDS[quantity], what, "Check their unit")]
    remedy = _remedy(quantity, possible)
    if clear and enough:
        return [data.finding("error", KINDS[quantity], f"{said}: {_named(quantity, possible[0])}", remedy)]
    what = f"{said}: perhaps {_named(quantity, possible[0])}, but that is not clear"
    return [data.finding("warning", KINDS[quantity], what, remedy)]


def _named(quantity: Quantity, reading: Reading) -> str:
    words = [" or ".join(reading.units)] if abs(reading.factor) != 1 else []
    return ", ".join([*words, SIGNS[quantity]] if reading.factor < 0 else words) or "the right unit"


def _remedy(quantity: Quantity, possible: list[Reading]) -> str:
    likely = f"{possible[0].factor:.5g}" if len(possible[0].units) == 1 else possible[0].text()
    others = f"; less likely by {', '.join(reading.text() for reading in possible[1:])}" if possible[1:] else ""
    return f"Multiply the {quantity} by {likely}{others}"


def judge_stress(data: FileFrames, labels: Frames, predicted: Frames, teacher: str) -> list[Finding]:
    """Return what stresses say: unit and sign, or a virial under the name of a stress and the other way round."""
    if labels.stress is None or predicted.stress is None:
        return []
    used = np.isfinite(labels.stress).all(axis=(1, 2)) & np.isfinite(predicted.stress).all(axis=(1, 2))
    if not used.any():
        return []
    volumes = labels.volumes[used, None, None]
    own, theirs = labels.stress[used], predicted.stress[used]
    plain = compare_stresses(own, theirs)
    if plain is None:
        return []
    best = readings(plain, "stresses")
    for scale, sign, what, remedy in (
        (1 / volumes, -1, "virials in eV", "Name their key 'virial', or multiply the stresses by -1/volume"),
        (1 / volumes, 1, "virials in eV of the other sign", "Multiply the stresses by 1/volume"),
        (volumes, -1, "stresses in eV/Å³ under a key of virials", "Name their key 'stress'"),
    ):
        other = compare_stresses(own * scale, theirs)
        fits = readings(other, "stresses") if other is not None else []
        clear = other is not None and abs(other.correlation) >= CLEAR and other.values >= VALUES
        if other is None or not clear or not fits or fits[0].factor != sign:
            continue
        if not best or fits[0].distance < best[0].distance:
            said = f"stresses look like {what} (correlation {abs(other.correlation):.2f} with {teacher})"
            return [data.finding("error", "stress-unit", said, remedy)]
    return judge(data, "stresses", plain, teacher)


def check_units(files: list[FileFrames], predict: Predict, teacher: str, pooled: bool = True) -> list[Finding]:
    """Compare a few structures of each file with the teacher's predictions.

    Forces and stresses are judged file by file, energies, of which there are fewer, of all files together unless
    ``pooled`` is False (for files of different levels of theory). Structures whose elements the teacher does not know
    must have been left out.

    Returns:
        findings on units and signs; one of kind ``units-unchecked`` where nothing could be compared.
    """
    chosen = [data.frames[pick(data.frames, MOST_ATOMS // len(files), MOST_FRAMES)] for data in files]
    some = [(data, labels) for data, labels in zip(files, chosen, strict=True) if len(labels)]
    if not some:
        what = f"units were not compared with {teacher}: every structure has more than {MOST_ATOMS} atoms"
        return [Finding("info", "units-unchecked", what, ", ".join(data.name for data in files))]
    predicted = predict(concatenate([labels for _, labels in some]))
    findings: list[Finding] = []
    start = 0
    for data, labels in some:
        theirs = predicted[start : start + len(labels)]
        start += len(labels)
        if labels.forces is not None and (forces := compare_forces(labels, theirs)):
            findings += judge(data, "forces", forces, teacher)
        findings += judge_stress(data, labels, theirs, teacher)
        if not pooled:
            findings += _judge_energies(data, labels, theirs, teacher)
    if pooled:
        everything = FileFrames(concatenate([labels for _, labels in some]), ", ".join(data.name for data, _ in some))
        findings += _judge_energies(everything, everything.frames, predicted, teacher)
    return findings


def _judge_energies(data: FileFrames, labels: Frames, predicted: Frames, teacher: str) -> list[Finding]:
    compared = compare_energies(labels, predicted) if labels.energy is not None else None
    return judge(data, "energies", compared, teacher) if compared else []


def pick(frames: Frames, most_atoms: int, most_frames: int) -> Array:
    """Return at most so many structures, spread over the energies per atom but for their ends, ascending.

    One structure of up to :data:`MOST_ATOMS` atoms is taken even where ``most_atoms`` are fewer.
    """
    order = np.arange(len(frames)) if frames.energy is None else np.argsort(frames.energy_per_atom, kind="stable")
    fitting = order[frames.n_atoms[order] <= max(most_atoms, int(frames.n_atoms.min()))]
    fitting = fitting[frames.n_atoms[fitting] <= MOST_ATOMS]
    if not len(fitting):
        return fitting
    number = max(1, min(most_frames, len(fitting), int(most_atoms / frames.n_atoms[fitting].mean())))
    middles = ((np.arange(number) + 0.5) * len(fitting) / number).astype(np.int64)
    return np.sort(fitting[middles])
