"""Labels of structures by themselves, to the last bit and whatever they are: a broken model's are not finite.

Extended XYZ is for people and other programs, and its reader refuses what is not finite.
"""

from __future__ import annotations

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
