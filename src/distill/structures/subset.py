"""Draw a few structures of many, so that larger draws contain smaller ones.

All structures are put into one order, of which the first n are taken: 1, 5 and 25 structures are comparable because
each set holds the one before. The order depends on the seed and the structures alone. Structures that together have all
elements come first, since nothing can be learnt of an element that is not there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream
from distill.structures.composition import element_counts
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
        UserError: there are fewer than ``n`` structures, or so few cannot have all elements.
    """
    if n > len(frames):
        raise UserError(
            f"{n} training structures are asked for, and there are {len(frames)}",
            where=name or None,
            remedy=f"Lower data.n_train to at most {len(frames)}, or leave it out to use all",
        )
    if method == "stratified":
        order = stratified_order(frames.labels("config_type"), seed)
        first = with_all_elements(frames, order)
        order = np.concatenate([first, order[~np.isin(order, first)]])
    else:
        order, first = farthest(frames, n, seed)
    if n < len(first):
        lost = set(frames.elements) - set(frames[first[:n]].elements)
        raise UserError(
            f"{n} training structure{'s' if n > 1 else ''} cannot have all elements: "
            f"{', '.join(chemical_symbols[z] for z in sorted(lost))} would not be trained on",
            where=name or None,
            remedy=f"Raise data.n_train to {len(first)}, or leave structures of these elements out of all files",
        )
    return np.sort(order[:n])


def with_all_elements(frames: Frames, order: Array) -> Array:
    """Return the first structures, of an order of all, that together have all elements.

    Each is the earliest of those that have most of the elements still missing (the greedy cover of Chvátal, Math. Oper.
    Res. 4, 233, 1979).
    """
    has = element_counts(frames)[order] > 0
    missing = np.ones(has.shape[1], dtype=np.bool_)
    first: list[int] = []
    while missing.any():
        first.append(int((has & missing).sum(axis=1).argmax()))
        missing = missing & ~has[first[-1]]
    return np.asarray(order[first])


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


def farthest(frames: Frames, n: int, seed: int) -> tuple[Array, Array]:
    """Return ``n`` structures in the order in which farthest-point sampling finds them, and the first of that order.

    The first are random ones that have all elements.

    Each next one has the largest distance, of fingerprints, to the nearest of those before (Gonzalez, Theor. Comput.
    Sci. 38, 293, 1985).
    """
    rng = stream(seed, "subset", "farthest")
    shuffled = rng.permutation(len(frames))
    prints = fingerprints(frames)[shuffled]
    first = with_all_elements(frames, shuffled)
    order = [int(np.flatnonzero(shuffled == i)[0]) for i in first]
    distances = np.min([np.linalg.norm(prints - prints[i], axis=1) for i in order], axis=0)
    while len(order) < n:
        distances[order] = -1
        order.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(prints - prints[order[-1]], axis=1))
    return shuffled[np.array(order)], first
