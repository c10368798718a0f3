"""Batches: every structure once a pass, batches that cost alike, the same ones whenever a run is resumed."""

from __future__ import annotations

import numpy as np
import pytest

from distill.training.gradient.loaders import FixedBatches, ShuffledBatches, cut


def test_every_structure_once_a_pass() -> None:
    batches = ShuffledBatches(np.full(23, 5), batch_size=4, seed=3)
    assert len(batches) == 6
    found = np.concatenate(list(batches))
    assert sorted(found) == list(range(23))


@pytest.mark.parametrize("parts", [1, 2, 7, 30, 40])
def test_no_part_is_empty_and_none_is_lost(parts: int) -> None:
    costs = np.random.default_rng(0).pareto(1.0, 30) + 0.1  # a few of them dwarf the others
    pieces = cut(np.arange(30), costs, parts)
    assert len(pieces) == min(parts, 30)
    assert min(map(len, pieces)) >= 1
    assert np.concatenate(pieces).tolist() == list(range(30))


def test_batches_of_a_pass_cost_alike() -> None:
    """Pairs of atoms among liquids: by structures alone, a batch of pairs would cost next to nothing."""
    costs = np.where(np.random.default_rng(1).random(400) < 0.5, 3.0, 3000.0)
    spent = np.array([costs[batch].sum() for batch in ShuffledBatches(costs, batch_size=20, seed=0)])
    # a cut can be off by one structure at each end
    assert np.ptp(spent) <= 2 * 3000
    by_number = [costs[part].sum() for part in np.split(np.random.default_rng(2).permutation(400), 20)]
    assert np.ptp(spent) < 0.5 * np.ptp(by_number)


def test_a_resumed_run_sees_the_same_batches() -> None:
    costs = np.random.default_rng(4).random(11)
    whole = ShuffledBatches(costs, 3, seed=1, per_interval=17)
    later = ShuffledBatches(costs, 3, seed=1, per_interval=7, first_step=lambda: 10)
    for one, other in zip(list(whole)[10:], later, strict=True):
        assert one.tolist() == other.tolist()


def test_fixed_batches_keep_the_order_and_the_limit() -> None:
    costs = np.array([4.0, 4, 4, 20, 1, 1])
    assert [batch.tolist() for batch in FixedBatches(costs, 9)] == [[0, 1], [2], [3], [4, 5]]
