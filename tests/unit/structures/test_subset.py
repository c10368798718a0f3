"""Subsets are nested, seeded and even; fingerprints do not depend on how a structure is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from distill.base.errors import UserError
from distill.structures.checks.finding import FileFrames
from distill.structures.divide import keep_subset
from distill.structures.fingerprint import fingerprints
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames
from distill.structures.subset import Method, draw_subset, stratified_order

SILICON = Path(__file__).parents[3] / "data" / "silicon"
METHODS: tuple[Method, ...] = ("stratified", "farthest")


@pytest.fixture(scope="module")
def silicon() -> Frames:
    return read_frames(SILICON / "test.xyz")[0]


@pytest.mark.parametrize("method", METHODS)
def test_nested_and_seeded(method: Method, silicon: Frames) -> None:
    drawn = {n: set(draw_subset(silicon, n, method, seed=3).tolist()) for n in (1, 5, 25, 60)}
    assert [len(d) for d in drawn.values()] == [1, 5, 25, 60]
    assert drawn[1] < drawn[5] < drawn[25] < drawn[60]
    assert set(draw_subset(silicon, 5, method, seed=3).tolist()) == drawn[5]
    assert any(set(draw_subset(silicon, 5, method, seed=s).tolist()) != drawn[5] for s in (4, 5, 6))


def test_more_than_there_are(silicon: Frames) -> None:
    with pytest.raises(UserError, match=r"x\.xyz: 61 training structures are asked for, and there are 60"):
        draw_subset(silicon, 61, "stratified", 0, "x.xyz")


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 5))
def test_shares_are_even_at_every_n(counts: list[int], seed: int) -> None:
    """Tijdeman's bound: no stratum is ever further than 1 - 1/(2k - 2) from its share, for k > 1 strata."""
    strata = [str(kind) for kind, count in enumerate(counts) for _ in range(count)]
    order = stratified_order(strata, seed)
    assert sorted(order.tolist()) == list(range(len(strata)))
    k = len(counts)
    bound = 1 - 1 / (2 * k - 2) if k > 1 else 0
    for n in range(1, len(strata) + 1):
        drawn = Counter(strata[i] for i in order[:n])
        for kind, count in enumerate(counts):
            assert abs(drawn[str(kind)] - n * count / len(strata)) <= bound + 1e-6


def test_three_shots_are_one_of_each_family(silicon: Frames) -> None:
    """21 strained, 20 thermal, 19 liquid."""
    for seed in range(5):
        chosen = silicon[draw_subset(silicon, 3, "stratified", seed)]
        assert sorted(chosen.labels("config_type")) == ["liquid", "strained", "thermal"]


def test_farthest_avoids_what_is_there_already(silicon: Frames, thermal: Callable[..., Frames]) -> None:
    """One liquid among many crystals is the first or second that is taken, whatever the seed."""
    liquid = silicon[[i for i, f in enumerate(silicon.labels("config_type")) if f == "liquid"][:1]]
    frames = concatenate([thermal(30, spread=0.05), liquid.with_labels(None, None, None)])
    for seed in range(5):
        assert 30 in draw_subset(frames, 2, "farthest", seed)


def test_what_is_kept_is_said(silicon: Frames) -> None:
    water = Frames.from_atoms([molecule("H2O")])
    train = concatenate([silicon[:9].with_labels(None, None, None), water])
    files = {"train": FileFrames(train, "train.xyz", np.arange(10) + 5), "test": FileFrames(train, "test.xyz")}
    kept, sentences = keep_subset(files, 2, "stratified", 0)
    assert len(sentences) == 1
    assert len(kept["train"].frames) == 2 and kept["test"] is files["test"]
    assert sentences[0].startswith("2 of 10 training structures are used (stratified): frames ")
    assert min(kept["train"].place([0, 1])) >= 5
    assert 14 in kept["train"].place([0, 1]), "the only one with H and O"
    with pytest.raises(
        UserError, match=r"train\.xyz: 1 training structure cannot have all elements: Si would not"
    ) as e:
        keep_subset(files, 1, "stratified", 0)
    assert "Raise data.n_train to 2" in str(e.value), "as was just done"


@pytest.mark.parametrize("method", METHODS)
def test_every_element_stays_and_sets_are_nested(method: Method) -> None:
    """Metals and one oxide of each: the oxides come first, in an order that the seed decides."""
    crystals = [bulk("Mg"), bulk("Al")] * 10 + [bulk("MgO", "rocksalt", a=4.2), bulk("AlN", "zincblende", a=4.4)]
    frames = Frames.from_atoms(crystals)
    for seed in range(5):
        drawn = {n: draw_subset(frames, n, method, seed) for n in (2, 5, 9)}
        assert all(frames[one].elements == frames.elements for one in drawn.values())
        assert set(drawn[2]) < set(drawn[5]) < set(drawn[9])
    with pytest.raises(UserError, match=r"Raise data\.n_train to 2"):
        draw_subset(frames, 1, method, 0)


def test_fingerprints_know_the_structure_alone() -> None:
    rng = np.random.default_rng(0)
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    crystal.positions += rng.normal(0, 0.1, crystal.positions.shape)
    rotated = crystal.copy()
    turn = Rotation.random(random_state=0).as_matrix()
    rotated.set_cell(crystal.cell.array @ turn.T)
    rotated.positions = crystal.positions @ turn.T
    moved = crystal.copy()
    moved.positions += [3.0, -8.0, 1.5]
    moved.wrap()
    reordered = crystal[rng.permutation(len(crystal))]
    other = crystal.copy()
    other.positions[0] += 0.3
    exchanged = crystal.copy()
    exchanged.numbers[[0, 1]] = exchanged.numbers[[1, 0]]
    disguises = [crystal, rotated, moved, reordered, crystal.repeat((2, 1, 3)), other, exchanged]
    prints = fingerprints(Frames.from_atoms(disguises))
    distances = np.linalg.norm(prints - prints[0], axis=1)
    assert distances[:5].max() < 1e-9  # rounding of coordinates
    assert distances[5:].min() > 1e-3


def test_fingerprints_are_smooth(thermal: Callable[..., Frames]) -> None:
    """Halving a small displacement halves the change of the fingerprint, to first order."""
    frames = thermal(1)
    step = np.random.default_rng(1).normal(0, 1e-4, frames.positions.shape)
    changes = []
    for factor in (1.0, 0.5):
        moved = Frames(frames.n_atoms, frames.numbers, frames.positions + factor * step, frames.cells, frames.pbc)
        changes.append(np.linalg.norm(fingerprints(moved) - fingerprints(frames)))
    assert changes[0] / changes[1] == pytest.approx(2, rel=1e-2)  # second order: 1e-4 of 0.3 Å
