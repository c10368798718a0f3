"""Dimers of every pair, over the range asked for."""

import numpy as np
import pytest
from ase.data import covalent_radii

from distill.base.errors import UserError
from distill.sampling.dimers import dimers


def test_every_pair_has_its_range():
    frames = dimers([8, 1, 8], per_pair=7, longest=5.0)
    assert len(frames) == 3 * 7
    pairs = frames.numbers.reshape(3, 7, 2)
    distance = frames.positions.reshape(3, 7, 2, 3)
    distance = np.linalg.norm(distance[:, :, 1] - distance[:, :, 0], axis=-1)
    for pair, r, (a, b) in zip(pairs, distance, [(1, 1), (1, 8), (8, 8)], strict=True):
        assert {tuple(p) for p in pair} == {(a, b)}
        assert r[0] == pytest.approx(0.8 * (covalent_radii[a] + covalent_radii[b]))
        assert r[-1] == pytest.approx(5.0)
        assert np.all(np.diff(r) > 0)
        assert r[1:] / r[:-1] == pytest.approx(np.full(6, r[1] / r[0]))


def test_dimers_are_isolated_and_named():
    frames = dimers([14], per_pair=3)
    assert not frames.pbc.any()
    assert not frames.cells.any()
    assert frames.labels("config_type") == ["dimer"] * 3


def test_an_empty_range_is_refused():
    with pytest.raises(UserError, match=r"Si-Si: the shortest distance 1\.78"):
        dimers([14], longest=1.5)
    with pytest.raises(UserError, match="at least 2"):
        dimers([14], per_pair=1)


def test_no_elements_give_no_dimers():
    assert len(dimers([])) == 0
