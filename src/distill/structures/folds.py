"""Divide structures into folds for cross-validation: what is held out has no close relative among what is learnt from.

The groups that stay whole are those that splits are drawn by (:func:`distill.structures.split.neighbour_groups`).
"""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.base.random import stream
from distill.structures.composition import element_counts
from distill.structures.frames import Frames
from distill.structures.split import neighbour_groups


def divide_into_folds(frames: Frames, most: int, seed: int) -> list[Array]:
    """Return what each fold holds out, as ascending indices; no structure is held out twice.

    Every family (``config_type``) is spread over the folds as evenly as its groups allow. A group that alone has some
    element is never held out, so that every fold learns from all elements.

    Args:
        frames: the structures.
        most: folds wanted.
        seed: the recipe's seed.

    Returns:
        ``most`` folds, or fewer where there are fewer groups, none of them empty; none at all where there are fewer
        than two groups to hold out.
    """
    names, first, groups = np.unique(neighbour_groups(frames), return_index=True, return_inverse=True)
    has = np.zeros((len(names), len(frames.elements)), dtype=np.bool_)  # groups × elements
    np.logical_or.at(has, groups, element_counts(frames) > 0)
    free = ~(has & (has.sum(axis=0) == 1)).any(axis=1)
    families, rng = np.array(frames.labels("config_type"))[first], stream(seed, "folds")
    order = np.lexsort((rng.random(len(names)), families))
    order = order[free[order]]
    number = min(most, len(order))
    if number < 2:
        return []
    sizes, fold = np.zeros(number, dtype=np.int64), np.full(len(names), -1)
    members = np.bincount(groups)
    for family in np.unique(families):
        taken = np.zeros(number, dtype=np.int64)  # of this family; ties go to the fold that is smallest so far
        for group in order[families[order] == family]:
            chosen = int(np.lexsort((sizes, taken))[0])
            fold[group] = chosen
            sizes[chosen] += members[group]
            taken[chosen] += members[group]
    kept = _with_all_elements(fold, has)
    found = [np.flatnonzero(kept[groups] == k) for k in range(number)]
    return [one for one in found if len(one)]


def _with_all_elements(fold: Array, has: Array) -> Array:
    """Return the fold of each group, -1 where a fold would otherwise hold out all groups with some element."""
    kept = fold.copy()
    for k in np.unique(fold[fold >= 0]):
        for element in range(has.shape[1]):
            if not has[kept != k, element].any():
                kept[np.flatnonzero((kept == k) & has[:, element])[0]] = -1
    return kept
