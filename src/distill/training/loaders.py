"""Batches for training, in an order that depends only on the seed and the step.

A run that is resumed at step *k* sees exactly the batches that the uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Dataset

from distill.base.random import stream
from distill.potentials.graph import Batch, Graph


class ShuffledBatches:
    """An iterable over the ``per_round`` training batches that follow a given step.

    Args:
        graphs: prepared structures.
        collate: makes a batch of several graphs.
        batch_size: structures per batch; the last batch of a pass over the data may be smaller.
        per_round: batches per iteration of this object.
        first_step: returns the optimiser step at which an iteration begins.
        seed: shuffling seed.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        collate: Callable[[list[Graph]], Batch],
        batch_size: int,
        per_round: int,
        first_step: Callable[[], int],
        seed: int,
    ) -> None:
        self.graphs = graphs
        self.collate = collate
        self.batch_size = min(batch_size, len(graphs))
        self.per_round = per_round
        self.first_step = first_step
        self.seed = seed

    @property
    def batches_per_pass(self) -> int:
        """Number of batches in one pass over the data."""
        return -(-len(self.graphs) // self.batch_size)

    def __len__(self) -> int:
        return self.per_round

    def __iter__(self) -> Iterator[Batch]:
        start = self.first_step()
        order = self.order(start // self.batches_per_pass)
        for step in range(start, start + self.per_round):
            lap, position = divmod(step, self.batches_per_pass)
            if position == 0:
                order = self.order(lap)
            chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield self.collate([self.graphs[i] for i in chosen])

    def order(self, lap: int) -> list[int]:
        """Return the order of the structures in one pass over the data."""
        return [int(i) for i in stream(self.seed, "shuffle", lap).permutation(len(self.graphs))]


class FixedBatches(Dataset[Batch]):
    """The same batches every time, each of at most ``max_atoms`` atoms (one structure at least): for validation."""

    def __init__(self, graphs: Sequence[Graph], collate: Callable[[list[Graph]], Batch], max_atoms: int = 512) -> None:
        self.batches: list[Batch] = []
        waiting: list[Graph] = []
        for graph in graphs:
            if waiting and sum(len(g.numbers) for g in [*waiting, graph]) > max_atoms:
                self.batches.append(collate(waiting))
                waiting = []
            waiting.append(graph)
        self.batches += [collate(waiting)] if waiting else []

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]
