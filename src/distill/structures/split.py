"""Draw validation and test structures so that nothing in them has a close relative in the training set.

Structures are drawn in whole groups (neighbours of a trajectory together with all near-duplicates), in an order that
takes from each ``config_type`` its share; what is drawn depends on the seed and on nothing else. The last group with an
element is never drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream
from distill.structures.composition import element_counts
from distill.structures.duplicates import close_pairs
from distill.structures.frames import Frames

NAME_FILES = "Name files of their own for validation and test, or give more structures"

BLOCKS = 10
"""A run of consecutive structures of one ``config_type`` is cut into at most so many blocks, of at least two."""


def split_by_group(
    frames: Frames, shares: Mapping[str, float], seed: int, places: Array | None = None
) -> tuple[Array, dict[str, Array], list[str]]:
    """Draw leak-free parts of one file, for instance ``{"test": 0.2, "validation": 0.2}``, in this order.

    Groups that stay whole: each run of consecutive structures of one ``config_type`` (the order of a trajectory) is cut
    into at most :data:`BLOCKS` blocks of two or more neighbours; near-duplicates, and whatever is linked by them
    (:func:`distill.structures.duplicates.close_pairs`), all go with the block of the first of them. ``places`` are what
    the structures are called in the sentences, where it is not their index.

    Returns:
        indices that remain, indices drawn for each part (all ascending), and for each part a sentence that says what
        was drawn.

    Raises:
        UserError: where there are fewer groups than parts, or the shares leave nothing.
    """
    for share in shares.values():
        _check_fraction(share)
    _check_fraction(sum(shares.values()))
    _, first, groups = np.unique(neighbour_groups(frames), return_index=True, return_inverse=True)
    if len(first) <= len(shares):
        raise UserError(
            f"no {' and '.join(shares)} set can be drawn: the {len(frames)} structures form {len(first)} "
            f"group{'s' if len(first) > 1 else ''} of neighbours and near-duplicates",
            remedy=f"Name files of their own for {' and '.join(shares)}, or give more structures, further apart",
        )
    families: Array = np.array(frames.labels("config_type"))[first]
    places = np.arange(len(frames)) if places is None else places
    has = np.zeros((len(first), len(frames.elements)), dtype=np.bool_)  # groups × elements
    np.logical_or.at(has, groups, element_counts(frames) > 0)
    left, parts, sentences = np.arange(len(frames)), {}, []
    for position, (purpose, share) in enumerate(shares.items(), start=1):
        kinds, own = np.unique(groups[left], return_inverse=True)
        rest = len(shares) - position
        rng = stream(seed, "split", purpose)
        drawn = _draw(own, families[kinds], share * len(frames), rng, keep=rest + 1, elements=has[kinds])
        parts[purpose], left = left[drawn], left[~drawn]
        sentences.append(
            f"no {purpose} file is named: {drawn.sum()} of {len(frames)} structures ({len(np.unique(own[drawn]))} of "
            f"{len(first)} groups of neighbours) were drawn for {purpose}: "
            f"frames {', '.join(map(str, places[parts[purpose]]))}"
        )
    return left, parts, sentences


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UserError(f"a fraction of {fraction:g} cannot be held out", remedy="Give a number between 0 and 1")


def neighbour_groups(frames: Frames) -> Array:
    """Return the group of each structure ``[B]``: its block, or the block of the first of its near-duplicates."""
    families = np.array(frames.labels("config_type"))
    starts = np.flatnonzero(np.concatenate([[True], families[1:] != families[:-1]]))
    lengths = np.diff(np.append(starts, len(frames)))
    place = np.arange(len(frames)) - np.repeat(starts, lengths)
    length = np.repeat(lengths, lengths)
    block = place * np.minimum((length + 1) // 2, BLOCKS) // length
    blocks = np.cumsum(np.concatenate([[0], (np.diff(block) != 0) | (place[1:] == 0)]))
    pairs, _ = close_pairs(frames)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(frames), len(frames)))
    cluster = connected_components(links, directed=False)[1]
    _, first = np.unique(cluster, return_index=True)
    return blocks[first[cluster]]


def _draw(
    groups: Array,
    strata: Sequence[str] | Array,
    target: float,
    rng: np.random.Generator,
    keep: int = 1,
    elements: Array | None = None,
) -> Array:
    """Return which structures ``[B]`` are drawn, in whole groups, coming as near to ``target`` structures as it goes.

    ``elements`` says which elements every group has, ``[groups, elements]``: what is left has them all.

    The groups of a stratum get evenly spaced, shuffled ranks between 0 and 1; groups are taken by rank, so that every
    stratum gives its share and one with a single group gives it last. At least one group is drawn, ``keep`` are left.
    """
    sizes = np.bincount(groups)
    kinds = np.array(strata)
    ranks = np.empty(len(kinds))
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        ranks[members] = (rng.permutation(len(members)) + 0.5) / len(members)
    order = np.lexsort((rng.random(len(ranks)), ranks))
    drawn: list[int] = []
    total = 0
    has = np.zeros((len(sizes), 0), dtype=np.bool_) if elements is None else elements
    owners = has.sum(axis=0)
    order = np.array([group for group in order if not (has[group] & (owners == 1)).any()], dtype=np.int64)
    for group in order:
        if (has[group] & (owners == 1)).any():
            continue
        if len(drawn) < len(sizes) - keep and abs(total + sizes[group] - target) < abs(total - target):
            drawn.append(int(group))
            total += int(sizes[group])
            owners = owners - has[group]
    if not drawn and not len(order):
        raise UserError("no group can be drawn: each of them is the only one with some element", remedy=NAME_FILES)
    drawn = drawn or [int(order[np.argmin(sizes[order])])]
    return np.isin(groups, drawn)
