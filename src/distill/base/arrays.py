"""The type of the arrays that all layers exchange.

A name for type checkers: NumPy is not imported here, since planning loads no numerical library. Shapes and units are
said where an array is made or taken; those that all parts share are in :mod:`distill.base.conventions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
"""A NumPy array of any shape and any kind of number."""
