"""From the files that a user has to the three splits of a run: draw what has no file, keep as many as are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames
from distill.structures.checks.sets import check_unseen
from distill.structures.split import split_by_group
from distill.structures.subset import Method, draw_subset

_PURPOSES = {"test": "test", "valid": "validation"}


def complete_splits(
    files: Mapping[str, FileFrames], shares: Mapping[str, float], seed: int
) -> tuple[dict[str, FileFrames], list[str]]:
    """Draw the splits that have no file from the training file, leak-free.

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
    return {**files, **{name: _part(train, part) for name, part in drawn.items()}}, sentences


def keep_subset(
    files: Mapping[str, FileFrames], n: int, method: Method, seed: int
) -> tuple[dict[str, FileFrames], list[str]]:
    """Keep ``n`` of the training structures (:mod:`distill.structures.subset`).

    Returns:
        all splits, and in words what was kept and which elements are no longer trained on.

    Raises:
        UserError: there are fewer than ``n``.
    """
    train = files["train"]
    chosen = draw_subset(train.frames, n, method, seed, train.name)
    kept = _part(train, chosen)
    sentences = [
        f"{n} of {len(train.frames)} training structures are used ({method}): "
        f"frames {', '.join(map(str, train.place(chosen)))}"
    ]
    for file in files.values():
        sentences += [finding.sentence for finding in check_unseen(file, kept.frames.elements) if file is not train]
    return {**files, "train": kept}, sentences


def _part(file: FileFrames, chosen: Array) -> FileFrames:
    return replace(file, frames=file.frames[chosen], numbers=file.place(chosen))
