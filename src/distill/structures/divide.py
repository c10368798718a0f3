"""From the files that a user has to the three splits of a run: draw what has no file, keep as many as are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames
from distill.structures.split import split_by_group
from distill.structures.subset import Method, draw_subset
from distill.structures.trajectory import find_neighbours

SPLITS: tuple[str, ...] = ("train", "valid", "test")
"""What is drawn from one file, that which gives way to the others first."""
_PURPOSES = {"test": "test", "valid": "validation"}


def complete_splits(
    files: Mapping[str, FileFrames], shares: Mapping[str, float], seed: int
) -> tuple[dict[str, FileFrames], list[str]]:
    """Draw the splits that have no file from the training file, leak-free.

    Structures that are neighbours of drawn ones in a trajectory are left out (:func:`keep_gaps`).

    Args:
        files: structures by the name of their split, ``train`` among them.
        shares: the share of the training file that ``test`` and ``valid`` get where they have no file.
        seed: the recipe's seed.

    Returns:
        all splits, and a sentence for each that was drawn.

    Raises:
        UserError: the training file has too few structures to draw from.
    """
    missing = {_PURPOSES[name]: name for name in shares if name not in files}
    if not missing:
        return dict(files), []
    train = files["train"]
    places = train.place(range(len(train.frames)))
    wanted = {purpose: shares[name] for purpose, name in missing.items()}
    left, parts, sentences = split_by_group(train.frames, wanted, seed, places)
    drawn = {"train": left} | {missing[purpose]: part for purpose, part in parts.items()}
    parts_of = {name: _part(train, part) for name, part in drawn.items()}
    order = [name for name in SPLITS if name in parts_of]
    kept = keep_gaps([parts_of[name] for name in order], serial_places(train))
    gaps = sum(len(part.frames) for part in parts_of.values()) - sum(len(part.frames) for part in kept)
    if gaps:
        sentences.append(f"{gaps} structures are left out, since they are neighbours in a trajectory of drawn ones")
    return {**files, **dict(zip(order, kept, strict=True))}, sentences


def serial_places(file: FileFrames) -> Array:
    """Return the places in the file of structures that stand in the order of a trajectory whose neighbours are alike.

    A run of one ``config_type`` does where a third of every second structure are neighbours in it of those between.
    """
    frames, places = file.frames, file.place(range(len(file.frames)))
    even, odd = np.arange(0, len(frames), 2), np.arange(1, len(frames), 2)
    if not len(odd):
        return places[:0]
    pairs = find_neighbours(frames[even], frames[odd])[0]
    beside = odd[pairs[np.abs(even[pairs[:, 0]] - odd[pairs[:, 1]]) == 1, 1]]
    families = np.array(frames.labels("config_type"))
    run = np.cumsum(np.concatenate([[0], families[1:] != families[:-1]]))
    found, of = np.bincount(run[beside], minlength=run[-1] + 1), np.bincount(run[odd], minlength=run[-1] + 1)
    return np.asarray(places[(3 * found >= np.maximum(of, 1))[run]])


def keep_gaps(parts: Sequence[FileFrames], serial: Array) -> list[FileFrames]:
    """Return parts of one file without structures that follow or precede one of a later part in a trajectory.

    Those are the next ones of a ``serial`` run, and neighbours wherever they stand. Taking some out bares the next,
    which are looked at again. A part keeps half of its structures, and all elements, at least: what is too short to be
    divided is left to the checks.
    """
    kept = list(parts)
    for k, part in enumerate(parts):
        for other in parts[k + 1 :]:
            while len(near := _beside(kept[k], other, serial)):
                rest = np.setdiff1d(np.arange(len(kept[k].frames)), near)
                if 2 * len(rest) < len(part.frames) or kept[k].frames[rest].elements != part.frames.elements:
                    break
                kept[k] = _part(kept[k], rest)
    return kept


def _beside(file: FileFrames, other: FileFrames, serial: Array) -> Array:
    """Return the structures of ``file`` that are neighbours of some of ``other``, as indices."""
    places, others = (np.asarray(one.place(range(len(one.frames)))) for one in (file, other))
    others = others[np.isin(others, serial)]
    next_ = np.isin(places, serial) & (np.isin(places, others + 1) | np.isin(places, others - 1))
    return np.union1d(np.flatnonzero(next_), find_neighbours(file.frames, other.frames)[0][:, 0])


def keep_subset(
    files: Mapping[str, FileFrames], n: int, method: Method, seed: int
) -> tuple[dict[str, FileFrames], list[str]]:
    """Keep ``n`` of the training structures (:mod:`distill.structures.subset`).

    Returns:
        all splits, and in words what was kept.

    Raises:
        UserError: there are fewer than ``n``, or ``n`` cannot have all elements.
    """
    train = files["train"]
    chosen = draw_subset(train.frames, n, method, seed, train.name)
    kept = _part(train, chosen)
    sentences = [
        f"{n} of {len(train.frames)} training structures are used ({method}): "
        f"frames {', '.join(map(str, train.place(chosen)))}"
    ]
    return {**files, "train": kept}, sentences


def _part(file: FileFrames, chosen: Array) -> FileFrames:
    return replace(file, frames=file.frames[chosen], numbers=file.place(chosen))
