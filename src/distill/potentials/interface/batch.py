"""A batch of structures as tensors that a network reads, and what a potential predicts for it.

Neighbours are a half list: each pair of them is one of the ``edges``, from i to j. A network that sends messages both
ways takes the edges forward and then backward; what depends on the distance alone is computed for one half only.

Positions are in double precision, and vectors become single precision only once they are differences: in a cell of
100 Å, single precision would already lose 4e-6 Å.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.guard import SAME_PLACE, refuse_unphysical
from distill.structures.neighbours import NeighbourSearch


@dataclass
class Batch:
    """``B`` structures of together ``N`` atoms and ``P`` edges between neighbours.

    Attributes:
        numbers: atomic numbers, ``[N]`` int64.
        positions: ``[N, 3]`` float64 Å, relative to the first atom of each structure and wrapped around it.
        cells: lattice vectors as rows, ``[B, 3, 3]`` float64 Å; zero where there is none.
        periodic: whether each repeats in all three directions, ``[B]`` bool; only then it has a stress.
        edges: atoms i and j, ``[2, P]`` int64; each pair of neighbours once.
        shifts: lattice translations of atom j, ``[P, 3]`` float64: r = R[j] + shift @ cell − R[i].
        structure: index of the structure of each atom, ``[N]`` int64.
        dtype: what the network computes in; vectors are given, and forces expected, in it.
        extra: what a model needs besides, by name.
        energy: labels, ``[B]`` float64 eV, or None.
        forces: ``[N, 3]`` eV/Å, or None.
        stress: ``[B, 3, 3]`` eV/Å³, or None; rows of NaN have no label.
    """

    numbers: Tensor
    positions: Tensor
    cells: Tensor
    periodic: Tensor
    edges: Tensor
    shifts: Tensor
    structure: Tensor
    dtype: torch.dtype = torch.float32
    extra: dict[str, Tensor] = field(default_factory=dict)
    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return len(self.cells)

    @property
    def centres(self) -> Tensor:
        """The receiving atom of each directed edge, ``[2P]``: edges forward, then backward."""
        return self.edges.reshape(-1)

    @property
    def neighbours(self) -> Tensor:
        """The sending atom of each directed edge, ``[2P]``."""
        return self.edges.flip(0).reshape(-1)

    def atoms_per_structure(self) -> Tensor:
        """Return the number of atoms of each structure, ``[B]``, without waiting for the device."""
        return self.structure.new_zeros(self.n_structures).index_add_(
            0, self.structure, torch.ones_like(self.structure)
        )

    def vectors(self) -> Tensor:
        """Return R[j] + shift @ cell − R[i] of each edge, ``[P, 3]`` Å, differentiable in positions and cells."""
        i, j = self.edges
        if self.n_structures == 1:
            translation = self.shifts @ self.cells[0]
        else:
            cells = self.cells.reshape(-1, 9).index_select(0, self.structure.index_select(0, i)).view(-1, 3, 3)
            translation = torch.bmm(self.shifts.unsqueeze(1), cells).squeeze(1)
        vectors = self.positions.index_select(0, j) - self.positions.index_select(0, i) + translation
        return vectors.to(self.dtype)

    def to(self, device: torch.device | str) -> Batch:
        """Return this batch on another device."""
        moved: dict[str, Any] = {"extra": {name: value.to(device) for name, value in self.extra.items()}}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                moved[f.name] = value.to(device)
        return replace(self, **moved)


Graph = Batch
"""One structure prepared for training is a batch of one."""


class Prediction(NamedTuple):
    """What a potential says of a batch.

    Attributes:
        energy: ``[B]`` float64 eV.
        forces: ``[N, 3]`` eV/Å.
        stress: ``[B, 3, 3]`` eV/Å³ (ASE's sign), NaN for structures that are not periodic in three directions; or None.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor | None


def half_neighbour_list(frames: Frames, cutoff: float) -> tuple[Array, Array]:
    """Return the edges between all atoms nearer than ``cutoff`` Å, each pair once (a half list).

    The list of each structure is made by itself: of the libraries compared in ``tests/benchmarks/neighbours.py`` the
    one that is called in a loop is the fastest on a CPU. Threads of Python hinder each other at it.

    Returns:
        Atoms i and j as indices into ``frames.numbers``, ``[2, P]`` int64, and the lattice translations of atom j,
        ``[P, 3]`` int32.

    Raises:
        UnphysicalStructure: positions or a cell are not finite, or a cell is degenerate or too dense.
    """
    refuse_unphysical(frames, cutoff)
    search = NeighbourSearch(cutoff)
    edges, shifts = [np.zeros((0, 2), dtype=np.int64)], [np.zeros((0, 3), dtype=np.int32)]
    for k, (first, end) in enumerate(pairwise(frames.offsets)):
        found = search.guarded(frames.positions[first:end], frames.cells[k], frames.pbc[k], "PS")
        edges.append(found[0].astype(np.int64) + first)
        shifts.append(found[1])
    return np.ascontiguousarray(np.concatenate(edges).T), np.concatenate(shifts)


def distances(frames: Frames, edges: Array, shifts: Array) -> Array:
    """Return the lengths of edges that ``half_neighbour_list`` gave, ``[P]`` Å."""
    i, j = edges
    cells = frames.cells[frames.structure_of_atom[i]]
    vectors = frames.positions[j] - frames.positions[i] + np.einsum("pi,pij->pj", shifts, cells)
    return np.asarray(np.linalg.norm(vectors, axis=1))


def with_labels(batch: Batch, frames: Frames) -> Batch:
    """Return the batch, on the CPU, with the labels of its structures."""
    dtype = batch.dtype
    if frames.energy is not None:
        batch.energy = torch.tensor(frames.energy)
    if frames.forces is not None:
        batch.forces = torch.tensor(frames.forces, dtype=dtype)
    if frames.stress is not None:
        stress = torch.tensor(frames.stress, dtype=dtype)
        batch.stress = torch.where(batch.periodic.view(-1, 1, 1), stress, torch.nan)
    return batch


@torch.no_grad()
def without_coincident(prediction: Prediction, batch: Batch) -> Prediction:
    """Return the prediction with NaN for structures that have two atoms at one place.

    What a network gives for a distance of 1e-15 Å may be finite, but it means nothing.
    """
    same = batch.vectors().square().sum(1) < SAME_PLACE**2
    of_edge = batch.structure.index_select(0, batch.edges[0])
    bad = batch.structure.new_zeros(batch.n_structures).index_add(0, of_edge, same.long()) > 0
    energy = torch.where(bad, torch.nan, prediction.energy)
    forces = torch.where(bad.index_select(0, batch.structure).unsqueeze(1), torch.nan, prediction.forces)
    stress = None if prediction.stress is None else torch.where(bad.view(-1, 1, 1), torch.nan, prediction.stress)
    return Prediction(energy, forces, stress)


def strained(batch: Batch, strain: Tensor | None) -> Batch:
    """Return the batch with positions and cells deformed by the symmetric part of ``strain`` ``[B, 3, 3]``."""
    if strain is None:
        return batch
    deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + (strain + strain.transpose(1, 2)) / 2
    of_atom = deformation.reshape(-1, 9).index_select(0, batch.structure).view(-1, 3, 3)
    positions = torch.bmm(batch.positions.unsqueeze(1), of_atom).squeeze(1)
    return replace(batch, positions=positions, cells=torch.bmm(batch.cells, deformation))


def differentiable(batch: Batch, stress: bool) -> tuple[Batch, list[Tensor]]:
    """Return the batch as a function of its positions ``[N, 3]`` and, for a stress, of a strain ``[B, 3, 3]``: both."""
    strain = batch.cells.new_zeros(batch.cells.shape, requires_grad=True) if stress else None
    positions = batch.positions.detach().requires_grad_()
    leaves = [positions] if strain is None else [positions, strain]
    return strained(replace(batch, positions=positions), strain), leaves


def divide_by_volume(virial: Tensor, batch: Batch) -> Tensor:
    """Return the stress from dE/dε, ``[B, 3, 3]``; NaN for structures that are not periodic in three directions."""
    periodic = batch.periodic.view(-1, 1, 1)
    a, b, c = batch.cells.unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum(1).abs().to(virial.dtype).view(-1, 1, 1)
    return torch.where(periodic, virial / torch.where(periodic, volume, 1.0), torch.nan)
