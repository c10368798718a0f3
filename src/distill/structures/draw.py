"""Draw some of the structures that were grown, so that larger draws contain smaller ones.

Learning curves over draws from one pool compare numbers of structures alone: the trees of a smaller growth are younger,
and so nearer to their seeds. The order depends on the seed of the recipe and on the structures, not on how many are
drawn, nor when.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream
from distill.structures.frames import Frames

How = Literal["stratified", "trees"]
"""stratified: every tree gives equally many; trees: one whole tree after the other."""


def draw_grown(frames: Frames, n: int, how: How, seed: int, name: str = "") -> Array:
    """Return the indices, ascending, of ``n`` of the grown structures and of all that did not grow.

    Args:
        frames: a pool of synthetic structures: grown ones have a ``generation`` above 0 and the number of their
            ``tree`` in ``info``; seeds, dimers and compressions do not.
        n: how many of the grown ones.
        how: from which trees.
        seed: the recipe's seed.
        name: the key of the recipe, for the message.

    Raises:
        UserError: fewer than ``n`` have grown.
    """
    grown = np.array([int(one.get("generation", 0)) > 0 for one in frames.info], dtype=np.bool_)
    if n > grown.sum():
        raise UserError(
            f"{n} grown structures are asked for, and there are {grown.sum()} to train on",
            where=name or None,
            remedy="Lower it, leave it out to use all, or raise synthetic.structures",
        )
    places = np.flatnonzero(grown)
    trees = np.array([int(frames.info[i]["tree"]) for i in places], dtype=np.int64)
    return np.union1d(np.flatnonzero(~grown), places[drawing_order(trees, how, seed)[:n]])


def drawing_order(trees: Array, how: How, seed: int) -> Array:
    """Return the order in which structures are drawn, as indices ``[S]``; ``trees`` are the numbers of theirs, ``[S]``.

    Trees, and the structures within each, come in random order: a draw has all generations. ``stratified`` takes one
    structure of every tree, then a second one, and so on: the numbers that trees give differ by one at most, but for
    trees that have no more.
    """
    rng = stream(seed, "draw of grown structures")
    shuffled = rng.permutation(len(trees))
    names, own = np.unique(trees[shuffled], return_inverse=True)
    turn = rng.permutation(len(names))[own]
    if how == "trees":
        return np.asarray(shuffled[np.argsort(turn, kind="stable")])
    nth = np.empty(len(trees), dtype=np.int64)  # of its tree
    for tree in range(len(names)):
        members = np.flatnonzero(own == tree)
        nth[members] = np.arange(len(members))
    return np.asarray(shuffled[np.lexsort((turn, nth))])
