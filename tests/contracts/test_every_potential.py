"""Every row of the table of potentials keeps the contract of a potential."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from distill.potentials import POTENTIALS
from distill.potentials.base import PotentialSettings
from distill.potentials.check import check_potential


@pytest.mark.parametrize("name", POTENTIALS)
def test_keeps_the_contract(name: str) -> None:
    architecture = POTENTIALS[name]
    assert check_potential(architecture.build(architecture.Settings(), seed=1)) == []


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


@pytest.mark.parametrize("name", POTENTIALS)
def test_build_depends_on_the_seed_alone(name: str) -> None:
    architecture = POTENTIALS[name]
    settings = architecture.Settings()
    state = torch.random.get_rng_state()
    first = architecture.build(settings, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    second, other = architecture.build(settings, seed=5), architecture.build(settings, seed=6)
    weights = [
        torch.cat([p.detach().double().flatten() for p in potential.parameters()])
        for potential in (first, second, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2]) == (architecture.role == "teacher")
    assert bool(first.origin) == (architecture.role == "teacher")
    assert first.offsets.requires_grad == (architecture.role == "student")


def test_the_table_and_its_settings_need_no_torch() -> None:
    code = (
        "import sys; from distill.potentials import POTENTIALS;"
        "[row.Settings().model_json_schema() for row in POTENTIALS.values()];"
        "sys.exit('torch' in sys.modules or 'ase' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
