"""Files and structures that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.structures.frames import Frames

FRAME = """2
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 energy=-3.5 pbc="T T T"
Si 0.0 0.0 0.0 0.1 0.0 0.0
Si 2.0 2.0 2.0 -0.1 0.0 0.0
"""
"""A labelled frame that nothing is wrong with, to be spoilt."""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes frames, given as texts, to a file."""

    def write(*frames: str) -> Path:
        path = tmp_path / "some.xyz"
        path.write_text("".join(frames), encoding="utf-8")
        return path

    return write


@pytest.fixture
def good() -> str:
    """A labelled frame that nothing is wrong with."""
    return FRAME


@pytest.fixture
def thermal() -> Callable[..., Frames]:
    """Return a function that makes labelled, rattled 16-atom silicon cells."""

    def make(n: int, seed: int = 0, spread: float = 0.15, **info: str) -> Frames:
        rng = np.random.default_rng(seed)
        crystal = bulk("Si", a=5.43).repeat(2)
        forces = rng.normal(size=(n, 16, 3))
        forces -= forces.mean(axis=1, keepdims=True)
        return Frames(
            n_atoms=np.full(n, 16),
            numbers=np.tile(crystal.numbers, n),
            positions=(crystal.positions + rng.normal(0, spread, (n, 16, 3))).reshape(-1, 3),
            cells=np.tile(crystal.cell.array, (n, 1, 1)),
            pbc=np.ones((n, 3)),
            energy=-87 + rng.normal(0, 0.3, n),
            forces=forces.reshape(-1, 3),
            info=tuple(dict(info) for _ in range(n)),
        )

    return make
