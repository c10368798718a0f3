"""Fine-tuning begins at the published model: the energies of step 0 are its calculator's, but for the reference shift.

A trainer that normalises energies, or takes other reference energies than the published model was fitted with, begins
somewhere else, and its first steps undo that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator

from distill.potentials import POTENTIALS
from distill.structures.frames import Frames
from distill.training.gradient.losses import LossWeights, residuals
from distill.training.gradient.module import FitModule
from distill.training.gradient.schedule import Cosine
from distill.training.reference_energies import shift_reference


def of_chgnet() -> Calculator:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
    calculator: Calculator = CHGNetCalculator(model, use_device="cpu")
    return calculator


def of_diep() -> Calculator:
    from diep.pretrained import make_calculator

    calculator: Calculator = make_calculator()
    return calculator


def labelled(published: Calculator) -> Frames:
    """Rattled silicon and silicon carbide with the published energies, 1 eV more a silicon and 2 eV less a carbon."""
    structures, rng = [], np.random.default_rng(0)
    for name, kind, length in [("Si", "diamond", 5.43), ("SiC", "zincblende", 4.36)] * 2:
        atoms = bulk(name, kind, a=length, cubic=True)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        structures.append(atoms)
    frames = Frames.from_atoms(structures)
    moved: list[Any] = []
    for atoms in structures:
        atoms.calc = published
        moved.append(atoms.get_potential_energy() + np.where(atoms.numbers == 14, 1.0, -2.0).sum())
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    return frames.with_labels(np.array(moved, dtype=float), forces, None)


@pytest.mark.parametrize(("name", "make"), [("chgnet-0.3", of_chgnet), ("diep-2.0", of_diep)])
def test_the_first_step_sees_the_published_energies(name: str, make: Callable[[], Calculator]) -> None:
    row = POTENTIALS[name]
    potential, frames = row.build(row.Settings(), 0), labelled(make())
    shift = shift_reference(potential, frames)
    # single precision of energies of some 70 eV
    assert shift.shift == pytest.approx({"Si": 1.0, "C": -2.0}, abs=2e-5)
    data = potential.prepare(frames)
    module = FitModule(potential, data, data, LossWeights(), total=1, learning_rate=1e-3, schedule=Cosine(1)).train()
    batch = data.collate()
    errors = residuals(module.potential(batch, stress=False), batch)
    assert errors["energy"].abs().max() < 2e-5, "eV/atom, in training mode"
    assert errors["forces"].abs().max() < 1e-4
