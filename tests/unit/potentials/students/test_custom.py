"""A user's own class as a student: found by its name, given the elements it wants, and refused in words."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from distill.base.errors import UserError
from distill.potentials.interface.saving import load, save
from distill.potentials.students.custom import Custom, CustomSettings, check_module, named_class

CODE = """
import torch
from graph_pes import GraphPESModel
from graph_pes.models import SchNet

class Ours(SchNet):
    def __init__(self, elements, channels=4, cutoff=4.0):
        super().__init__(cutoff=cutoff, channels=channels, expansion_features=4, layers=1)
        self.named = list(elements)

class Plain(SchNet):
    def __init__(self, channels=4):
        super().__init__(cutoff=4.0, channels=channels, expansion_features=4, layers=1)

class Whole(GraphPESModel):
    def __init__(self):
        super().__init__(cutoff=4.0, implemented_properties=["energy"])

    def forward(self, graph):
        return {"energy": torch.zeros(1)}

class Other:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, under a name that no other test has imported."""
    name = f"ours_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_elements_are_given_where_the_constructor_takes_them(module: str) -> None:
    made = Custom.for_data(CustomSettings(), f"{module}:Ours", ["O", "Si"])
    assert made.model == f"{module}:Ours" and made.parameters == {"elements": ["O", "Si"]}
    given = CustomSettings(parameters={"elements": ["Si"], "channels": 8})
    assert Custom.for_data(given, f"{module}:Ours", ["O", "Si"]).parameters == given.parameters
    assert Custom.for_data(CustomSettings(), f"{module}:Plain", ["O", "Si"]).parameters == {}
    named = CustomSettings(model=f"{module}:Plain", short_range_repulsion=False)
    kept = Custom.for_data(named, f"{module}:Ours", ["Si"])
    assert kept.model == f"{module}:Plain" and not kept.short_range_repulsion


def test_it_is_a_potential_like_others_and_comes_back_from_its_files(module: str, tmp_path: Path) -> None:
    settings = Custom.for_data(CustomSettings(), f"{module}:Ours", ["H", "O"])
    potential = Custom.build(settings, seed=0)
    water = molecule("H2O")
    found = potential.evaluate([water])
    assert found.forces is not None and np.abs(found.forces).max() > 0
    save(potential, tmp_path / "saved", {})
    again = load(tmp_path / "saved", trust_code=True).evaluate([water])
    assert np.array_equal(again.forces, found.forces) and again.energy == found.energy


def test_the_repulsion_of_nuclei_is_added_where_it_is_wanted(module: str) -> None:
    close = bulk("Si", a=2.0)  # 0.87 Å apart
    energies = {}
    for wanted in (True, False):
        settings = CustomSettings(model=f"{module}:Plain", short_range_repulsion=wanted)
        energies[wanted] = float(Custom.build(settings, seed=0).evaluate([close]).energy[0])
    assert energies[True] > energies[False] + 10


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("Other", {}, "not a class of graph-pes models"),
        ("Whole", {}, "it cannot be made .*local_energies"),
        ("Plain", {"depth": 3}, "it cannot be made .*depth"),
        ("Absent", {}, "there is no class 'Absent'"),
    ],
)
def test_what_cannot_be_a_student_is_refused(module: str, name: str, parameters: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Custom.network(CustomSettings(model=f"{module}:{name}", parameters=parameters))


@pytest.mark.parametrize("reference", ["no_such_module_here:Net", "json", ":Net", "json:"])
def test_a_reference_that_names_nothing_is_refused_before_anything_is_run(reference: str) -> None:
    with pytest.raises(UserError, match=r"no module|names no class"):
        check_module(reference)


def test_looking_for_a_module_does_not_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_module.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.chdir(tmp_path)
    check_module("loud_module:Net")
    assert "loud_module" not in sys.modules
    assert named_class("json:JSONDecoder").__name__ == "JSONDecoder"
