"""Find structures of two sets that are neighbours in one trajectory, by distance alone.

Atoms of snapshots that are far apart in time move independently of each other about a common mean; those of neighbours
have moved together. The correlation of their displacements follows from distances between structures, so that neither a
mean structure nor the order of the files is needed: for displacements u about the mean, |u_i - u_j|² = |u_i|² + |u_j|²
in the mean where they are independent, and |u_i|² is the mean of |u_i - u_k|² over k less half of the mean of all
(Torgerson's double centring, Psychometrika 17, 401, 1952).
"""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.structures.duplicates import close_cells, displacements
from distill.structures.frames import Frames, concatenate

CLOSE = 0.3
"""Å, root mean square: two thermal displacements at room temperature. Structures further apart are not called
neighbours, however correlated: atoms of a liquid stay near their place for longer than they remember their
surroundings."""

CORRELATED = 0.9
"""Correlation of displacements above which two structures are neighbours; independent ones have 0 ± 0.15 for 16 atoms,
snapshots of silicon that are 100 fs apart at most 0.7."""

ISOLATION = 0.75
"""The nearest structure is nearer than this share of the median of the five nearest: along a trajectory distances grow
with time, while random displacements of one crystal are all equally far from each other."""

REFERENCE = 100
"""Structures that the mean is taken over."""

WORK = 30_000_000
"""Pairs of structures times atoms that are compared at most; of more, structures are taken at equal steps."""


def find_neighbours(a: Frames, b: Frames) -> tuple[Array, Array]:
    """Return pairs ``[P, 2]`` (structure of ``a``, structure of ``b``) that are neighbours, and their distances in Å.

    For each structure of ``b`` the nearest of ``a`` is judged, among those of the same atoms in the same order, the
    same ``config_type``, and cells that differ by less than 0.5 % of strain; fewer than six such structures are not
    judged. Structures of different kinds without a ``config_type`` look correlated, because they are.
    """
    both = concatenate([one.with_labels(None, None, None) for one in (a, b)])
    pairs: list[tuple[int, int]] = []
    distances: list[float] = []
    for members in _groups(both):
        of_a, of_b = members[members < len(a)], members[members >= len(a)]
        if len(of_a) and len(of_b) and len(members) > 5:
            for i, j, distance in _neighbours_of_group(both, of_a, of_b):
                pairs.append((i, j - len(a)))
                distances.append(distance)
    order = np.argsort([j for _, j in pairs], kind="stable")
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)[order], np.array(distances)[order]


def _groups(frames: Frames) -> list[Array]:
    """Return the indices of structures with the same atoms in the same order and the same ``config_type``."""
    offsets, families = frames.offsets, frames.labels("config_type")
    groups: dict[tuple[str, bytes], list[int]] = {}
    for i in range(len(frames)):
        atoms = frames.numbers[offsets[i] : offsets[i + 1]].tobytes()
        groups.setdefault((families[i], atoms), []).append(i)
    return [np.array(members) for members in groups.values()]


def _neighbours_of_group(frames: Frames, of_a: Array, of_b: Array) -> list[tuple[int, int, float]]:
    """Return neighbours among the structures ``of_a`` and ``of_b`` of one group, with their distances."""
    n_atoms = int(frames.n_atoms[of_a[0]])
    most = max(6, WORK // (n_atoms * (len(of_a) + REFERENCE)))
    of_b = _thinned(of_b, most)
    of_a = _thinned(of_a, max(6, WORK // (n_atoms * (len(of_b) + REFERENCE))))
    reference = _thinned(np.concatenate([of_a, of_b]), REFERENCE)
    mean = float((displacements(frames, reference, reference) ** 2).sum() / (len(reference) * (len(reference) - 1)))
    distances = displacements(frames, of_b, of_a)  # (b, a)
    distances[~close_cells(frames, of_b, of_a)] = np.inf
    nearest = distances.argmin(axis=1)
    shortest = distances[np.arange(len(of_b)), nearest]
    own = _square(frames, of_b, reference, mean)
    other = _square(frames, of_a, reference, mean)[nearest]
    correlated = shortest**2 < (1 - CORRELATED) * (own + other)
    alone = shortest < ISOLATION * np.median(np.sort(distances, axis=1)[:, :5], axis=1)
    found = np.flatnonzero(correlated & alone & (shortest < CLOSE))
    return [(int(of_a[nearest[k]]), int(of_b[k]), float(shortest[k])) for k in found]


def _square(frames: Frames, chosen: Array, reference: Array, mean: float) -> Array:
    """Return the mean square displacement of each of the chosen structures from the common mean, in Å²."""
    squares = displacements(frames, chosen, reference) ** 2
    others = len(reference) - np.isin(chosen, reference)
    return np.asarray(squares.sum(axis=1) / others - mean / 2)


def _thinned(indices: Array, most: int) -> Array:
    """Return at most ``most`` of the indices, at equal steps."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]
