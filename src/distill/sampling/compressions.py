"""Compressed and sheared copies of the lowest structures: they teach a student the way down to 0.4 of the volume.

Trees stay near the density of their seeds, and a network that has seen no other falls into holes beyond. From the
structure of lowest energy of each composition, copies are made at volumes that fall geometrically to 0.4 of its own,
scaled evenly and, as many again, also sheared and rattled. Molecules keep their shape: what pressure takes first is the
space between them. Each set of copies is a family of its own.
"""

from __future__ import annotations

import numpy as np

from distill.analysis.energy_volume import falls_at
from distill.base.arrays import Array
from distill.base.random import stream
from distill.structures.compression import compressed, lowest_structures
from distill.structures.frames import Frames, concatenate

SMALLEST, LARGEST = 0.4, 0.95
"""Range of the volumes, relative to that of the structure that is compressed."""

VOLUME = "relative_volume"
"""Key in ``info`` of the volume, relative to that of the structure that was compressed."""


def compressions(seeds: Frames, count: int, seed: int) -> Frames:
    """Return unlabelled copies of the lowest structure of each composition.

    Args:
        seeds: structures with energies; those that are not periodic in three directions are left alone.
        count: copies of each composition; half of them are scaled evenly, the others also sheared and rattled.
        seed: of the random numbers.

    Returns:
        Frames with ``config_type`` "compression", ``relative_volume``, and ``base``, the index of what was compressed.
    """
    copies = [Frames.empty()]
    for base in lowest_structures(seeds):
        one = seeds[base]
        for k, volume in enumerate(np.repeat(relative_volumes(-(-count // 2)), 2)[:count]):
            rng = stream(seed, "compression", base, k) if k % 2 else None
            info = {"config_type": "compression", VOLUME: round(float(volume), 4), "base": base}
            copies.append(compressed(one, float(volume), rng, info))
    return concatenate(copies)


def relative_volumes(number: int) -> Array:
    """Return volumes from :data:`LARGEST` down to :data:`SMALLEST` in equal ratios, ``[number]``."""
    return np.geomspace(LARGEST, SMALLEST, number) if number > 1 else np.array([SMALLEST])


def repelling(labelled: Frames) -> tuple[Array, list[str]]:
    """Return which copies the teacher can be believed on, ``[B]``, and a sentence for each composition it cannot.

    Where matter is compressed further and further its energy rises. Evenly scaled copies show from which volume on the
    teacher's falls; all copies of that composition from there on are left out.
    """
    volumes = np.array([float(info[VOLUME]) for info in labelled.info])
    bases = np.array([info["base"] for info in labelled.info])
    kept = np.isfinite(labelled.energy_per_atom)
    said = []
    for base in np.unique(bases):
        own = np.flatnonzero(bases == base)
        limit = falls_at(volumes[own[::2]], labelled.energy_per_atom[own[::2]])
        if limit is not None:
            kept[own[volumes[own] <= limit]] = False
            formula = labelled[int(own[0])].to_atoms()[0].symbols.formula.reduce()[0]
            said.append(
                f"the teacher's energy of {formula} falls when it is compressed to {limit:.2f} of its volume: "
                "students learn no smaller volumes from it"
            )
    return kept, said
