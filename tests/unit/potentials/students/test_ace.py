"""ACE: its settings as pacemaker's input, and its evaluator against pyace's own calculator and exact cases."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from pydantic import ValidationError

from distill.base.errors import UserError
from distill.doctor import missing_packages
from distill.potentials.interface.saving import load, save
from distill.potentials.settings.ace import ACESettings, deep_merge
from distill.potentials.students.ace import ACE
from distill.potentials.workers.ace_potential import ACTIVE_SET, BASIS, LAMMPS, YACE, ACEPotential
from distill.structures.frames import Frames, concatenate

pytestmark = pytest.mark.slow
installed = pytest.mark.skipif(bool(missing_packages(ACE)), reason="the extra ace is not installed")
SMALL: dict[str, Any] = {"functions": 30, "nradmax": (5, 3, 2), "lmax": (0, 2, 1), "cutoff": 4.0}


def rattled(count: int, width: float = 0.15) -> Frames:
    """Rattled quartz-like crystals of two elements."""
    crystals = []
    for seed in range(count):
        atoms = bulk("NaCl", "rocksalt", a=4.4, cubic=True)
        atoms.symbols[:] = ["O", "Si"] * 4
        atoms.rattle(width, seed=seed)
        crystals.append(atoms)
    return Frames.from_atoms(crystals)


@pytest.fixture(scope="module")
def expansion() -> ACEPotential:
    """An expansion with random coefficients, files and active set, and energies of single atoms."""
    potential = ACE.create(ACESettings(elements=["Si", "O"], **SMALL), seed=3)
    assert isinstance(potential, ACEPotential)
    with torch.no_grad():
        potential.reference_energies[8], potential.reference_energies[14] = -430.25, -100.5
    basis = potential.basis
    assert potential.adopt(basis, rattled(40)) == []
    return potential


def test_settings_become_the_input_of_pacemaker() -> None:
    settings = ACESettings(
        elements=["Si", "O"],
        embedding="published",
        exponents=(0.5, 1.5),
        potential={"bonds": {"ALL": {"dcut": 0.5}, "SiO": {"rcut": 3.0}}},
    )
    section = settings.pacemaker_potential()
    assert section["elements"] == ["O", "Si"]
    assert section["embeddings"]["ALL"]["fs_parameters"] == [1, 1, 1, 0.5, 1, 0.75, 1, 0.25, 1, 0.5, 1, 1.5]
    assert section["embeddings"]["ALL"]["ndensity"] == 6
    assert section["bonds"]["ALL"]["dcut"] == 0.5 and section["bonds"]["ALL"]["rcut"] == 5.0
    assert section["bonds"]["SiO"] == {"rcut": 3.0}
    assert section["functions"]["number_of_functions_per_element"] == 300


def test_a_deep_merge_leaves_its_arguments_as_they_were() -> None:
    below = {"a": {"b": 1, "c": 2}}
    assert deep_merge(below, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
    assert below == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nradmax": (3, 2)}, "orders"),
        ({"lmax": (1, 3, 2, 1)}, "order 1"),
        ({"potential": {"filename": "mine.yaml"}}, "filename"),
        ({"embedding": "sqrt"}, "embedding"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ACESettings(**wrong)


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no Python interpreter"):
        ACE.check_ready({"environment": str(tmp_path / "none")})
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UserError, match=r"pip install python-ace==0\.4\.0rc1 tensorpotential") as caught:
        ACE.check_ready({"environment": str(bare)})
    assert str(bare) in str(caught.value)


@installed
def test_its_files_give_the_same_in_pyaces_own_calculator(expansion: ACEPotential, tmp_path: Path) -> None:
    from pyace import PyACECalculator

    path = tmp_path / "potential.yace"
    path.write_bytes(expansion.attachments[YACE])
    calculator = PyACECalculator(str(path))
    frames = rattled(5)
    found = expansion.evaluate(frames)
    assert found.energy is not None and found.forces is not None and found.stress is not None
    for k, atoms in enumerate(frames.to_atoms()):
        atoms.calc = calculator
        # the file writes coefficients with some 15 digits
        assert atoms.get_potential_energy() == pytest.approx(found.energy[k], abs=1e-8)
        assert np.allclose(atoms.get_forces(), found.forces[8 * k : 8 * k + 8], atol=1e-8)
        assert np.allclose(atoms.get_stress(voigt=False), found.stress[k], atol=1e-8)
    assert b"E0: [-430.25, -100.5]" in expansion.attachments[YACE]
    assert b"pair_coeff * * potential.yace O Si" in expansion.attachments[LAMMPS]


@installed
def test_a_slab_and_a_molecule_are_as_in_a_large_box(expansion: ACEPotential) -> None:
    slab = fcc111("Al", (2, 2, 3), a=3.9, periodic=False)
    slab.symbols[:] = ["O", "Si"] * 6
    slab.pbc = (True, True, False)
    wide = slab.copy()
    wide.center(vacuum=20.0, axis=2)
    wide.pbc = True
    molecule = Atoms("OSiO", positions=[[0, 0, 0], [1.7, 0, 0], [2.4, 1.6, 0.2]])
    boxed = molecule.copy()
    boxed.set_cell(30 * np.eye(3))
    boxed.pbc = True
    open_, closed = (expansion.evaluate(pair) for pair in ([slab, molecule], [wide, boxed]))
    assert open_.energy is not None and closed.energy is not None
    assert np.allclose(open_.energy, closed.energy, atol=1e-9) and np.allclose(open_.forces, closed.forces, atol=1e-9)
    assert open_.stress is not None and np.isnan(open_.stress).all()
    assert abs(open_.energy[0] - 6 * (-430.25 - 100.5)) > 1e-3, "the atoms see each other"


@installed
def test_the_calculator_keeps_neighbours_that_still_hold(expansion: ACEPotential) -> None:
    atoms = rattled(1).to_atoms()[0].repeat((2, 1, 1))
    atoms.calc = expansion.calculator()
    rng = np.random.default_rng(0)
    for _ in range(12):  # 0.12 Å a step: the list is rebuilt about every second step
        atoms.positions += 0.12 * rng.normal(size=atoms.positions.shape) / np.sqrt(3)
        fresh = expansion.evaluate(concatenate([Frames.from_atoms([atoms]), rattled(1)]))
        assert fresh.energy is not None and fresh.forces is not None
        assert atoms.get_potential_energy() == pytest.approx(fresh.energy[0], abs=1e-9)
        assert np.allclose(atoms.get_forces(), fresh.forces[: len(atoms)], atol=1e-9)


@installed
def test_many_structures_are_shared_out_and_come_back_in_order(expansion: ACEPotential) -> None:
    frames = rattled(300)
    threads = torch.get_num_threads()
    shared = copy.copy(expansion)
    shared._evaluator = None
    try:
        torch.set_num_threads(2)
        together = shared.evaluate(frames)
    finally:
        torch.set_num_threads(threads)
    alone = [expansion.evaluate(frames[k : k + 1]).energy for k in (0, 150, 299)]
    assert together.energy is not None
    assert np.allclose(np.concatenate([e for e in alone if e is not None]), together.energy[[0, 150, 299]], atol=1e-9)


@installed
def test_grades_are_at_most_one_for_the_training_data_and_larger_outside(expansion: ACEPotential) -> None:
    inside = expansion.extrapolation_grades(rattled(40))
    assert inside is not None
    # maxvol stops when no exchange of a row gains more than 1 % (its tolerance 1.001 times rounding)
    assert inside.max() <= 1.01
    assert np.isclose(inside, 1.0, atol=2e-3).sum() >= 2 * 25, "the chosen atoms have exactly 1"
    outside = expansion.graded(rattled(3, width=0.6))
    assert all(info["grade"] > 1.5 for info in outside.info)


@installed
def test_too_few_atoms_for_an_active_set_are_said(expansion: ACEPotential) -> None:
    other = copy.copy(expansion)
    (warning,) = other.adopt(expansion.basis, rattled(2))
    assert "O (8 atoms, 30 functions)" in warning
    assert other.extrapolation_grades(rattled(1)) is None and ACTIVE_SET not in other.attachments
    assert "grade" not in other.graded(rattled(1)).info[0]


@installed
def test_it_is_saved_with_its_files(expansion: ACEPotential, tmp_path: Path) -> None:
    save(expansion, tmp_path, {"made_by": "test"})
    assert {BASIS, YACE, ACTIVE_SET, LAMMPS} <= {path.name for path in tmp_path.iterdir()}
    found = load(tmp_path)
    assert isinstance(found, ACEPotential) and found.n_parameters == expansion.n_parameters
    assert np.array_equal(found.extrapolation_grades(rattled(2)), expansion.extrapolation_grades(rattled(2)))


@installed
def test_the_repulsion_takes_over_below_its_distance() -> None:
    potential = ACE.create(ACESettings(elements=["Si"], **SMALL), seed=0)
    assert isinstance(potential, ACEPotential)
    potential.adopt(potential.make_basis({"Si Si": 1.8}, seed=0), Frames.empty())
    pair = [Atoms("Si2", positions=[[0, 0, 0], [r, 0, 0]]) for r in (0.5, 1.0, 1.6, 1.9)]
    energy = potential.evaluate(pair).energy
    assert energy is not None and energy[0] > energy[1] > energy[2] > 1.0
    # Ziegler, Biersack and Littmark: 14.3996 eV Å Z² / r times the universal screening function
    x = 1.0 / (0.46850 / (2 * 14**0.23))
    terms = [(0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)]
    screening = sum(factor * np.exp(-rate * x) for factor, rate in terms)
    assert energy[1] == pytest.approx(14.3996 * 14**2 * screening, rel=0.05)  # cut off smoothly towards 1.8 Å


@installed
def test_what_pacemaker_does_not_accept_is_said() -> None:
    settings = ACESettings(elements=["Si"], potential={"bonds": {"ALL": {"radbase": "Nonsense"}}}, **SMALL)
    with pytest.raises(UserError, match="pacemaker cannot make the basis"):
        _ = ACE.create(settings, seed=0).basis  # type: ignore[attr-defined]
