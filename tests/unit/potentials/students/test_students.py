"""Students: sizes by preset, networks made for elements, a user's own class, and energies that end at the cutoff."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from distill.base.errors import UserError
from distill.doctor import missing_packages
from distill.potentials import POTENTIALS, student_names, student_row
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.structures.frames import Frames

OWN = """
from graph_pes.models.schnet import SchNet


class Mine(SchNet):
    def __init__(self, elements, width=8):
        super().__init__(cutoff=3.5, channels=width, expansion_features=5, layers=1)
        self.symbols = elements


class NoModel:
    pass
"""


def build(arch: str, symbols: list[str], **settings: object) -> Potential:
    """A student as training builds it."""
    row = student_row(arch)
    if missing := missing_packages(row):
        pytest.skip(f"{', '.join(missing)} is not installed")
    potential: Potential = row.build(row.for_data(row.Settings(**settings), arch, symbols), 0)
    return potential


def size(potential: Potential) -> int:
    return potential.n_parameters


COSTLY = ("ace", "nequip", "mace")
"""Students that take seconds to build: another process, or code that is generated."""
EACH = [pytest.param(name, marks=pytest.mark.slow if name in COSTLY else ()) for name in student_names()]


@pytest.mark.parametrize("arch", EACH)
def test_presets_differ_in_size(arch: str) -> None:
    sizes = [size(build(arch, ["Si"], preset=preset)) for preset in ("small", "default", "large")]
    assert 2 * sizes[0] < 1.5 * sizes[1] < sizes[2]


def test_the_default_painn_has_the_published_size() -> None:
    assert size(build("painn", ["Si"])) == pytest.approx(46_000, rel=0.01)


def test_what_is_given_replaces_a_value_of_the_preset() -> None:
    settings = student_row("painn").Settings(preset="small", channels=24)
    assert (settings.channels, settings.layers) == (24, 2)


@pytest.mark.parametrize("arch", ["nequip", "mace", "eddp"])
def test_a_network_is_made_for_the_elements_of_the_data(arch: str) -> None:
    potential = build(arch, ["O", "Si"], preset="small")
    assert potential.elements == (8, 14)
    with pytest.raises(UserError, match="does not know the element Na"):
        potential.evaluate([bulk("Na")])
    with pytest.raises(UserError, match="none are given"):
        student_row(arch).build(student_row(arch).Settings(), 0)


def test_elements_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'Xx' is not an element"):
        student_row("mace").Settings(elements=["Si", "Xx"])
    with pytest.raises(ValueError, match="once"):
        student_row("mace").Settings(elements=["Si", "Si"])


@pytest.mark.parametrize("arch", EACH)
def test_an_atom_that_leaves_takes_no_energy_with_it(arch: str) -> None:
    """Energy and forces of two atoms end smoothly at the cutoff."""
    potential = build(arch, ["O", "Si"], preset="small", cutoff=4.0, short_range_repulsion=False).double()
    distances = np.array([3.9, 3.99, 3.999, 3.9999, 4.1])
    pairs = [Atoms("SiO", positions=[[0, 0, 0], [0, 0, d]]) for d in distances]
    predicted = potential.evaluate(pairs, stress=False)
    assert predicted.energy is not None and predicted.forces is not None
    left = np.abs(predicted.energy - predicted.energy[-1])
    force = np.abs(predicted.forces.reshape(-1, 6)).max(axis=1)
    # an energy that ends with a finite derivative would fall by 10 with each step, and its force would stay
    assert (left[1:4] <= left[:3] / 50 + 1e-12).all()
    assert (force[1:4] <= force[:3] / 5 + 1e-12).all()


def test_a_class_of_the_users_is_a_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silicon: Atoms) -> None:
    (tmp_path / "own_student.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    potential = build("own_student:Mine", ["Si"], parameters={"width": 12}, short_range_repulsion=False)
    assert potential.model.symbols == ["Si"] and potential.cutoff == 3.5
    assert check_potential(potential) == []
    save(potential, tmp_path / "saved", {})
    again = load(tmp_path / "saved", trust_code=True)
    frames = Frames.from_atoms([silicon])
    assert again.evaluate(frames).energy == potential.evaluate(frames).energy


@pytest.mark.parametrize(
    ("arch", "parameters", "message"),
    [
        ("no_such_module:Net", {}, "no module 'no_such_module'"),
        ("own_student:Missing", {}, "no class 'Missing'"),
        ("own_student:Mine", {"depth": 3}, "cannot be made"),
        ("own_student:NoModel", {}, "not a class of graph-pes models"),
        ("own_student:", {}, "names no class"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(
    arch: str, parameters: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_student.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match=message):
        build(arch, ["Si"], parameters=parameters)


def test_an_unknown_architecture_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"pain.*painn"):
        student_row("pain")
    assert student_names()["mace"] == "mace-student" and POTENTIALS["mace"].role == "teacher"
