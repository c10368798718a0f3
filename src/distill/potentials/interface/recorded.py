"""Energies and forces of a batch whose pairs are filled up to a constant number, recorded as a CUDA graph and replayed.

A step of a small system takes a GPU less time than the processor needs to start its kernels; replayed, they start at
once. What fills up are pairs of an atom with its own image beyond the cutoff, which the network does not see. On a
processor nothing is recorded, the rest is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from distill.base.errors import WorkError
from distill.potentials.interface.batch import Batch, Prediction
from distill.potentials.interface.potential import Potential

SPARE = 1.05
"""Room for pairs, as a multiple of those that there are when the graph is recorded."""

WARM_UP = 3
"""Passes before a graph is recorded: kernels are chosen, compiled code is made."""

ALIKE = 1e-3
"""Largest difference from what was not recorded, relative to the largest value: rounding gives 1e-5."""


class Recorded:
    """A potential whose passes are replayed; it takes no notice of pairs beyond its cutoff.

    Args:
        potential: in evaluation mode; it reads nothing but the fields of a batch.
        stress: whether passes give the stress too.

    Attributes:
        recordings: how many graphs were recorded so far.
    """

    def __init__(self, potential: Potential, stress: bool) -> None:
        self.potential, self.stress = potential, stress
        self.recordings = 0
        self._pairs: Tensor | None = None
        self._static: Batch
        self._replay: Callable[[], None]
        self._found: Prediction

    def __call__(self, batch: Batch) -> Prediction:
        """Return energies ``[B]``, forces ``[N, 3]`` and, if wanted, stresses ``[B, 3, 3]``, as new tensors.

        Args:
            batch: the same structures at every call, periodic in one direction at least; other positions, and from time
                to time other pairs.
        """
        if self._pairs is not batch.edges:
            self._take_pairs(batch)
        self._static.positions.copy_(batch.positions)
        self._replay()
        return Prediction(*(None if one is None else one.clone() for one in self._found))  # type: ignore[arg-type]

    def _take_pairs(self, batch: Batch) -> None:
        """Copy new pairs to where the graph reads them; record it anew where they are too many."""
        self._pairs, count = batch.edges, batch.edges.shape[1]
        if not self.recordings or count > self._static.edges.shape[1]:
            self._static = filled(batch, int(SPARE * count) + 8, self.potential.cutoff)
            self._record(batch)
            return
        rest = filled(batch, self._static.edges.shape[1], self.potential.cutoff)
        self._static.edges.copy_(rest.edges)
        self._static.shifts.copy_(rest.shifts)

    def _record(self, batch: Batch) -> None:
        """Record a pass on a GPU, and compare what it gives with a pass that is not recorded.

        Raises:
            WorkError: they differ.
        """
        self.recordings += 1

        def compute() -> None:
            self._found = self.potential(self._static, self.stress)

        self._replay = compute
        if not self._static.positions.is_cuda:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            compute()
        self._replay = graph.replay
        graph.replay()
        self._compare(self.potential(batch, self.stress))

    def _compare(self, expected: Prediction) -> None:
        """Raise :class:`WorkError` where forces or stress are not those of a pass that was not recorded."""
        for found, one in zip(self._found[1:], expected[1:], strict=True):
            if found is not None and one is not None and bool((found - one).abs().max() > ALIKE * one.abs().max()):
                what = "a recorded pass does not give what the network does"
                raise WorkError(what, f"potential {self.potential.architecture}", "Run on the processor, and tell us")


def filled(batch: Batch, capacity: int, cutoff: float) -> Batch:
    """Return the batch with ``capacity`` pairs: those that fill up are of atom 0 and its image beyond the cutoff.

    Args:
        batch: its first structure is periodic in one direction at least.
        capacity: at least as many as it has.
        cutoff: Å.
    """
    lengths = batch.cells[0].norm(dim=1)
    along = int(lengths.argmax())
    missing = capacity - batch.edges.shape[1]
    shift = batch.shifts.new_zeros((missing, 3))
    shift[:, along] = torch.ceil((cutoff + 1) / lengths[along])
    edges = torch.cat([batch.edges, batch.edges.new_zeros((2, missing))], dim=1)
    return replace(batch, positions=batch.positions.clone(), edges=edges, shifts=torch.cat([batch.shifts, shift]))
