"""What a simulation of a crystal says of the potentials besides its curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from distill.analysis.energy_volume import COMPRESSED, falls_at
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import is_smooth
from distill.potentials.networks.painn import FORMER_SOFTENING
from distill.stages.simulate import EnergyVolume, energy_volume, probe


@pytest.fixture
def run() -> EnergyVolume:
    crystal = {"name": "Si", "crystalstructure": "diamond", "a": 5.43, "cubic": True}
    return EnergyVolume.model_validate({"kind": "energy_volume", "structure": {"crystal": crystal}, "points": 5})


def test_a_hole_and_a_tip_are_named(painn: Potential, run: EnergyVolume) -> None:
    for update in painn.updates:
        update.softening.fill_(FORMER_SOFTENING)
    painn.short_range_repulsion = None  # nothing is left that rises
    atoms, models = bulk("Si", a=5.43, cubic=True), {"student": painn}
    result: dict[str, Any] = energy_volume(atoms, models, run)
    wrong = probe(atoms, models, result)
    curve = result["curves"]["student"]
    hole = falls_at(np.array(COMPRESSED), np.array(curve["compressed"]["energies"]))
    assert hole is not None and not is_smooth(np.array(curve["force_constants"]["values"]))
    assert wrong == [f"the student's {flaw}" for flaw in curve["flaws"]] and len(wrong) == 2
    assert f"the student's energy of diamond Si falls when it is compressed to {hole:g} of its volume" in wrong[0]
    assert "force constant of an atom of diamond Si depends on the displacement" in wrong[1]


def test_nothing_is_said_of_a_sound_potential(painn: Potential, run: EnergyVolume) -> None:
    atoms = bulk("Si", a=5.43, cubic=True)
    with np.errstate(all="raise"):
        result: dict[str, Any] = energy_volume(atoms, {"student": painn}, run)
    painn.scales.data.fill_(0.01)  # the repulsion alone
    assert probe(atoms, {"student": painn}, result) == []
