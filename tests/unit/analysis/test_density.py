"""Densities of crystals as tables have them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from distill.analysis.density import density
from distill.base.errors import UserError
from distill.structures.frames import Frames


def test_densities_of_crystals():
    """Silicon 2.329 g/cm³ (CODATA's lattice constant), copper 8.93; heavy atoms count when they are given."""
    silicon, copper = bulk("Si", a=5.431020, cubic=True), bulk("Cu", a=3.6149)
    frames = Frames.from_atoms([silicon, silicon * 2, copper])
    assert density(frames) == pytest.approx([2.3290, 2.3290, 8.935], abs=1e-3)
    assert density(frames[:1], np.full(8, 2 * silicon.get_masses()[0])) == pytest.approx([4.658], abs=2e-3)


def test_a_molecule_has_none():
    with pytest.raises(UserError, match="periodic in all directions"):
        density(Frames.from_atoms([molecule("H2O")]))
