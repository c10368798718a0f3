"""Holes in a teacher: places where atoms come too close and its energy falls.

A foundation model that is fine-tuned to few structures can lose its repulsion, and everything after it falls into the
holes. So its base and the fine-tuned model are sent over the same ground: random cells of the user's elements, half of
them dense, are relaxed at 0 and 50 GPa; dimers are pressed together until their energy bends back; crystals are
compressed evenly. What counts is what fine-tuning has added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from distill.analysis.energy_volume import COMPRESSED, falls_at
from distill.analysis.random_cells import PRESSURES, STEPS, Predictor, random_cells, relax_cells
from distill.base.arrays import Array
from distill.base.progress import Phase
from distill.base.random import stream
from distill.sampling.compressions import SMALLEST
from distill.structures.compression import compressed, lowest_structures
from distill.structures.frames import Frames, concatenate

MOST_PAIRS, MOST_CRYSTALS = 45, 4
"""Pairs of elements, drawn where there are more, and crystals, the smallest ones, that are looked at."""

VOLUMES = np.array([volume for volume in COMPRESSED if volume >= SMALLEST])
"""Relative volumes of compressed crystals: those that students are taught."""

RATIOS = np.arange(1.5, 0.499, -0.05)
"""Distances of dimers in units of the sum of the covalent radii."""

BEND = 0.2
"""eV that a dimer's energy has to rise on shortening to be on its wall, and to fall to be beyond it."""


@dataclass(frozen=True)
class Ground:
    """Where a model is looked at; equal seeds give the same.

    Attributes:
        cells: random cells, once for each of :data:`PRESSURES`.
        pressures: of each of them, ``[C]`` GPa.
        pairs: pairs of elements, for instance ``"O-H"``.
        dimers: of each pair, at :data:`RATIOS`.
        crystals: names of what is compressed.
        compressed: of each crystal, copies at :data:`VOLUMES`.
    """

    cells: Frames
    pressures: Array
    pairs: tuple[str, ...]
    dimers: Frames
    crystals: tuple[str, ...]
    compressed: Frames


@dataclass(frozen=True)
class Holes:
    """What was found.

    Attributes:
        relaxed: whether each cell fell into a hole, ``[C]``.
        bends: distance, in units of the sum of the covalent radii, at which each pair's energy bends back; 0 for never.
        falls: relative volume at which each crystal's energy falls on compression; 0 for never.
    """

    relaxed: tuple[bool, ...]
    bends: tuple[float, ...]
    falls: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Holes of a fine-tuned model beside those of its base.

    Attributes:
        counts: by kind of ground, how many of how many the base and the fine-tuned model have: ``(base, tuned, of)``.
        gained: a clause on each kind of hole that fine-tuning has added or widened.
    """

    counts: Mapping[str, tuple[int, int, int]]
    gained: tuple[str, ...]

    @property
    def text(self) -> str:
        """Say how many there were before and are after."""
        table = ", ".join(f"{kind} {base} and {tuned} of {of}" for kind, (base, tuned, of) in self.counts.items())
        return f"holes before and after: {table}"

    def summary(self) -> dict[str, object]:
        """Return it as a stage's summary has it."""
        names = ("base", "tuned", "of")
        table = {kind: dict(zip(names, numbers, strict=True)) for kind, numbers in self.counts.items()}
        return {"text": self.text, "gained": list(self.gained), **table}


def make_ground(structures: Frames, seed: int) -> Ground:
    """Return where models for ``structures`` are looked at, which need energies."""
    cells = random_cells(structures, seed)
    bases = sorted(lowest_structures(structures), key=lambda k: (structures.n_atoms[k], k))[:MOST_CRYSTALS]
    copies = [compressed(structures[k], float(volume), None, {}) for k in bases for volume in VOLUMES]
    pairs = list(combinations_with_replacement(structures.elements, 2))
    if len(pairs) > MOST_PAIRS:
        drawn = stream(seed, "holes", "pairs").choice(len(pairs), MOST_PAIRS, replace=False)
        pairs = [pairs[k] for k in sorted(drawn)]
    return Ground(
        cells=concatenate([cells] * len(PRESSURES)),
        pressures=np.repeat(PRESSURES, len(cells)),
        pairs=tuple("-".join(chemical_symbols[z] for z in pair) for pair in pairs),
        dimers=concatenate([Frames.empty(), *(_dimers(pair) for pair in pairs)]),
        crystals=tuple(structures[k].to_atoms()[0].symbols.formula.reduce()[0].format() for k in bases),
        compressed=concatenate([Frames.empty(), *copies]),
    )


