"""Draws of grown structures: nested, seeded, even over trees or one tree after the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from distill.base.errors import UserError
from distill.structures.draw import draw_grown, drawing_order
from distill.structures.frames import Frames

TREES = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(lambda sizes: np.repeat(np.arange(len(sizes)), sizes))
SEEDS = st.integers(0, 5)


@given(TREES, SEEDS)
def test_every_tree_gives_equally_many_but_for_those_that_have_no_more(trees: np.ndarray, seed: int) -> None:
    order = drawing_order(trees, "stratified", seed)
    assert sorted(order) == list(range(len(trees)))
    sizes = np.bincount(trees)
    for n in range(len(trees) + 1):
        given_ = np.bincount(trees[order[:n]], minlength=len(sizes))
        assert (given_ >= np.minimum(sizes, given_.max() - 1)).all()


@given(TREES, SEEDS)
def test_whole_trees_come_one_after_the_other(trees: np.ndarray, seed: int) -> None:
    drawn = trees[drawing_order(trees, "trees", seed)]
    assert (np.diff(drawn) != 0).sum() == len(np.unique(trees)) - 1
    assert Counter(drawn.tolist()) == Counter(trees.tolist())


def pool(sizes: tuple[int, ...] = (7, 1, 12)) -> Frames:
    """Return a pool as labelling leaves it: grown structures of three trees, the seeds, and a dimer."""
    info = [{"tree": t, "generation": 1 + k // 2} for t, size in enumerate(sizes) for k in range(size)]
    info += [{"tree": t, "generation": 0} for t in range(len(sizes))] + [{"config_type": "dimer"}]
    structures = [bulk("Si") for _ in info]
    for atoms, one in zip(structures, info, strict=True):
        atoms.info = dict(one)
    return Frames.from_atoms(structures)


@pytest.mark.parametrize("how", ["stratified", "trees"])
def test_larger_draws_hold_smaller_ones_and_everything_that_did_not_grow(how: str) -> None:
    frames, others = pool(), {20, 21, 22, 23}
    drawn = {n: set(draw_grown(frames, n, how, seed=3).tolist()) for n in (20, 5, 12)}  # type: ignore[arg-type]
    assert [len(one) for one in drawn.values()] == [24, 9, 16]
    assert others < drawn[5] < drawn[12] < drawn[20] == set(range(24))
    assert set(draw_grown(frames, 5, how, seed=3).tolist()) == drawn[5]  # type: ignore[arg-type]
    seeds = [draw_grown(frames, 5, how, seed).tolist() for seed in range(4)]  # type: ignore[arg-type]
    assert len({tuple(one) for one in seeds}) > 1 and all(one == sorted(one) for one in seeds)


def test_a_draw_is_as_deep_as_the_pool() -> None:
    """The mean generation of a draw is that of the pool on average over seeds, and not that of young trees."""
    frames = pool((30, 30))
    whole = np.mean([i["generation"] for i in frames.info[:60]])
    drawn = [draw_grown(frames, 10, "stratified", seed) for seed in range(200)]
    means = [np.mean([frames.info[i]["generation"] for i in one if i < 60]) for one in drawn]
    assert np.mean(means) == pytest.approx(whole, abs=4 * np.std(means) / np.sqrt(200))  # four standard errors
    assert np.mean(means) > 6  # the five oldest of each tree have 2


def test_more_than_have_grown() -> None:
    with pytest.raises(UserError, match=r"21 grown structures .* and there are 20 to train on") as caught:
        draw_grown(pool(), 21, "trees", 0, "students.x.structures")
    assert str(caught.value).startswith("students.x.structures: ")
