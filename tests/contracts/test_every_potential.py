"""Every row of the table of potentials keeps the contract of a potential.

Students and teachers whose weights come with a package are tested as they are; a teacher that has to be downloaded, or
that is in a file, is tested as an untrained network, for its weights cannot be had here.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch

from distill.base.errors import UserError
from distill.doctor import missing_packages
from distill.potentials import POTENTIALS
from distill.potentials.interface.conformance import check_potential, example_frames, keeps
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double, rough_crystals
from distill.potentials.settings import PotentialSettings
from distill.potentials.teachers.weights import Weights
from distill.potentials.workers.ace_potential import ACEPotential

DESCRIPTIVE = {"name", "reference", "licence", "level_of_theory", "parameters", "argument"}
"""Class attributes that no network depends on."""


def is_complete(row: Any) -> bool:
    """Whether a row needs nothing besides its packages: no download, no file, no function, no other interpreter."""
    return not (row.argument or row.own_environment or isinstance(row.weights, Weights))


def kind(row: Any) -> tuple[Any, ...]:
    """What tells a row's network from others: the function that builds it and the values that it may read."""
    known = {name: getattr(row, name) for cls in row.__mro__ for name in vars(cls) if not name.startswith("__")}
    values = {
        name: repr(value)
        for name, value in known.items()
        if name not in DESCRIPTIVE
        and not isinstance(value, Weights)
        and (isinstance(value, type) or not callable(value))
    }
    return row.network.__func__, *sorted(values.items())


KINDS = list({kind(POTENTIALS[name]): name for name in reversed(list(POTENTIALS))}.values())[::-1]
"""One row of every kind: what differs in published weights alone is the same network."""


def start(name: str, seed: int) -> Potential:
    """Return the row's potential, or skip the test where it cannot be had here."""
    row = POTENTIALS[name]
    if missing := missing_packages(row):
        pytest.skip(f"{', '.join(missing)} is not installed")
    if row.own_environment:
        pytest.skip("runs in an environment of its own")
    if row.argument == "function":
        pytest.skip("needs a function of the user")
    settings = row.for_data(row.Settings(), "graph_pes.models:SchNet", ["O", "Si"])
    if is_complete(row):
        potential: Potential = row.build(settings, seed)
        return potential
    try:
        potential = row.create(settings, seed)
    except UserError as error:
        if not row.argument:
            raise
        pytest.skip(str(error))
    return potential


@cache
def built(name: str) -> tuple[Potential, bytes | str]:
    """Return a row's potential of seed 5 and what it computes with; both contracts look at one."""
    potential = start(name, seed=5)
    return potential, numbers(potential)


def numbers(potential: Potential) -> bytes | str:
    """What a potential computes with, in a form that can be compared."""
    if isinstance(potential, ACEPotential):
        return potential.basis
    return torch.cat([p.detach().double().flatten() for p in potential.parameters()]).numpy().tobytes()


COSTLY = ("ace", "nequip", "mace")
"""Kinds that take seconds to build: another process, or code that is generated."""
EACH_KIND = [pytest.param(name, marks=pytest.mark.slow if name.startswith(COSTLY) else ()) for name in KINDS]


@pytest.mark.parametrize("name", EACH_KIND)
def test_keeps_the_contract(name: str) -> None:
    assert check_potential(built(name)[0]) == []


@pytest.mark.parametrize("name", EACH_KIND)
def test_what_is_not_smooth_is_said_to_be(name: str) -> None:
    """A potential that says it is not smooth is not: else the statement would hide a fault that is to come."""
    potential = built(name)[0]
    if not keeps(potential, "smoothness"):
        first, second = map(int, example_frames(potential.elements).numbers[[0, -1]])
        assert [*rough_crystals(in_double(potential).evaluate, first, second)]


@pytest.mark.parametrize("name", POTENTIALS)
def test_says_what_it_is(name: str) -> None:
    architecture = POTENTIALS[name]
    assert architecture.name == name
    assert architecture.role in ("teacher", "student")
    assert architecture.reference and architecture.licence
    assert bool(architecture.level_of_theory) == (architecture.role == "teacher")
    assert bool(architecture.requires) == bool(architecture.install)
    assert issubclass(architecture.Settings, PotentialSettings)
    assert all(field.description for field in architecture.Settings.model_fields.values())


@pytest.mark.parametrize("name", EACH_KIND)
def test_build_depends_on_the_seed_alone(name: str) -> None:
    row = POTENTIALS[name]
    first, its_numbers = built(name)
    torch.rand(3)
    state = torch.random.get_rng_state()
    weights = [its_numbers, numbers(start(name, seed=5)), numbers(start(name, seed=6))]
    assert torch.equal(torch.random.get_rng_state(), state)
    pretrained = row.role == "teacher" and is_complete(row)
    assert weights[0] == weights[1]
    assert (weights[0] == weights[2]) == pretrained
    assert bool(first.origin) == pretrained
    assert first.reference_energies.requires_grad == (row.role == "student" and row.trainer == "gradient")


def test_every_row_is_tested_as_one_of_its_kind() -> None:
    """Rows left out differ from a tested one in nothing but words and weights."""
    kinds = {kind(POTENTIALS[name]) for name in KINDS}
    assert {kind(row) for row in POTENTIALS.values()} == kinds and len(kinds) == len(KINDS)
    assert {name for name, row in POTENTIALS.items() if is_complete(row)} <= set(KINDS)


def test_the_table_and_its_settings_need_no_torch() -> None:
    code = (
        "import sys; from distill.potentials import POTENTIALS;"
        "[row.Settings().model_json_schema() for row in POTENTIALS.values()];"
        "sys.exit('torch' in sys.modules or 'ase' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
