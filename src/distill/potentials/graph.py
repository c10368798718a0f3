"""One structure, and a batch of them, as tensors that a network reads.

Each pair of neighbours is stored once (``pairs``, from i to j). A network that sends messages both ways takes the
pairs forward and then backward; what depends on the distance alone is computed for one half only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor
from vesin import NeighborList

Array = np.ndarray[Any, Any]


@dataclass
class Graph:
    """One structure of ``n`` atoms with ``p`` pairs of neighbours.

    Attributes:
        numbers: atomic numbers, ``[n]`` int64.
        positions: ``[n, 3]`` Å.
        cell: lattice vectors as rows, ``[3, 3]`` Å; zero where there is none.
        periodic: whether it repeats in all three directions, ``[]`` bool; only then it has a stress.
        pairs: atoms i and j, ``[2, p]`` int64; each pair once.
        shifts: lattice translations of atom j, ``[p, 3]``: r = R[j] + shift @ cell − R[i].
        extra: what a model prepares besides, by name.
        energy: label, ``[]`` float64 eV, or None.
        forces: label, ``[n, 3]`` eV/Å, or None.
        stress: label, ``[3, 3]`` eV/Å³ (NaN where unknown), or None.
    """

    numbers: Tensor
    positions: Tensor
    cell: Tensor
    periodic: Tensor
    pairs: Tensor
    shifts: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)
    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None


@dataclass
class Batch:
    """``B`` structures of together ``N`` atoms and ``P`` pairs; fields as in :class:`Graph`.

    Attributes:
        numbers: ``[N]``.
        positions: ``[N, 3]`` Å.
        cells: ``[B, 3, 3]`` Å.
        periodic: ``[B]``.
        pairs: ``[2, P]`` indices of atoms of the batch.
        shifts: ``[P, 3]``.
        structure: index of the structure of each atom, ``[N]``.
        extra: what the model prepared.
        energy: ``[B]`` float64 eV, or None.
        forces: ``[N, 3]`` eV/Å, or None.
        stress: ``[B, 3, 3]`` eV/Å³, or None; rows of NaN have no label.
    """

    numbers: Tensor
    positions: Tensor
    cells: Tensor
    periodic: Tensor
    pairs: Tensor
    shifts: Tensor
    structure: Tensor
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
        """The receiving atom of each directed edge, ``[2P]``: pairs forward, then backward."""
        return self.pairs.reshape(-1)

    @property
    def neighbours(self) -> Tensor:
        """The sending atom of each directed edge, ``[2P]``."""
        return self.pairs.flip(0).reshape(-1)

    def vectors(self) -> Tensor:
        """Return R[j] + shift @ cell − R[i] of each pair, ``[P, 3]`` Å, differentiable in positions and cells."""
        i, j = self.pairs
        if self.n_structures == 1:
            translation = self.shifts @ self.cells[0]
        else:
            cells = self.cells.reshape(-1, 9).index_select(0, self.structure.index_select(0, i)).view(-1, 3, 3)
            translation = torch.bmm(self.shifts.unsqueeze(1), cells).squeeze(1)
        return self.positions.index_select(0, j) - self.positions.index_select(0, i) + translation

    def to(self, device: torch.device | str) -> Batch:
        """Return this batch on another device."""
        moved: dict[str, Any] = {"extra": {name: value.to(device) for name, value in self.extra.items()}}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                moved[f.name] = value.to(device)
        return replace(self, **moved)


def find_pairs(positions: Array, cell: Array, pbc: Array, cutoff: float) -> tuple[Array, Array]:
    """Return the pairs nearer than ``cutoff``, each once: atoms ``[2, p]`` and lattice translations ``[p, 3]``.

    Args:
        positions: ``[n, 3]`` Å.
        cell: lattice vectors as rows, ``[3, 3]`` Å; directions without periodicity may be zero.
        pbc: periodic directions, ``[3]``.
        cutoff: in Å.
    """
    box = np.asarray(cell, dtype=np.float64) if pbc.all() else complete_cell(cell)
    pairs, shifts = NeighborList(cutoff=cutoff, full_list=False).compute(
        points=np.asarray(positions, dtype=np.float64), box=box, periodic=pbc, quantities="PS", copy=True
    )
    return np.ascontiguousarray(pairs.astype(np.int64).T), shifts


def collate(graphs: list[Graph], increments: list[Mapping[str, int]]) -> Batch:
    """Join structures to a batch.

    Args:
        graphs: the structures.
        increments: for each structure, by how much every later one's ``extra`` tensors of that name have to be raised,
            because they are indices into something that is joined; names that are missing are not indices.
    """
    device = graphs[0].numbers.device
    atoms = torch.tensor([len(g.numbers) for g in graphs], device=device)
    n_pairs = torch.tensor([g.pairs.shape[1] for g in graphs], device=device)
    first = atoms.cumsum(0) - atoms
    extra = {}
    for name in graphs[0].extra:
        extra[name] = torch.cat([g.extra[name] for g in graphs])
        if name in increments[0]:
            raised = torch.tensor([i[name] for i in increments], device=device)
            lengths = torch.tensor([len(g.extra[name]) for g in graphs], device=device)
            steps = (raised.cumsum(0) - raised).repeat_interleave(lengths)
            extra[name] += steps.view(-1, *[1] * (extra[name].dim() - 1))
    return Batch(
        numbers=torch.cat([g.numbers for g in graphs]),
        positions=torch.cat([g.positions for g in graphs]),
        cells=torch.stack([g.cell for g in graphs]),
        periodic=torch.stack([g.periodic for g in graphs]),
        pairs=torch.cat([g.pairs for g in graphs], dim=1) + first.repeat_interleave(n_pairs),
        shifts=torch.cat([g.shifts for g in graphs]),
        structure=torch.arange(len(graphs), device=device).repeat_interleave(atoms),
        extra=extra,
        energy=_join([g.energy for g in graphs], stack=True),
        forces=_join([g.forces for g in graphs], stack=False),
        stress=_join([g.stress for g in graphs], stack=True),
    )


def strained(batch: Batch, strain: Tensor | None) -> Batch:
    """Return the batch with positions and cells deformed by the symmetric part of ``strain`` ``[B, 3, 3]``."""
    if strain is None:
        return batch
    deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + (strain + strain.transpose(1, 2)) / 2
    of_atom = deformation.reshape(-1, 9).index_select(0, batch.structure).view(-1, 3, 3)
    positions = torch.bmm(batch.positions.unsqueeze(1), of_atom).squeeze(1)
    return replace(batch, positions=positions, cells=torch.bmm(batch.cells, deformation))


def divide_by_volume(virial: Tensor, batch: Batch) -> Tensor:
    """Return the stress from dE/dε, ``[B, 3, 3]``; NaN for structures that are not periodic in three directions."""
    periodic = batch.periodic.view(-1, 1, 1)
    volume = torch.linalg.det(batch.cells).abs().view(-1, 1, 1)
    return torch.where(periodic, virial / torch.where(periodic, volume, 1.0), torch.nan)


def _join(labels: list[Tensor | None], stack: bool) -> Tensor | None:
    """Return the labels joined, or None where a structure lacks it."""
    present = [label for label in labels if label is not None]
    if len(present) < len(labels):
        return None
    return torch.stack(present) if stack else torch.cat(present)
