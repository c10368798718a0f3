"""Which atoms of a set of structures an observable is about."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from distill.base.arrays import Array
from distill.base.errors import UserError, nearest
from distill.structures.frames import Frames


def of_element(frames: Frames, element: str | None) -> Array:
    """Return which atoms are of an element, ``[N]`` booleans; all for None.

    Args:
        frames: the structures.
        element: chemical symbol.

    Raises:
        UserError: there is no such element, or no such atom.
    """
    if element is None:
        return np.ones(len(frames.numbers), dtype=bool)
    if element not in atomic_numbers:
        raise UserError(f"there is no element {element!r}", remedy=nearest(element, atomic_numbers))
    chosen: Array = frames.numbers == atomic_numbers[element]
    if not chosen.any():
        raise UserError(f"no structure has an atom of {element}", remedy="Ask for an element of the structures")
    return chosen
