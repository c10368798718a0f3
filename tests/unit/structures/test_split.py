"""Nothing is lost, nothing is in two sets, and no family or near-duplicate is on two sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.base.errors import UserError
from distill.structures.duplicates import close_pairs
from distill.structures.frames import Frames, concatenate
from distill.structures.split import _draw, split_by_group

Make = Callable[..., Frames]


def drawn_of(groups: list[int], families: list[str], fraction: float, seed: int) -> list[int]:
    """Return the indices of the structures that are drawn; a group is of the family of its first structure."""
    _, first, own = np.unique(groups, return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    return np.flatnonzero(_draw(own.ravel(), [families[i] for i in first], fraction * len(groups), rng)).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=2, max_size=60).filter(
        lambda members: len({group for group, _ in members}) > 1
    ),
    st.floats(0.02, 0.9),
    st.integers(0, 99),
)
def test_groups_stay_whole(members: list[tuple[int, str]], fraction: float, seed: int) -> None:
    groups, families = [group for group, _ in members], [family for _, family in members]
    drawn = drawn_of(groups, families, fraction, seed)
    left = sorted(set(range(len(groups))) - set(drawn))
    assert drawn and left
    assert not {groups[i] for i in left} & {groups[i] for i in drawn}
    # greedy by whole groups: off by at most the largest of them
    assert abs(len(drawn) - fraction * len(groups)) <= max(Counter(groups).values())
    assert drawn_of(groups, families, fraction, seed) == drawn


def test_groups_of_each_family_give_their_share() -> None:
    families = ["abc"[i // 100] for i in range(300)]
    drawn = drawn_of([i // 10 for i in range(300)], families, 0.2, 0)
    assert Counter(families[i] for i in drawn) == {"a": 20, "b": 20, "c": 20}


def test_seeds_differ_and_a_rare_family_stays_in_training() -> None:
    drawn = [drawn_of(list(range(41)), ["common"] * 40 + ["rare"], 0.2, seed) for seed in range(8)]
    assert len({tuple(one) for one in drawn}) == 8
    assert not any(40 in one for one in drawn)


def test_fractions_are_refused_where_they_mean_nothing(thermal: Make) -> None:
    for fraction in (0.0, 1.0, -0.2, float("nan")):
        with pytest.raises(UserError, match="cannot be held out"):
            split_by_group(thermal(4), {"validation": fraction}, 0)


def test_groups(thermal: Make) -> None:
    """Families in proportion, nothing lost, deterministic, and said."""
    frames = concatenate([thermal(40, config_type="hot"), thermal(20, seed=1, config_type="cold")])
    shares = {"test": 0.2, "validation": 0.1}
    left, parts, sentences = split_by_group(frames, shares, 3)
    assert sorted([*left, *parts["test"], *parts["validation"]]) == list(range(60))
    families = frames.labels("config_type")
    assert Counter(families[i] for i in parts["test"]) == {"hot": 8, "cold": 4}
    assert len(parts["validation"]) == 6
    assert sentences[0].startswith("no test file is named: 12 of 60 structures")
    assert sentences[0].endswith(f"frames {', '.join(map(str, parts['test']))}")
    again = split_by_group(frames, shares, 3)
    assert [again[0].tolist(), again[1]["test"].tolist()] == [left.tolist(), parts["test"].tolist()]
    assert split_by_group(frames, shares, 4)[1]["test"].tolist() != parts["test"].tolist()


def test_neighbours_of_a_trajectory_are_drawn_in_blocks(thermal: Make) -> None:
    """A run of 40 is cut into ten blocks of four, of which whole ones are drawn."""
    _, parts, _ = split_by_group(thermal(40), {"test": 0.2}, 0)
    test = parts["test"]
    assert len(test) == 8
    assert all(set(range(i // 4 * 4, i // 4 * 4 + 4)) <= set(test.tolist()) for i in test)


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_stay_on_one_side(thermal: Make, seed: int) -> None:
    """Each structure comes again, shaken by 0.01 Å, at a random place in the file."""
    rng = np.random.default_rng(seed)
    frames = thermal(30, seed=seed)
    shaken = replace(frames, positions=frames.positions + rng.normal(0, 0.01, frames.positions.shape))
    mixed = concatenate([frames, shaken[rng.permutation(30)[:10]]])
    left, parts, _ = split_by_group(mixed, {"test": 0.2, "validation": 0.2}, seed)
    side = np.zeros(40)
    for number, part in enumerate(parts.values(), start=1):
        side[part] = number
    pairs, _ = close_pairs(mixed)
    assert len(pairs) == 10 and len(left)
    assert (side[pairs[:, 0]] == side[pairs[:, 1]]).all()


def test_few_structures(thermal: Make) -> None:
    """As many groups as sets are enough; fewer, or only near-duplicates, are not."""
    left, parts, _ = split_by_group(thermal(6), {"test": 0.1, "validation": 0.1}, 0)
    assert [len(left), len(parts["test"]), len(parts["validation"])] == [2, 2, 2]
    with pytest.raises(UserError, match="2 groups of neighbours"):
        split_by_group(thermal(4), {"test": 0.2, "validation": 0.2}, 0)
    with pytest.raises(UserError, match="no validation set can be drawn: the 9 structures form 1 group of"):
        split_by_group(concatenate([thermal(1)] * 9), {"validation": 0.2}, 0)
    with pytest.raises(UserError, match="cannot be held out"):
        split_by_group(thermal(20), {"test": 0.5, "validation": 0.5}, 0)


def test_the_last_structures_with_an_element_are_not_drawn(thermal: Make) -> None:
    frames = thermal(12, config_type="a")
    numbers = np.array(frames.numbers)
    numbers[16 * 6] = 32  # germanium in one structure
    mixed = replace(frames, numbers=numbers)
    for seed in range(12):
        left, _, _ = split_by_group(mixed, {"test": 0.3, "validation": 0.3}, seed)
        assert 6 in left
    with pytest.raises(UserError, match="each of them is the only one with some element"):
        _draw(np.arange(3), ["a"] * 3, 1, np.random.default_rng(0), elements=np.eye(3, dtype=bool))
