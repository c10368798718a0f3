"""Draw a few structures of many, so that larger draws contain smaller ones.

All structures are put into one order, of which the first n are taken: 1, 5 and 25 structures are comparable because
each set holds the one before. The order depends on the seed and the structures alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream
from distill.structures.fingerprint import fingerprints
from distill.structures.frames import Frames

Method = Literal["stratified", "farthest"]


def draw_subset(frames: Frames, n: int, method: Method, seed: int, name: str = "") -> Array:
    """Return the indices, ascending, of ``n`` structures.

    Args:
        frames: the structures to draw from.
        n: how many.
        method: ``"stratified"``: from each ``config_type`` its share; ``"farthest"``: each as different as possible
            from those before (:mod:`distill.structures.fingerprint`). seed: the recipe's seed. name: the file, for the
            message.

    Raises:
        UserError: there are fewer than ``n`` structures.
    """
    if n > len(frames):
        raise UserError(
            f"{n} training structures are asked for, and there are {len(frames)}",
            where=name or None,
            remedy=f"Lower data.n_train to at most {len(frames)}, or leave it out to use all",
        )
    order = (
        stratified_order(frames.labels("config_type"), seed) if method == "stratified" else farthest(frames, n, seed)
    )
    return np.sort(order[:n])


def stratified_order(strata: list[str], seed: int) -> Array:
    """Return an order of all structures in which each stratum always has its share, to less than one structure.

    Which stratum comes next is Tijdeman's rule for the chairman assignment problem (Discrete Math. 32, 323, 1980):
    among the strata that are owed a structure, the one whose turn runs out first. No count is then further than 1 -
    1/(2k - 2) from its share, for k strata, at any n. Which structure of the stratum it is, and ties, are random.
    """
    kinds, own = np.unique(strata, return_inverse=True)
    counts = np.bincount(own, minlength=len(kinds))
    rng = stream(seed, "subset", "stratified")
    waiting = [rng.permutation(np.flatnonzero(own == kind)).tolist() for kind in range(len(kinds))]
    ties = rng.permutation(len(kinds))
    if len(kinds) == 1:
        return np.array(waiting[0])
    shares, given = counts / len(strata), np.zeros(len(kinds))
    slack = 1 / (2 * len(kinds) - 2)
    order = []
    for n in range(1, len(strata) + 1):
        owed = shares * n - given
        turn = (1 - slack - owed) / shares
        turn[(owed < slack - 1e-9) | (given == counts)] = np.inf
        kind = np.lexsort((ties, np.round(turn, 9)))[0]
        order.append(waiting[kind].pop())
        given[kind] += 1
    return np.array(order)


def farthest(frames: Frames, n: int, seed: int) -> Array:
    """Return ``n`` structures in the order in which farthest-point sampling finds them, from a random one on.

    Each next one has the largest distance, of fingerprints, to the nearest of those before (Gonzalez, Theor. Comput.
    Sci. 38, 293, 1985).
    """
    rng = stream(seed, "subset", "farthest")
    shuffled = rng.permutation(len(frames))
    prints = fingerprints(frames)[shuffled]
    order, distances = [0], np.full(len(frames), np.inf)
    while len(order) < n:
        distances = np.minimum(distances, np.linalg.norm(prints - prints[order[-1]], axis=1))
        distances[order] = -1
        order.append(int(distances.argmax()))
    return shuffled[np.array(order)]
