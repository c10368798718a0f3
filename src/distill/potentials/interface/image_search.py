"""Neighbours in several small cells at once, on their device: every pair of atoms, in every periodic image in reach.

The work grows with the square of the number of atoms, but there is no wait between its parts. For cells of hundreds of
atoms a GPU is faster with it than with one search after another.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from distill.base.arrays import Array
from distill.structures.periodic import BEFORE, whole_cells

MOST = 2**26
"""Pairs of all cells and images that are looked at together at most: half a GB."""


class ImageSearch:
    """Finds the pairs within a reach in ``R`` cells of ``N`` atoms.

    Args:
        cells: lattice vectors as rows, ``[R, 3, 3]`` Å.
        pbc: periodic directions, ``[R, 3]``.
        reach: Å.
        device: where positions are.
    """

    def __init__(self, cells: Array, pbc: Array, reach: float, device: torch.device) -> None:
        whole = whole_cells(cells, pbc)
        inverse = np.linalg.inv(whole)
        heights = 1 / np.linalg.norm(inverse, axis=1)  # (R, 3)
        most = np.where(pbc, np.floor(reach / heights) + 1, 0).max(axis=0).astype(int)
        images = product(*(range(-n, n + 1) for n in most))
        self._shifts = torch.tensor([one for one in images if one >= (0, 0, 0)], dtype=torch.float64, device=device)
        self._cells = torch.tensor(whole, device=device)
        self._inverse = torch.tensor(inverse, device=device)
        self._pbc = torch.tensor(pbc, dtype=torch.float64, device=device).unsqueeze(1)
        self._allowed = torch.tensor(np.where(pbc, most, 0), device=device)
        self._reach = reach

    def suits(self, n_atoms: int) -> bool:
        """Return whether all cells can be searched at once, with so many atoms in each."""
        return len(self._cells) * len(self._shifts) * n_atoms**2 <= MOST

    def anchors(self, positions: Tensor, which: Tensor) -> Tensor:
        """Return what is taken off positions to have atoms around the first of their cell, ``[K, N, 3]`` Å.

        Args:
            positions: of some cells, ``[K, N, 3]`` Å.
            which: the cells, ``[K]``.
        """
        first = positions[:, :1]
        fractional = (positions - first) @ self._inverse[which]
        periods = torch.floor(fractional + BEFORE) * self._pbc[which]
        return first + periods @ self._cells[which]

    def pairs(self, anchored: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the pairs within reach, each once: cell, atoms i and j, translation, squared length.

        Args:
            anchored: positions less :meth:`anchors`, ``[K, N, 3]`` Å.
            which: the cells, ``[K]``.

        Returns:
            Which of the ``K`` cells, ascending, ``[P]``; atoms, ``[2, P]``; the lattice translation of atom j as whole
            numbers, ``[P, 3]`` float64; Å², ``[P]``.
        """
        n_cells, n_atoms, _ = anchored.shape
        squares = anchored.new_empty((n_cells, len(self._shifts), n_atoms, n_atoms))
        for k, shift in enumerate(self._shifts):
            moved = anchored + (shift @ self._cells[which]).unsqueeze(1)
            squares[:, k] = sum((moved[:, None, :, axis] - anchored[:, :, None, axis]).square() for axis in range(3))
        half = torch.ones((n_atoms, n_atoms), dtype=torch.bool, device=anchored.device).triu(1)
        squares[:, 0].masked_fill_(~half, torch.inf)  # the first shift is none: there each pair would stand twice
        outside = (self._shifts.abs() > self._allowed[which].unsqueeze(1)).any(-1)
        squares.masked_fill_(outside[:, :, None, None], torch.inf)
        found = (squares < self._reach**2).nonzero()
        cell, image, i, j = found.unbind(1)
        return cell, torch.stack([i, j]), self._shifts[image], squares[cell, image, i, j]
