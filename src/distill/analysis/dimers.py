"""What is wrong with the energy of two atoms against their distance: holes in the wall, and a second well."""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO

RIPPLE = 0.1
"""eV; the energy turns where it goes back by more than that: what is less deep holds no two atoms at 1000 K."""
WALL = 0.9
"""Share of the distance of lowest energy below which two atoms repel each other at any distance."""
HIGH = 5.0
"""eV that the energy at the shortest distance is above the lowest, at least: no collision at 1e4 K gets there."""


def dimer_flaws(pair: str, distances: Array, energies: Array, bond: float, ripple: float = RIPPLE) -> list[str]:
    """Return what is wrong with a pair of atoms, one clause each.

    The force changes its sign once at most: from far to near the energy falls into one well, if any, and then rises
    without end.

    Args:
        pair: what it is called, for instance ``"O-H"``.
        distances: ``[P]`` Å, ascending.
        energies: ``[P]`` eV.
        bond: the sum of the covalent radii, Å.
        ripple: eV; where the energy goes back by less, the force has not changed its sign.
    """
    if not np.isfinite(energies).all():
        return [f"the energy of {pair} is not finite at {distances[~np.isfinite(energies)][0]:.2f} Å"]
    flaws = []
    if (fall := falls_below(distances, energies, WALL * equilibrium(distances, energies, bond))) is not None:
        flaws.append(f"the energy of {pair} falls when the atoms come nearer than {fall:.2f} Å")
    turns = turning_points(distances, energies, ripple)
    if len(turns) > 1:
        text = ", ".join(f"{r:.2f}" for r in sorted(turns))
        flaws.append(f"the force between {pair} changes its sign {len(turns)} times (at {text} Å), once is a bond")
    if (height := float(energies[0] - energies.min())) < HIGH:
        flaws.append(
            f"two atoms {pair} can meet: at {distances[0]:.2f} Å they are {height:.2g} eV above the lowest energy"
        )
    return flaws


def equilibrium(distances: Array, energies: Array, bond: float) -> float:
    """Return the distance of lowest energy, or ``bond`` where that is none: hardly below separate atoms, or a hole."""
    lowest = int(np.argmin(energies))
    bound = energies[-1] - energies[lowest] > RIPPLE and distances[lowest] > CLOSEST_RATIO * bond
    return float(distances[lowest]) if bound else bond


def turning_points(distances: Array, energies: Array, ripple: float) -> list[float]:
    """Return where the energy turns, from far to near, in Å: extrema between which it changes by ``ripple``, eV."""
    turns: list[float] = []
    direction = 0  # of the energy, coming nearer: -1 falls, 1 rises
    best = len(energies) - 1  # the extremum of the present stretch
    for i in range(len(energies) - 2, -1, -1):
        change = energies[i] - energies[best]
        if direction == 0:
            direction = int(np.sign(change)) if abs(change) > ripple else 0
            best = i if direction else best
        elif change * direction >= 0:
            best = i
        elif abs(change) > ripple:
            turns.append(float(distances[best]))
            direction, best = -direction, i
    return turns


def falls_below(distances: Array, energies: Array, below: float) -> float | None:
    """Return the largest distance up to ``below``, Å, at which the energy is not above that of all larger ones."""
    inside = distances <= below
    near, values = distances[inside][::-1], energies[inside][::-1]
    falls = np.flatnonzero(values[1:] <= np.maximum.accumulate(values)[:-1])
    return float(near[falls[0]]) if len(falls) else None
