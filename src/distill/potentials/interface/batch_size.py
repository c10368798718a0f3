"""How many atoms are evaluated together.

On a CPU that is a constant. On a GPU memory decides: from a modest first guess the batches grow, each at most to twice
the largest that has run, until one takes a safe share of the free memory. Where memory runs out all the same, the
number is halved, for good.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from distill.base.arrays import Array
from distill.structures.frames import Frames

CPU_ATOMS = 256
"""Atoms evaluated together on a CPU: larger batches leave its caches and gain nothing."""

FIRST_SHARE = 0.25
"""Share of the free memory that the first batch on a GPU may take, if an atom takes what its potential says."""

SHARE = 0.5
"""Share of the free memory that a batch may take once it is known what an atom takes."""


DENSE = 0.1
"""Atoms in an Å³, about as many as in water or copper, beyond which an atom takes more room in memory."""


def room_of(frames: Frames) -> Array:
    """Return how many atoms of ordinary density each structure takes the room of, ``[B]``.

    The triplets of an atom grow with the square of the density: diamond takes three times as much room as copper,
    compressed to half its volume twelve times.
    """
    periodic = frames.pbc.all(axis=1)
    density = np.divide(frames.n_atoms, frames.volumes, out=np.zeros(len(frames)), where=periodic)
    return np.asarray(frames.n_atoms * np.maximum(1.0, density / DENSE) ** 2)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Memory(Protocol):
    """The memory of a device, in bytes."""

    def free(self) -> int:
        """Return how much can still be allocated."""

    def start(self) -> None:
        """Begin to measure."""

    def used(self) -> int:
        """Return the most that was allocated at one time since the start, not counting what was there before."""


class CudaMemory:
    """The memory of a CUDA device.

    The peak is that of the process so far, which others report and is therefore not reset: a batch that sets a new one
    is measured exactly, any other is taken for larger than it is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0

    def free(self) -> int:
        """Return what the driver has left and what torch holds without using it."""
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + unused

    def start(self) -> None:
        """Note what is allocated now."""
        self._before = torch.cuda.memory_allocated(self.device)

    def used(self) -> int:
        """Return the peak of the process above what was allocated at the start."""
        return torch.cuda.max_memory_allocated(self.device) - self._before


class BatchSize:
    """The number of atoms that are evaluated together, and what was learnt about it.

    Args:
        atoms: the first guess.
        memory: what is measured to grow; None keeps the first guess.

    Attributes:
        atoms: atoms of the next batch at most.
        ceiling: what a batch must never exceed again, since twice as many did not fit.
    """

    def __init__(self, atoms: int, memory: Memory | None = None) -> None:
        self.atoms = atoms
        self.memory = memory
        self.ceiling = sys.maxsize
        self._proven = 0

    @classmethod
    def of(cls, device: torch.device, bytes_per_atom: int) -> BatchSize:
        """Return the first guess for a device, from what an atom takes roughly."""
        if device.type != "cuda":
            return cls(CPU_ATOMS)
        memory = CudaMemory(device)
        return cls(max(CPU_ATOMS, int(FIRST_SHARE * memory.free() / bytes_per_atom)), memory)

    def limit(self, wanted: int | None) -> int:
        """Return the most atoms of the next batch: what the caller wants, if it does, but not above the ceiling."""
        return min(wanted or self.atoms, self.ceiling)

    @contextmanager
    def learning(self, n_atoms: int) -> Iterator[None]:
        """Learn from a batch, which runs inside, if it is the largest so far."""
        if self.memory is None or n_atoms <= self._proven:
            yield
            return
        self.memory.start()
        yield
        self._proven = n_atoms
        affordable = int(SHARE * self.memory.free() * n_atoms / max(self.memory.used(), 1))
        grown = max(n_atoms, min(max(self.atoms, 2 * n_atoms), affordable))
        self.atoms = min(grown, self.ceiling)

    def halve(self, n_atoms: int) -> None:
        """Stay at half of ``n_atoms``, for which memory did not suffice."""
        self.ceiling = n_atoms // 2
        self.atoms = min(self.atoms, self.ceiling)
