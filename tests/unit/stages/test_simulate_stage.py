"""What a simulation of a crystal says of the potentials besides its curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from distill.analysis.energy_volume import COMPRESSED, falls_at
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import is_smooth
from distill.potentials.networks.painn import FORMER_SOFTENING
from distill.stages.simulate import EnergyVolume, energy_volume, probe
from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.tasks import FromTask

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


@pytest.fixture
def run() -> EnergyVolume:
    crystal = {"name": "Si", "crystalstructure": "diamond", "a": 5.43, "cubic": True}
    return EnergyVolume.model_validate({"kind": "energy_volume", "structure": {"crystal": crystal}, "points": 5})


def test_a_hole_and_a_tip_are_named(painn: Potential, run: EnergyVolume) -> None:
    for update in painn.updates:
        update.softening.fill_(FORMER_SOFTENING)
    painn.short_range_repulsion = None  # nothing is left that rises
    atoms = bulk("Si", a=5.43, cubic=True)
    found = probe(atoms, painn, energy_volume(atoms, painn, run))
    hole = falls_at(np.array(COMPRESSED), np.array(found["compressed"]["energies"]))
    assert hole is not None and not is_smooth(np.array(found["force_constants"]["values"]))
    first, second = found["flaws"]
    assert f"the energy of diamond Si falls when it is compressed to {hole:g} of its volume" in first
    assert "the force constant of an atom of diamond Si depends on the displacement" in second


def test_nothing_is_said_of_a_sound_potential(painn: Potential, run: EnergyVolume) -> None:
    atoms = bulk("Si", a=5.43, cubic=True)
    with np.errstate(all="raise"):
        result: dict[str, Any] = energy_volume(atoms, painn, run)
    painn.scales.data.fill_(0.01)  # the repulsion alone
    assert probe(atoms, painn, result)["flaws"] == []


def test_the_teacher_is_asked_once_and_has_no_dynamics() -> None:
    plan = make_plan(load_recipe(QUICKSTART, overrides=["students.painn.seeds=2"]))
    runs = {task.id: task.inputs["model"] for task in plan.of_stage("simulate")}
    assert [name for name in runs if "teacher" in name] == ["simulate[teacher,finetuned,0,2]"]
    assert runs["simulate[teacher,finetuned,0,2]"] == FromTask("finetune", "model")
    assert runs["simulate[painn,direct,1,0]"] == FromTask("train[painn,direct,1]", "model")
    assert len(runs) == 1 + 3 * 2 * 3
