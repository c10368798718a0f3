"""Batches for training, in an order that depends only on the seed and the step.

A run that is resumed at step *k* sees exactly the batches that the uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Dataset

from distill.base.random import stream
from distill.potentials.graph import Batch, Graph


class ShuffledBatches:
    """An iterable over the training batches that follow a given step, one round of them each time.

    Args:
        graphs: prepared structures.
        collate: makes a batch of several graphs.
        batch_size: structures per batch; the last batch of a pass over the data may be smaller.
        seed: shuffling seed.
        per_round: batches per iteration of this object; None: one pass over the data.
        first_step: returns the optimiser step at which an iteration begins.
        others: prepared structures of which every pass takes some, the next ones each time.
        share: the share of a pass that ``others`` make up, below 1.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        collate: Callable[[list[Graph]], Batch],
        batch_size: int,
        seed: int,
        per_round: int | None = None,
        first_step: Callable[[], int] = lambda: 0,
        others: Sequence[Graph] = (),
        share: float = 0.0,
    ) -> None:
        self.graphs = [*graphs, *others]
        self.collate = collate
        self.own = len(graphs)
        self.extra = round(len(graphs) * share / (1 - share)) if others else 0
        self.batch_size = min(batch_size, self.own + self.extra)
        self.seed = seed
        self.per_round = per_round or self.batches_per_pass
        self.first_step = first_step

    @property
    def batches_per_pass(self) -> int:
        """Number of batches in one pass over the data."""
        return -(-(self.own + self.extra) // self.batch_size)

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
        others = len(self.graphs) - self.own
        turn = [self.own + (lap * self.extra + k) % others for k in range(self.extra)]
        members = [*range(self.own), *turn]
        return [members[i] for i in stream(self.seed, "shuffle", lap).permutation(len(members))]


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
