"""Reference energies against shifts that are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from distill.structures.frames import Frames
from distill.training.reference_energies import element_shift

TRUTH = {"H": -1.25, "O": 3.5}


def molecules(*formulas: str) -> Frames:
    return Frames.from_atoms([Atoms(f, positions=np.zeros((len(Atoms(f)), 3))) for f in formulas])


def difference(frames: Frames) -> np.ndarray:
    per_atom = np.where(frames.numbers == 1, TRUTH["H"], TRUTH["O"])
    return np.bincount(frames.structure_of_atom, per_atom)


def test_recovers_the_shift_of_each_element() -> None:
    frames = molecules("H2O", "H2O2", "O2")
    shift = element_shift(frames, difference(frames))
    assert shift.shift == pytest.approx(TRUTH, abs=1e-9)  # an exact linear system
    assert shift.determined
    assert np.abs(shift.residual).max() < 1e-9


def test_one_composition_leaves_the_single_shifts_open() -> None:
    frames = molecules("H2O", "H4O2")
    shift = element_shift(frames, difference(frames))
    assert not shift.determined
    # the total is right, and the solution is the shortest one: proportional to the composition
    assert 2 * shift.shift["H"] + shift.shift["O"] == pytest.approx(2 * TRUTH["H"] + TRUTH["O"])
    assert shift.shift["H"] == pytest.approx(2 * shift.shift["O"])
