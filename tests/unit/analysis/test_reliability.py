"""Spread against error: exact cases, and an independent code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from distill.analysis.families import family_shares
from distill.analysis.reliability import reliability, spearman
from distill.structures.frames import Frames
from distill.structures.spread import Spread


def frames(b: int, atoms: int) -> Frames:
    n = b * atoms
    return Frames(
        n_atoms=np.full(b, atoms),
        numbers=np.full(n, 14),
        positions=np.zeros((n, 3)),
        cells=np.zeros((b, 3, 3)),
        pbc=np.zeros((b, 3), dtype=bool),
        energy=np.zeros(b),
        forces=np.zeros((n, 3)),
    )


def test_ranks_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40).round(1)  # some are equal
    y = x + rng.normal(size=40).round(1)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1.0, abs=1e-15)
    assert spearman(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1.0, abs=1e-15)
    assert spearman(np.ones(5), np.arange(5.0)) is None


def test_a_perfect_spread_is_reliable_in_every_bin() -> None:
    """Errors that are twice the spread everywhere: ratio and bins are exact, the rank correlation is 1."""
    truth, size = frames(30, 2), np.repeat(np.linspace(0.1, 3.0, 30), 2)
    guess = truth.with_labels(2 * size[::2], 2 * size[:, None] * np.array([0.6, 0.0, 0.8]), None)
    found = reliability(truth, guess, Spread(size[::2] / 2, size))
    forces = found["forces"]
    assert forces.spearman == pytest.approx(1) and forces.low == pytest.approx(1) and forces.high == pytest.approx(1)
    assert forces.ratio == pytest.approx(2, rel=1e-12) and len(forces.bins) == 5 and {b.n for b in forces.bins} == {6}
    for part in forces.bins:
        assert part.error == pytest.approx(2 * part.spread, rel=1e-12)
        assert part.low is not None and part.high is not None and part.low < part.error < part.high
    assert found["energy_per_atom"].ratio == pytest.approx(2, rel=1e-12)  # 2 eV over two atoms, of a spread of half


def test_what_has_no_label_or_is_not_finite_is_left_out() -> None:
    truth, rng = frames(8, 1), np.random.default_rng(1)
    guess = truth.with_labels(rng.normal(size=8), rng.normal(size=(8, 3)), None)
    unlabelled = truth.forces.copy()
    unlabelled[2] = np.nan
    spread = Spread(np.r_[np.nan, rng.uniform(size=7)], rng.uniform(size=8))
    found = reliability(truth.with_labels(truth.energy, unlabelled, None), guess, spread)
    assert len(found["energy_per_atom"].spread) == 7 == len(found["forces"].spread)
    nothing = truth.with_labels(np.full(8, np.nan), truth.forces, None)
    assert "energy_per_atom" not in reliability(nothing, guess, spread)


def test_unrelated_spreads_have_an_interval_around_zero() -> None:
    truth, rng = frames(200, 1), np.random.default_rng(2)
    guess = truth.with_labels(rng.normal(size=200), rng.normal(size=(200, 3)), None)
    found = reliability(truth, guess, Spread(rng.uniform(size=200), rng.uniform(size=200)))["forces"]
    assert found.low is not None and found.high is not None
    assert found.low < 0 < found.high  # of one drawn set; a correlation of 200 unrelated pairs is within 0.07 of zero


def test_shares_of_families_by_hand() -> None:
    """Squared errors: 3 · 1² in a, and twice 3 · 2² in b, of nine components."""
    truth = np.zeros((3, 3))
    guess = np.array([[1.0, -1.0, 1.0], [2.0, 2.0, 2.0], [-2.0, 2.0, 2.0]])
    shares = family_shares(np.array([1, 2]), ["a", "b"], truth, guess)
    assert [one.family for one in shares] == ["b", "a"]
    assert [one.of_error for one in shares] == [24 / 27, 3 / 27]
    assert [one.of_components for one in shares] == [6 / 9, 3 / 9]
    assert [one.mae for one in shares] == [2.0, 1.0]
    truth[0, 0] = np.nan
    assert family_shares(np.array([1, 2]), ["a", "b"], truth, guess)[1].of_components == 2 / 8
    assert family_shares(np.array([1, 2]), ["a", "b"], truth, np.full((3, 3), np.nan)) == []
