"""What labels may be, if they are not what they should be: unit, sign, and whether per atom or per volume.

Each :class:`Way` of reading labels is compared with the teacher; each unit of the way whose ratio of labels to
predictions is then usual is a :class:`Reading`. Two readings that explain a ratio equally well are both named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units

from distill.structures.checks.compare import Comparison

LOW, HIGH = 0.5, 1.9
"""Range of labels over predictions, in the right unit. Foundation models are too soft, so that it is above 1: silicon
1.1 to 1.9 in single structures, 1.3 in the middle; Deng et al., npj Comput. Mater. 11, 9 (2025)."""
TYPICAL = 1.25
"""The ratio that is expected; the unit is the one that comes nearest to it. Ratios of 0.92 to 1.7 then tell
Hartree/Bohr from Hartree/Å, a factor of 1.9 apart."""
ALIKE = 0.1
"""Logarithm of the ratio of two units below which no comparison tells them apart."""
EQUAL = 0.41
"""Labels whose ratio is as near (as a logarithm) to what is expected are right, even if another unit comes nearer:
energies of silicon are 0.7 to 1.4 times what the ratio of the forces says. Readings of different ways (total or per
atom) whose distances differ by less explain a ratio equally well."""
NEAR = 0.3
"""The same for units of one way, such as eV/Bohr for forces."""
WORSE = 0.05
"""A way of reading whose correlation is lower than the best by more than this is left out."""

Quantity = Literal["forces", "energies", "stresses"]

ENERGIES: Mapping[str, float] = {
    "eV": 1.0,
    "Hartree": units.Hartree,
    "Ry": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
    "meV": 1e-3,
}
UNITS: Mapping[Quantity, Mapping[str, float]] = {
    "forces": {
        "eV/Å": 1.0,
        "Hartree/Bohr": units.Hartree / units.Bohr,
        "Hartree/Å": units.Hartree,
        "Ry/Bohr": units.Rydberg / units.Bohr,
        "Ry/Å": units.Rydberg,
        "eV/Bohr": 1 / units.Bohr,
        "kcal/mol/Å": units.kcal / units.mol,
        "kJ/mol/Å": units.kJ / units.mol,
        "kJ/mol/nm (or meV/Å)": 0.1 * units.kJ / units.mol,
    },
    "energies": ENERGIES,
    "stresses": {
        "eV/Å³": 1.0,
        "GPa": units.GPa,
        "kbar": 0.1 * units.GPa,
        "MPa": 1e-3 * units.GPa,
        "bar": 1e-4 * units.GPa,
        "Pa": 1e-9 * units.GPa,
        "Hartree/Bohr³": units.Hartree / units.Bohr**3,
        "Ry/Bohr³": units.Rydberg / units.Bohr**3,
    },
}
"""Each unit in ours, which is the factor that converts labels; ours is the first."""

SIGNS: Mapping[Quantity, str] = {
    "forces": "gradients instead of forces",
    "energies": "binding energies counted positive",
    "stresses": "stresses of the other sign convention",
}


@dataclass(frozen=True)
class Way:
    """One way to read labels, whatever their unit.

    Attributes:
        comparison: of the labels, read so, with the predictions.
        units: units that they may be in.
        name: what they are; empty for what they should be.
        number: what makes of them what they should be, besides the unit.
        times: the same in words, where it is not one number for all structures.
        sign: their sign by convention, relative to what they should be.
        other_sign: what they are if they have the other sign.
    """

    comparison: Comparison
    units: Mapping[str, float]
    name: str = ""
    number: float = 1.0
    times: str = ""
    sign: int = 1
    other_sign: str = ""

    def words(self, unit: str, factor: float) -> str:
        """Return what labels are in this way, for instance ``Ry, gradients instead of forces``."""
        named = "" if self.units[unit] == 1.0 and (self.name or factor < 0) else unit
        if np.sign(factor) != self.sign:
            both = self.name if self.sign > 0 else ""
            return ", ".join(part for part in (f"{named} {both}".strip(), self.other_sign) if part)
        return f"{self.name} in {named}" if self.sign < 0 and named else f"{named} {self.name}".strip()

    def usual_ratio(self, clear: float) -> float | None:
        """Return the ratio, if labels are as they should be and resemble the predictions clearly; else None."""
        right = self.comparison.correlation >= clear and LOW <= self.comparison.ratio <= HIGH
        return self.comparison.ratio if right else None


@dataclass(frozen=True)
class Reading:
    """Units that labels may be in and that no comparison tells apart.

    Attributes:
        units: what they are, with the factors, signs included, that convert them to ours.
        distance: how far the ratio is from what it should then be, as a logarithm.
        times: what the factors are to be multiplied by in each structure.
        way: name of the way in which they are read; empty where nothing but unit and sign may be wrong.
    """

    units: Mapping[str, float]
    distance: float
    times: str = ""
    way: str = ""

    @property
    def factor(self) -> float:
        """The first factor."""
        return next(iter(self.units.values()))

    @property
    def right(self) -> bool:
        """Whether labels are what they should be."""
        return not self.way and self.factor == 1.0

    def text(self) -> str:
        """Return for instance ``27.211 (Hartree/Å) or 25.711 (Ry/Bohr)``."""
        return " or ".join(f"{self._factor(factor)} ({unit})" for unit, factor in self.units.items())

    def short(self) -> str:
        """Return the factor alone, where there is one."""
        return self._factor(self.factor) if len(self.units) == 1 else self.text()

    def _factor(self, factor: float) -> str:
        if not self.times:
            return f"{factor:.5g}"
        return self.times if factor == 1 else f"{factor:.5g} times {self.times}"


def readings(ways: Sequence[Way], expected: float = TYPICAL) -> list[Reading]:
    """Return what would explain the ratios, the likeliest first; the sign is in the factor.

    Units of nearly the same size (:data:`ALIKE`) cannot be told apart and are one reading.

    Args:
        ways: ways to read labels; those that fit the predictions worse than another are left out.
        expected: ratio of labels to predictions in the right unit.
    """
    best = max((abs(way.comparison.correlation) for way in ways), default=0.0)
    found: list[Reading] = []
    for way in ways:
        if abs(way.comparison.correlation) >= best - WORSE:
            found += _merged(_of_way(way, expected))
    return sorted(found, key=lambda reading: reading.distance)


def _of_way(way: Way, expected: float) -> list[Reading]:
    found = []
    for unit, value in way.units.items():
        ratio = abs(way.comparison.ratio) * value
        if LOW <= ratio <= HIGH:
            factor = float(np.copysign(value, way.comparison.ratio)) * way.number
            words = way.words(unit, factor)
            distance = abs(float(np.log(ratio / expected)))
            found.append(Reading({words: factor}, distance, way.times, way.name))
    return sorted(found, key=lambda reading: reading.distance)


def _merged(found: list[Reading]) -> list[Reading]:
    """Join readings whose factors are alike; the larger factor comes first."""
    merged: list[Reading] = []
    for reading in found:
        alike = [m for m in merged if abs(np.log(reading.factor / m.factor)) < ALIKE]
        if alike:
            both = sorted([*alike[0].units.items(), *reading.units.items()], key=lambda item: -abs(item[1]))
            merged[merged.index(alike[0])] = Reading(dict(both), alike[0].distance, reading.times, reading.way)
        else:
            merged.append(reading)
    return merged


def equally_likely(possible: Sequence[Reading]) -> list[Reading]:
    """Return the first reading and those of other ways that explain the ratio as well; a sign alone where it can."""
    first = next((r for r in possible if not r.way and abs(r.factor) == 1 and is_usual(r, possible)), possible[0])
    if abs(first.factor) == 1:
        return [first]
    others = (r for r in possible if r.way != first.way or abs(r.factor) == 1)
    return [first, *(r for r in others if r is not first and r.distance <= first.distance + EQUAL and not r.right)]


def is_usual(reading: Reading, possible: Sequence[Reading]) -> bool:
    """Return whether a reading is as near to what is expected as those of right labels, or nearer than any other."""
    same = possible[0].way == reading.way
    return reading is possible[0] or reading.distance <= (NEAR if same else EQUAL)
