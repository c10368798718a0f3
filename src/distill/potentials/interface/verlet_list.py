"""A neighbour list that survives many steps of dynamics (L. Verlet, Phys. Rev. 159, 98, 1967).

Edges are listed up to the cutoff plus a skin; the list holds until an atom has moved by half the skin. Each step
selects those within the cutoff, on the device of the potential: what goes there at a step is the positions, not the
edges.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor
from vesin import NeighborList

from distill.potentials.interface.batch import half_neighbour_list
from distill.structures.frames import Frames
from distill.structures.guard import SAME_PLACE, refuse_coincident, refuse_unphysical
from distill.structures.periodic import whole_cells


class VerletList:
    """The half neighbour list of one structure that moves.

    Args:
        cutoff: of the edges that are returned, Å.
        skin: how much further edges are listed, Å; with 0 the list is rebuilt for every structure.
        device: where the edges are kept and selected.

    Attributes:
        rebuilt: how often the list was built so far.
    """

    def __init__(self, cutoff: float, skin: float, device: torch.device) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.device = device
        self.rebuilt = 0
        self._listed: Frames | None = None
        self._edges = torch.zeros((2, 0), dtype=torch.int64)
        self._shifts = torch.zeros((0, 3), dtype=torch.int32)
        self._translations = torch.zeros((0, 3), dtype=torch.float64)

    def holds(self, frames: Frames) -> bool:
        """Return whether the listed edges contain all that are within the cutoff in this structure."""
        listed = self._listed
        if listed is None or not all(
            np.array_equal(getattr(listed, name), getattr(frames, name)) for name in ("numbers", "pbc", "cells")
        ):
            return False
        moved = np.square(frames.positions - listed.positions).sum(axis=1)
        return bool(moved.max(initial=0.0) < (self.skin / 2) ** 2)

    def forget(self) -> None:
        """Hold for no structure any more."""
        self._listed = None

    def rebuild(self, frames: Frames) -> None:
        """List the edges of this structure up to the cutoff plus the skin.

        Raises:
            UnphysicalStructure: positions or the cell are not finite, the cell is degenerate or too dense, or two atoms
                are at one place.
        """
        self._listed = None  # what fails below leaves no list behind
        self._edges, self._shifts, self._translations = listed(frames, self.cutoff + self.skin, self.device)
        self._listed = frames
        self.rebuilt += 1

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """What is listed: atoms i and j ``[2, P]``, and what is added to the position of j, ``[P, 3]`` float64 Å."""
        return self._edges, self._translations

    def within_cutoff(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Return the edges within the cutoff, atoms i and j ``[2, P]``, and the lattice translations of j, ``[P, 3]``.

        Each edge stands there once. Distances are compared in double precision.
        """
        near = (self._squares(frames) < self.cutoff**2).nonzero().squeeze(1)
        return self._edges.index_select(1, near), self._shifts.index_select(0, near)

    def _squares(self, frames: Frames) -> Tensor:
        """Return the squared lengths of the listed edges in this structure, ``[P]`` float64 Å²."""
        return squared_lengths(frames, self._edges, self._translations)


def squared_lengths(frames: Frames, edges: Tensor, translations: Tensor) -> Tensor:
    """Return the squared lengths of edges of one structure, ``[P]`` float64 Å².

    Args:
        frames: the structure.
        edges: atoms i and j, ``[2, P]``.
        translations: what is added to the position of j, ``[P, 3]`` float64 Å.
    """
    positions = torch.tensor(frames.positions, device=edges.device)  # a copy: frames are read-only
    i, j = edges
    return (positions.index_select(0, j) - positions.index_select(0, i) + translations).square().sum(1)


def listed(frames: Frames, reach: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the half neighbour list of one structure on a device: edges, shifts, translations ``[P, 3]`` float64 Å.

    Raises:
        UnphysicalStructure: positions or the cell are not finite, the cell is degenerate or too dense, or two atoms are
            at one place.
    """
    if device.type == "cuda":
        edges, shifts = half_neighbour_list_on_gpu(frames, reach, device)
    else:
        edges, shifts = (torch.from_numpy(found) for found in half_neighbour_list(frames, reach))
    translations = shifts.double() @ torch.tensor(frames.cells[0], device=device)
    squares = squared_lengths(frames, edges, translations)
    if bool((squares < SAME_PLACE**2).any()):
        refuse_coincident(frames, edges.cpu().numpy(), squares.sqrt().cpu().numpy())
    return edges, shifts, translations


def half_neighbour_list_on_gpu(frames: Frames, cutoff: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what ``half_neighbour_list`` does for one structure, found on a CUDA device and left there.

    Where the GPU cannot list so many neighbours, the processor does.
    """
    refuse_unphysical(frames, cutoff)
    box = whole_cells(frames.cells, frames.pbc)[0]
    arrays = (torch.tensor(array, device=device) for array in (frames.positions, box, frames.pbc[0]))
    search = NeighborList(cutoff=cutoff, full_list=False)
    try:
        edges, shifts = search.compute(*arrays, quantities="PS", copy=True)
    except RuntimeError as error:
        warnings.warn(f"neighbours are listed on the processor, since the GPU cannot: {error}", stacklevel=2)
        edges, shifts = (torch.from_numpy(found).to(device) for found in half_neighbour_list(frames, cutoff))
        return edges, shifts
    return edges.long().T.contiguous(), shifts
