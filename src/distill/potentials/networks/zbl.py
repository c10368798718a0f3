"""The screened repulsion of nuclei at distances that no training structure shows.

A network trained near equilibrium may attract atoms that come too close, and dynamics then collapses. The universal
potential of Ziegler, Biersack and Littmark (*The Stopping and Range of Ions in Solids*, 1985) is added below 0.95 of
the sum of the covalent radii, and in full below 0.65 of it. So it reaches what compression brings about: in diamond at
half of its volume neighbours are at 0.84 of that sum, at a third at 0.74. Most crystals and single bonds are longer
(Si-Si 1.06, O-H 0.99); where bonds are shorter (W-W 0.85, N≡N 0.77), the network learns what is left.
"""

from __future__ import annotations

from typing import Any

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch

COULOMB = 14.399645
"""e²/(4πε₀) in eV Å."""

SCREENING_LENGTH = 0.8854 * 0.529177
"""0.8854 Bohr radii, in Å."""

AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)

INNER = 0.65
"""Below this multiple of the sum of covalent radii the repulsion acts in full."""

OUTER = 0.95
"""From this multiple on it is zero."""

FORMER_RANGE = (0.5, 0.75)
"""Both of models that were saved without them."""


class ZBLRepulsion(nn.Module):
    """The Ziegler-Biersack-Littmark repulsion, switched off smoothly (twice differentiable); it has no parameters."""

    radii: Tensor
    range: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("range", torch.tensor([INNER, OUTER]))
        self.register_buffer("radii", torch.tensor(covalent_radii, dtype=torch.float32), persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Load what was saved; the range of models saved without one is the former."""
        state_dict.setdefault(f"{prefix}range", torch.tensor(FORMER_RANGE))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the energy of each atom, ``[N]`` eV, half of its pairs'; ``vectors`` are the pairs', ``[P, 3]`` Å.

        A processor looks for the few pairs that are close; a GPU, which would have to be waited for, takes all, and so
        does what is traced, which cannot depend on what it finds.
        """
        reach = self.radii[batch.numbers][batch.edges].sum(0)  # (P,)
        if vectors.is_cuda or torch.jit.is_tracing():
            return self.of_pairs(batch, batch.edges, vectors, reach)
        close = (vectors.detach().square().sum(-1) < (self.range[1] * reach) ** 2).nonzero().squeeze(-1)
        if not len(close):
            return vectors.new_zeros(len(batch.numbers))
        return self.of_pairs(batch, batch.edges[:, close], vectors.index_select(0, close), reach[close])

    def of_pairs(self, batch: Batch, pairs: Tensor, vectors: Tensor, reach: Tensor) -> Tensor:
        """Return the energy that the given pairs, with these sums of covalent radii, give each atom, ``[N]`` eV."""
        i, j = pairs
        distances = vectors.norm(dim=-1)
        pair = zbl_energy(batch.numbers[i], batch.numbers[j], distances) * switch(distances / reach, self.range)
        return pair.new_zeros(batch.numbers.shape[0]).index_add(0, i, pair / 2).index_add(0, j, pair / 2)


def zbl_energy(numbers_i: Tensor, numbers_j: Tensor, distances: Tensor) -> Tensor:
    """Return the universal screened Coulomb energy of nuclei at the given distances (Å), in eV."""
    x = distances / pair_lengths(numbers_i, numbers_j)
    screening = sum(a * torch.exp(-b * x) for a, b in zip(AMPLITUDES, EXPONENTS, strict=True))
    return pair_strengths(numbers_i, numbers_j) / distances * screening


def pair_lengths(numbers_i: Tensor, numbers_j: Tensor) -> Tensor:
    """Return the screening lengths of pairs of elements, Å."""
    return SCREENING_LENGTH / (numbers_i**0.23 + numbers_j**0.23)


def pair_strengths(numbers_i: Tensor, numbers_j: Tensor) -> Tensor:
    """Return the Coulomb energies of bare nuclei at 1 Å, eV."""
    return COULOMB * numbers_i * numbers_j


def switch(reduced: Tensor, limits: Tensor) -> Tensor:
    """Return 1 below the first of two ``limits``, 0 above the second; the curvature is continuous."""
    inner, outer = limits
    t = ((reduced - inner) / (outer - inner)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)
