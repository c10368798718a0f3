"""The ways in which energies, forces and stresses are written: total or per atom, stresses or virials.

Each way is compared with the predictions by itself: where structures differ in size, energies per atom resemble them in
no other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.compare import compare_energies, compare_forces, compare_stresses
from distill.structures.checks.readings import ENERGIES, SIGNS, UNITS, Way
from distill.structures.composition import reduced_counts
from distill.structures.frames import Frames

VIRIALS = "virials"
SAME = 0.01
"""Relative difference of factors of structures below which they are one number."""


def force_ways(labels: Frames, predicted: Frames) -> list[Way]:
    """Return the one way to read forces; none where they tell nothing."""
    if labels.forces is None or predicted.forces is None:
        return []
    compared = compare_forces(labels, predicted)
    return [Way(compared, UNITS["forces"], other_sign=SIGNS["forces"])] if compared else []


def energy_ways(labels: Frames, predicted: Frames) -> list[Way]:
    """Return the ways to read energies: total, per atom, per formula unit; none where they tell nothing."""
    if labels.energy is None or predicted.energy is None:
        return []
    atoms = labels.n_atoms
    formulas = atoms // reduced_counts(labels).sum(axis=1)
    ways = []
    for name, counted, counts in (
        ("", "", np.ones(len(labels))),
        ("per atom", "the number of atoms", atoms),
        ("per formula unit", "the number of formula units", formulas),
    ):
        if (name and (counts == 1).all()) or ("formula" in name and (counts == atoms).all()):
            continue
        compared = compare_energies(replace(labels, energy=labels.energy * counts), predicted)
        if compared:
            number, times = _one_number(counts, counted)
            ways.append(Way(compared, ENERGIES, name, number, times, other_sign=SIGNS["energies"]))
    return ways if ways and not ways[0].name else []


def stress_ways(labels: Frames, predicted: Frames, clear: float) -> list[Way]:
    """Return the ways to read stresses; none where they tell nothing.

    They are a stress, a virial (-stress times volume) under the name of a stress, or a stress under the name of a
    virial, which was divided by the volume. The latter two count if they correlate at least ``clear``.
    """
    if labels.stress is None or predicted.stress is None:
        return []
    used = np.isfinite(labels.stress).all(axis=(1, 2)) & np.isfinite(predicted.stress).all(axis=(1, 2))
    own, theirs, volumes = labels.stress[used], predicted.stress[used], labels.volumes[used]
    plain = compare_stresses(own, theirs) if used.any() else None
    if plain is None:
        return []
    ways = [Way(plain, UNITS["stresses"], other_sign=SIGNS["stresses"])]
    kinds: tuple[tuple[str, str, Array, Mapping[str, float]], ...] = (
        (VIRIALS, "1/volume", 1 / volumes, ENERGIES),
        ("stresses under a key of virials", "the volume", volumes, UNITS["stresses"]),
    )
    for name, by, factors, units in kinds:
        compared = compare_stresses(own * factors[:, None, None], theirs)
        if compared and abs(compared.correlation) >= clear:
            number, times = _one_number(factors, by)
            other = f"{name} of the other sign"
            ways.append(Way(compared, units, name, number, times, sign=-1, other_sign=other))
    return ways


def _one_number(factors: Array, words: str) -> tuple[float, str]:
    """Return a factor of all structures as a number, or 1 and the words for it where it differs between them."""
    middle = float(np.median(factors))
    return (middle, "") if np.ptp(factors) <= SAME * middle else (1.0, words)
