"""Two atoms alone, of every pair of elements, down to distances that no label reaches: what holds dynamics together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from distill.analysis.dimers import RIPPLE, dimer_flaws
from distill.analysis.quantities import StaticResult
from distill.base.arrays import Array
from distill.base.progress import Progress
from distill.potentials.interface.potential import Potential
from distill.structures.pairs import Pair, pairs_at, pairs_of


def dimers(
    elements: Iterable[int],
    potential: Potential,
    *,
    shortest: float = 0.5,
    longest: float = 6.0,
    points: int = 100,
    ripple: float = RIPPLE,
    progress: Progress = Progress(),
) -> StaticResult:
    """Return what a model says of all pairs of atoms, with each curve and what is wrong with it.

    Args:
        elements: atomic numbers; repeats are ignored.
        potential: the model.
        shortest: shortest distance, Å; half of the sum of the covalent radii where that is shorter (H-H: 0.31 Å).
        longest: longest distance, Å.
        points: distances of each pair, spaced geometrically.
        ripple: eV; where the energy goes back by less, the force has not changed its sign.
        progress: counts pairs.
    """
    curves, flaws = {}, []
    pairs = pairs_of(elements)
    with progress.phase("two atoms", len(pairs), "pair") as phase:
        for pair in pairs:
            name, bond = "-".join(chemical_symbols[z] for z in pair), _bond(pair)
            distances = np.geomspace(min(shortest, bond / 2), longest, points)
            energies = np.asarray(potential.evaluate(pairs_at([pair], [distances]), stress=False).energy)
            curves[name] = {"distances": distances.tolist(), "energies": _listed(energies)}
            flaws += dimer_flaws(name, distances, energies, bond, ripple)
            phase.advance(1)
    names = ", ".join(curves)
    sound = f"two atoms repel each other more the nearer they are, and have one bond length ({names})"
    return StaticResult("dimers", names, 0, flaws=flaws, sound="" if flaws else sound, arrays={"curves": curves})


def _bond(pair: Pair) -> float:
    return float(covalent_radii[pair[0]] + covalent_radii[pair[1]])


def _listed(energies: Array) -> list[float | None]:
    return [float(energy) if np.isfinite(energy) else None for energy in energies]
