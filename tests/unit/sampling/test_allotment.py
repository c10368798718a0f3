"""How many structures each tree is to have: equally many to learn from, from one seed or from many."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toys import RULES, Toy, crystal

from distill.base.arrays import Array
from distill.sampling.grow import allotment, grow
from distill.structures.frames import concatenate

TREES = st.lists(st.booleans(), min_size=1, max_size=40).map(np.array)
FRACTIONS = st.floats(0.01, 0.99)


@given(st.integers(1, 2000), TREES, FRACTIONS)
def test_each_side_has_its_share_and_spreads_it_evenly(structures: int, valid: Array, fraction: float) -> None:
    wanted = allotment(structures, valid, fraction)
    assert wanted.sum() == structures and (wanted >= 0).all()
    for side in (valid, ~valid):
        if side.any():
            assert np.ptp(wanted[side]) <= 1 and (np.diff(wanted[side]) <= 0).all()
    if valid.any() and not valid.all():
        assert abs(wanted[valid].sum() - fraction * structures) <= 0.5 + 1e-9


@given(st.integers(1, 2000), TREES, FRACTIONS)
def test_more_structures_never_mean_fewer_in_a_tree(structures: int, valid: Array, fraction: float) -> None:
    assert (allotment(structures + 1, valid, fraction) >= allotment(structures, valid, fraction)).all()


@given(st.integers(1, 30), st.integers(1, 10))
def test_equally_many_to_learn_from_however_many_seeds(n_train: int, n_valid: int) -> None:
    valid = np.arange(n_train + n_valid) >= n_train
    assert allotment(60, valid, 1 / 6)[~valid].sum() == 50


def test_five_of_thirty_trees_have_a_sixth() -> None:
    valid = np.arange(30) >= 25
    assert (allotment(300, valid, 1 / 6) == 10).all()


def test_seeds_for_validation_say_so_themselves(tmp_path) -> None:  # type: ignore[no-untyped-def]
    seeds = concatenate([crystal()] * 3).with_info(split=["train", "valid", "valid"])
    result = grow(Toy(), seeds, RULES, seed=0, journal=tmp_path / "journal")
    assert result.per_tree == (13, 2, 1)  # a sixth of 16 is 3
    assert [one["split"] for one in result.structures.info] == ["train"] * 13 + ["valid"] * 3