def find_holes(predict: Predictor, ground: Ground, phase: Phase) -> Holes:
    """Return what a model does on the ground; ``phase`` counts structures evaluated (see :func:`cost`)."""
    before = phase.record.done
    relaxed = relax_cells(predict, ground.cells, ground.pressures, phase)
    dimers, energies = (_energies(predict, frames) for frames in (ground.dimers, ground.compressed))
    phase.update(before + cost(ground))
    falls = [_fall(one) for one in np.reshape(energies, (-1, len(VOLUMES)))]
    return Holes(
        tuple(map(bool, relaxed)),
        tuple(bend_of(one) for one in np.reshape(dimers, (-1, len(RATIOS)))),
        tuple(falls),
    )


def compare(ground: Ground, base: Holes, tuned: Holes) -> Comparison:
    """Return what a fine-tuned model has of holes, and which of them its base has not.

    A dimer's bend counts where it is farther out than that of the base by more than the spacing of :data:`RATIOS`.
    """
    kinds = {"random cells": "relaxed", "dimers": "bends", "compressed crystals": "falls"}
    holes = {kind: (getattr(base, name), getattr(tuned, name)) for kind, name in kinds.items()}
    counts = {
        kind: (int(np.sum(np.array(old) > 0)), int(np.sum(np.array(new) > 0)), len(new))
        for kind, (old, new) in holes.items()
    }
    before, after, of = counts["random cells"]
    gained = [f"{after} of {of} random cells fall into one, {before} before"] * (after > before)
    gained += [
        f"two atoms of {pair} attract each other below {new:.2f} of the sum of their covalent radii, {_before(old)}"
        for pair, old, new in zip(ground.pairs, base.bends, tuned.bends, strict=True)
        if new > old + 1.1 * float(RATIOS[0] - RATIOS[1])
    ]
    gained += [
        f"the energy of {name} falls when it is compressed to {new:g} of its volume, {_before(old)}"
        for name, old, new in zip(ground.crystals, base.falls, tuned.falls, strict=True)
        if new > old
    ]
    return Comparison(counts, tuple(gained))


def _before(value: float) -> str:
    return f"below {value:g} before" if value else "nowhere before"


def cost(ground: Ground) -> int:
    """Return how many structures :func:`find_holes` evaluates at most."""
    return STEPS * len(ground.cells) + len(ground.dimers) + len(ground.compressed)


def bend_of(energies: Array) -> float:
    """Return the ratio of :data:`RATIOS` at which the energy of a dimer bends back on shortening; 0 where it does not.

    On the way in, the energy falls into the bond, then rises on the wall; if it falls again, the wall has a hole behind
    it. Energies ``[R]`` eV that are not finite are one, and so is the last ratio where there is no wall up to it.
    """
    lowest = highest = np.inf
    for ratio, energy in zip(RATIOS, energies, strict=True):
        if not np.isfinite(energy) or energy < highest - BEND < np.inf:
            return round(float(ratio), 3)
        lowest = min(lowest, energy)
        if energy > lowest + BEND:
            highest = energy if highest == np.inf else max(highest, energy)
    return 0.0 if highest < np.inf else round(float(RATIOS[-1]), 3)


def _energies(predict: Predictor, frames: Frames) -> Array:
    """Return the total energies of structures, of which there may be none, ``[B]`` eV."""
    return np.asarray(predict(frames).energy) if len(frames) else np.zeros(0)


def _fall(energies: Array) -> float:
    found = falls_at(VOLUMES, energies)
    return 0.0 if found is None else found


def _dimers(pair: tuple[int, int]) -> Frames:
    """Return a pair of atoms at all :data:`RATIOS`, without cell."""
    distances = RATIOS * float(covalent_radii[list(pair)].sum())
    positions = np.zeros((len(RATIOS), 2, 3))
    positions[:, 1, 0] = distances
    return Frames(
        n_atoms=np.full(len(RATIOS), 2),
        numbers=np.tile(pair, len(RATIOS)),
        positions=positions.reshape(-1, 3),
        cells=np.zeros((len(RATIOS), 3, 3)),
        pbc=np.zeros((len(RATIOS), 3), dtype=bool),
    )
