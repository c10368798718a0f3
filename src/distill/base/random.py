"""Random streams that depend on what they are for, never on the order of execution."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stream_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed derived from the recipe's ``seed`` and what the stream is for."""
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the random generator for one purpose, e.g. ``stream(seed, "tree", 3, "proposal", 17)``."""
    import numpy as np

    return np.random.default_rng(stream_seed(seed, *purpose))
