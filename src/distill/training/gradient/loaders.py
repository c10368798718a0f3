"""Which structures make a batch, in an order that depends only on the seed and the step.

A run that is resumed at step *k* sees exactly the batches that the uninterrupted run would have seen. Batches of a pass
are cut so that each costs about the same, by atoms and pairs instead of by structures: where sizes differ, a batch has
fewer of the large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from distill.base.arrays import Array
from distill.base.random import stream


class ShuffledBatches:
    """An iterable over the training batches that follow a given step, those up to the next validation each time.

    A batch is the indices of its structures.

    Args:
        costs: what each structure costs, ``[S]``.
        batch_size: structures per batch on average.
        seed: shuffling seed.
        per_interval: batches per iteration of this object; None: one pass over the data.
        first_step: returns the optimiser step at which an iteration begins.
        others: how many of the structures, the last ones, are others, of which every pass takes some, the next ones
            each time.
        share: the share of a pass that the others make up, below 1.
    """

    def __init__(
        self,
        costs: Array,
        batch_size: int,
        seed: int,
        per_interval: int | None = None,
        first_step: Callable[[], int] = lambda: 0,
        others: int = 0,
        share: float = 0.0,
    ) -> None:
        self.costs = costs
        self.others = others
        self.own = len(costs) - others
        self.extra = round(self.own * share / (1 - share)) if others else 0
        self.batches_per_pass = -(-(self.own + self.extra) // batch_size)
        self.seed = seed
        self.per_interval = per_interval or self.batches_per_pass
        self.first_step = first_step

    def __len__(self) -> int:
        return self.per_interval

    def __iter__(self) -> Iterator[Array]:
        start = self.first_step()
        batches = self.batches(start // self.batches_per_pass)
        for step in range(start, start + self.per_interval):
            epoch, position = divmod(step, self.batches_per_pass)
            if position == 0:
                batches = self.batches(epoch)
            yield batches[position]

    def batches(self, epoch: int) -> list[Array]:
        """Return the batches of one pass over the data."""
        order = self.order(epoch)
        return cut(order, self.costs[order], self.batches_per_pass)

    def order(self, epoch: int) -> Array:
        """Return the order of the structures in one pass over the data."""
        turn = self.own + (epoch * self.extra + np.arange(self.extra)) % max(self.others, 1)
        members = np.concatenate([np.arange(self.own), turn])
        return np.asarray(members[stream(self.seed, "shuffle", epoch).permutation(len(members))])


def cut(order: Array, costs: Array, parts: int) -> list[Array]:
    """Cut a list into ``parts`` pieces, each with at least one member, that cost about the same.

    Args:
        order: the members.
        costs: what each costs.
        parts: how many pieces; more than members give one piece a member.
    """
    parts = min(parts, len(order))
    total = np.cumsum(costs)
    ideal = np.searchsorted(total - costs / 2, total[-1] * np.arange(1, parts) / parts)
    places = np.arange(1, parts)
    bounds = np.maximum.accumulate(np.maximum(ideal, places) - places) + places
    bounds = np.minimum(bounds, len(order) - parts + places)
    return np.split(order, bounds)


class FixedBatches:
    """All structures in their order, every time, in batches that cost at most so much, or are one structure.

    Args:
        costs: what each structure costs, ``[S]``.
        most: what a batch may cost.
    """

    def __init__(self, costs: Array, most: float) -> None:
        found: list[list[int]] = []
        spent = 0.0
        for index, cost in enumerate(costs):
            if not found or spent + cost > most:
                found.append([])
                spent = 0.0
            found[-1].append(index)
            spent += cost
        self.batches = [np.array(batch) for batch in found]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Array]:
        return iter(self.batches)
