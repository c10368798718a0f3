"""S(q): crystals whose reflections are known, and an ideal gas."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from distill.analysis.structure_factor import structure_factor
from distill.base.errors import UserError
from distill.structures.frames import Frames


def test_a_face_centred_cubic_crystal_has_its_reflections_alone():
    """All even or all odd: 111, 200, 220 ...; there S = N, and 0 elsewhere."""
    a, repeats = 3.6, 3
    crystal = bulk("Cu", a=a, cubic=True).repeat(repeats)
    found = structure_factor(Frames.from_atoms([crystal]), largest=6.0, width=1e-4, vectors=1000)
    squares = np.rint((found.wavenumber * a * repeats / 2 / np.pi) ** 2).astype(int)
    allowed = [9 * square for square in (3, 4, 8, 11)]
    assert found.values[np.isin(squares, allowed)] * found.vectors[np.isin(squares, allowed)] == pytest.approx(
        np.array([4, 3, 6, 12]) * len(crystal), rel=1e-9
    )  # half of the multiplicities 8, 6, 12, 24
    assert found.values[~np.isin(squares, allowed)] == pytest.approx(0, abs=1e-9)


def test_salt_is_in_and_out_of_phase():
    """Even reflections add both elements, odd ones take them apart."""
    found = structure_factor(Frames.from_atoms([bulk("NaCl", "rocksalt", a=5.64)]), "Na", "Cl", largest=3.2, width=0.01)
    squares = np.rint((found.wavenumber * 5.64 / 2 / np.pi) ** 2).astype(int)
    assert dict(zip(squares.tolist(), found.values.tolist(), strict=True)) == pytest.approx({3: -1, 4: 1, 8: 1})


def test_independent_atoms_have_no_structure():
    """300 frames in a triclinic cell: S is exponentially distributed, so its error is 1 / sqrt(vectors · frames)."""
    rng, cell = np.random.default_rng(0), [[6.0, 0, 0], [1.0, 7.0, 0], [0.5, -1.0, 8.0]]
    frames = Frames.from_atoms(
        Atoms("O20H30", scaled_positions=rng.random((50, 3)), cell=cell, pbc=True) for _ in range(300)
    )
    for pair, known in (((None, None), 1.0), (("O", None), 1.0), (("O", "H"), 0.0)):
        found = structure_factor(frames, *pair, largest=4, width=0.5, vectors=20)
        assert (found.vectors <= 20).all()
        assert (np.abs(found.values - known) < 5 / np.sqrt(300 * found.vectors)).all()


def test_what_has_no_structure_factor_is_refused():
    with pytest.raises(UserError, match="same atoms"):
        structure_factor(Frames.from_atoms([bulk("Cu"), bulk("Si")]))
    with pytest.raises(UserError, match="no wave vector"):
        structure_factor(Frames.from_atoms([bulk("Cu")]), largest=0.1)
    with pytest.raises(UserError, match="periodic"):
        structure_factor(Frames.from_atoms([Atoms("H")]))
