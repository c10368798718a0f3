"""Reference energies against shifts that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from distill.potentials import POTENTIALS
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.training.reference_energies import element_shift, shift_reference

SILICON = Path(__file__).parents[3] / "data" / "silicon"
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
    assert shift.determined and shift.undetermined == () and shift.sums == ()
    assert np.abs(shift.residual).max() < 1e-9


def test_one_composition_leaves_the_single_shifts_open() -> None:
    frames = molecules("H2O", "H4O2")
    shift = element_shift(frames, difference(frames))
    assert not shift.determined
    assert shift.undetermined == ("H", "O") and shift.sums == ("2 H + O",)
    assert "Only 2 H + O is determined by the compositions: the single shifts of H, O are the smallest" in shift.text()
    # the total is right, and the solution is the shortest one: proportional to the composition
    assert 2 * shift.shift["H"] + shift.shift["O"] == pytest.approx(2 * TRUTH["H"] + TRUTH["O"])
    assert shift.shift["H"] == pytest.approx(2 * shift.shift["O"])


def test_what_is_determined_besides_what_is_not() -> None:
    """Silicon alone settles silicon; water leaves hydrogen and oxygen open."""
    frames = molecules("H2O", "Si2", "SiH2O")
    shift = element_shift(frames, np.array([1.0, 4.0, 3.0]))
    assert shift.undetermined == ("H", "O") and shift.shift["Si"] == pytest.approx(2.0)
    assert np.abs(shift.residual).max() < 1e-9


def test_an_expected_shift_settles_what_the_compositions_leave_open() -> None:
    frames = molecules("H2O", "H4O2")
    one = element_shift(frames, difference(frames), {"H": TRUTH["H"], "Si": 7.0})
    assert one.determined and one.from_atoms == ("H",)
    assert one.shift == pytest.approx(TRUTH, abs=1e-9)
    both = element_shift(frames, difference(frames), {"H": 0.3, "O": -0.1})
    assert both.determined and both.from_atoms == ("H", "O")
    # the structures are met, and the change from what was expected is the shortest: proportional to the composition
    assert np.abs(both.residual).max() < 1e-9
    assert both.shift["H"] - 0.3 == pytest.approx(2 * (both.shift["O"] + 0.1))
    assert "Isolated atoms of H, O settle what the compositions leave open" in both.text()


def test_what_the_compositions_determine_is_fitted_whatever_was_expected() -> None:
    """A model that was never fitted to free atoms must not spoil its start with them."""
    frames = molecules("H2O", "H2O2", "O2")
    shift = element_shift(frames, difference(frames), {"H": 100.0, "O": -50.0})
    assert shift.shift == pytest.approx(TRUTH, abs=1e-9)
    assert shift.from_atoms == ()


def test_levels_that_are_mixed_stay_in_the_residual() -> None:
    frames = molecules(*["H2O"] * 6)
    off = difference(frames) + np.array([0, 0, 0, 0, 9.0, 0])  # 3 eV/atom
    shift = element_shift(frames, off)
    assert shift.mixed == (4,) and "structures 4" in shift.text()
    assert element_shift(frames, difference(frames)).mixed == ()


@pytest.fixture
def teacher() -> Any:
    row = POTENTIALS["chgnet-0.3"]
    return row.build(row.Settings(), seed=0)


def test_a_potential_is_shifted_in_place(teacher: Any) -> None:
    """Labels of the potential itself, 7 eV and -2 eV away, are met by it afterwards."""
    frames = Frames.from_atoms([bulk("NaCl", "rocksalt", a=a) for a in (5.5, 5.7)] + [bulk("Na", a=4.2)])
    labels = teacher.evaluate(frames)
    offsets = np.where(frames.numbers == 11, 7.0, -2.0)
    target = replace(labels, energy=labels.energy + np.bincount(frames.structure_of_atom, offsets))
    result = shift_reference(teacher, target)
    assert result.shift == pytest.approx({"Na": 7.0, "Cl": -2.0}, abs=1e-5)  # energies in single precision
    assert teacher.evaluate(frames).energy == pytest.approx(target.energy, abs=1e-5)
    assert result.determined and "meV/atom are left" in result.text()


def test_isolated_atoms(teacher: Any) -> None:
    """Of all shifts that meet the structures, those closest to the differences between isolated atoms are taken."""
    water = Frames.from_atoms([molecule("H2O")])
    atoms = Frames.from_atoms([Atoms("H"), Atoms("O")])
    expected = np.array([-13.6, -432.1]) - teacher.evaluate(atoms).energy
    data = water.with_labels(np.array([-470.0]), np.zeros((3, 3)), None)
    result = shift_reference(teacher, data, {"H": -13.6, "O": -432.1, "Si": -7900.0})
    assert result.determined and set(result.from_atoms) == {"H", "O"}
    assert teacher.evaluate(water).energy[0] == pytest.approx(-470.0, abs=1e-4)  # single precision
    change = np.array([result.shift["H"], result.shift["O"]]) - expected
    assert change[0] == pytest.approx(2 * change[1], abs=1e-4)


def test_some_isolated_atoms(teacher: Any) -> None:
    """One known element of two settles the other, and the structures' energies are met."""
    data = Frames.from_atoms([molecule("H2O")]).with_labels(np.array([-470.0]), np.zeros((3, 3)), None)
    result = shift_reference(teacher, data, {"O": -432.1})
    assert result.determined and result.from_atoms == ("O",)
    assert teacher.evaluate(data).energy[0] == pytest.approx(-470.0, abs=1e-4)  # single precision
    assert teacher.evaluate([Atoms("O")]).energy[0] == pytest.approx(-432.1, abs=1e-5)


def test_silicon(teacher: Any) -> None:
    """PBEsol against PBE: one constant, the residual of each structure is what is left."""
    frames = read_frames(SILICON / "train.xyz")[0]
    result = shift_reference(teacher, frames)
    left = (frames.energy - teacher.evaluate(frames).energy) / frames.n_atoms
    assert result.residual == pytest.approx(left, abs=1e-5)  # single precision
    assert abs(result.residual.mean()) < 1e-9 and result.mixed == ()
    assert torch.count_nonzero(teacher.reference_energies) == 1
