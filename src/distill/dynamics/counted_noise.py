"""Normal random numbers from counters: what an atom is given at a step follows from seed, step and atom alone.

Nothing is drawn in a sequence, so that no number depends on how many replicas are computed together, in which order,
or on where a run was interrupted. The generator is Philox-4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11, 2011), in
operations on integers that every device has; pairs of its words become normal numbers by the method of Box and Muller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from distill.base.random import stream_seed

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF
"""A word has 32 bits; words are kept in integers of 64, whose products wrap around as those of unsigned ones do."""

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Return four random words for each counter and key, all int64 tensors of words that broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((second >> 32) & WORD) ^ c1 ^ k0, second & WORD
        c2, c3 = ((first >> 32) & WORD) ^ c3 ^ k1, first & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


class CountedNoise:
    """Normal numbers for the atoms of several replicas.

    Args:
        seeds: of each replica.
        n_atoms: atoms of each replica.
        device: where the numbers are made.
    """

    def __init__(self, seeds: Sequence[int], n_atoms: int, device: torch.device) -> None:
        keys = [stream_seed(seed, "counted noise") for seed in seeds]
        words = torch.tensor([[key & WORD, key >> 32] for key in keys], device=device)
        self._key = words[:, :1], words[:, 1:]  # (R, 1) each
        self._atoms = torch.arange(n_atoms, device=device)
        self._zero = torch.zeros((), dtype=torch.int64, device=device)

    def normals(self, first: int, steps: int) -> Tensor:
        """Return numbers for ``steps`` steps from ``first`` on, ``[steps, R, N, 3]`` float64."""
        step = torch.arange(first, first + steps, device=self._atoms.device).view(-1, 1, 1)
        words = philox((self._atoms, step & WORD, step >> 32, self._zero), self._key)
        u = [(word.double() + 0.5) / 2**32 for word in words]  # in (0, 1)
        radius, other = (-2 * u[0].log()).sqrt(), (-2 * u[2].log()).sqrt()
        angle = 2 * math.pi * u[1]
        return torch.stack([radius * angle.cos(), radius * angle.sin(), other * (2 * math.pi * u[3]).cos()], dim=-1)
