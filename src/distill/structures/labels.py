"""Labels of structures by themselves, to the last bit and whatever they are: a broken model's are not finite.

Extended XYZ is for people and other programs, and its reader refuses what is not finite.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from distill.base.files import replacing
from distill.structures.frames import Frames

LABELS = ("energy", "forces", "stress")


def write_labels(path: Path, frames: Frames) -> None:
    """Write the labels that ``frames`` have to an ``.npz`` file, whole or not at all."""
    present = {name: values for name in LABELS if (values := getattr(frames, name)) is not None}
    with replacing(path) as temporary:
        np.savez(temporary, **present)


def read_labels(path: Path, frames: Frames) -> Frames:
    """Return ``frames`` with the labels that :func:`write_labels` wrote, in place of their own.

    Raises:
        ValueError: the labels are those of other numbers of structures or atoms.
    """
    with np.load(path, allow_pickle=False) as stored:
        return frames.with_labels(*(stored[name] if name in stored.files else None for name in LABELS))


def count_labels(frames: Frames, names: Collection[str] = LABELS) -> int:
    """Return how many numbers the labels are, those that are missing left out.

    An energy is one number, a force on an atom three, and a stress six, as many as are independent.
    """
    found = {name: values for name in names if (values := getattr(frames, name)) is not None}
    stress = found.pop("stress", None)
    of_stress = 0 if stress is None else 6 * int(np.isfinite(stress).all(axis=(1, 2)).sum())
    return of_stress + sum(int(np.isfinite(values).sum()) for values in found.values())
