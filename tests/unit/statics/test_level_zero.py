"""What no potential may fail: pairs of atoms that repel each other, and forces that are derivatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from springs import EDGE, Springs

from distill.analysis.dimers import dimer_flaws
from distill.potentials.interface.potential import Potential
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.dimers import dimers
from distill.statics.gradients import gradients
from distill.structures.frames import Frames

R = np.geomspace(0.5, 6, 100)


def zbl(r: np.ndarray, z: int = 14) -> np.ndarray:
    """Ziegler, Biersack and Littmark, eV: without a well, and about 560 eV at 0.5 Å for silicon."""
    x = r / (0.46850 / (2 * z**0.23))
    screening = 0.18175 * np.exp(-3.19980 * x) + 0.50986 * np.exp(-0.94229 * x)
    screening += 0.28022 * np.exp(-0.40290 * x) + 0.02817 * np.exp(-0.20162 * x)
    return np.asarray(14.399645 * z**2 / r * screening)


def morse(r: np.ndarray, depth: float, width: float, bond: float) -> np.ndarray:
    x = np.exp(-width * (r - bond))
    return np.asarray(depth * (x**2 - 2 * x))


@pytest.mark.parametrize(
    ("energies", "said"),
    [
        (zbl(R), []),
        (zbl(R) + morse(R, 3.0, 1.5, 2.3), []),
        (zbl(R) + 0.04 * np.sin(8 * R), []),  # ripples
        (zbl(R) + 0.06 * np.sin(8 * R), ["changes its sign"]),
        (zbl(R) + morse(R, 3.0, 1.5, 2.3) - 0.5 * np.exp(-((R - 4.5) ** 2) / 0.1), ["changes its sign 3 times"]),
        (
            zbl(R) - 200 * np.exp(-((R - 1.0) ** 2) / 0.01),
            ["falls when the atoms come nearer than", "changes its sign 2"],
        ),
        (-zbl(R), ["falls when the atoms", "can meet: at 0.50 Å they are 0 eV"]),
        (zbl(R) / 200, ["can meet"]),
        (np.where(R < 0.6, np.nan, zbl(R)), ["is not finite at 0.50 Å"]),
    ],
)
def test_pairs_of_atoms(energies: np.ndarray, said: list[str]) -> None:
    found = dimer_flaws("Si-Si", R, energies, 2.2)
    assert len(found) == len(said) and all(part in flaw for part, flaw in zip(said, found, strict=True)), found


def test_a_molecule_of_hydrogen() -> None:
    """Half a bond length up the wall two atoms are still bound, against separate ones."""
    r = np.geomspace(0.31, 6, 100)
    assert dimer_flaws("H-H", r, morse(r, 4.75, 1.94, 0.74), 0.62) == []


def test_every_pair_of_elements_is_looked_at(painn: Potential) -> None:
    painn.scales.data.fill_(0.01)  # the repulsion alone
    found = dimers([8, 1, 8], painn)
    curves = found.arrays["curves"]
    assert list(curves) == ["H-H", "H-O", "O-O"] and found.level == 0 and not found.flaws
    assert [min(one["distances"]) for one in curves.values()] == pytest.approx([0.31, 0.485, 0.5])
    painn.short_range_repulsion = None
    assert any("H-O can meet" in flaw for flaw in dimers([8, 1], painn).flaws)


class Scaled(Springs):
    """Springs whose forces or stress are 10 % too large."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def calculate(self, *arguments: Any, **options: Any) -> None:
        super().calculate(*arguments, **options)
        self.results[self.what] = 1.1 * self.results[self.what]


def crystals() -> Frames:
    strained = bulk("Cu", a=1.03 * EDGE, cubic=True)
    strained.positions += 0.05 * np.random.default_rng(0).normal(size=strained.positions.shape)
    return Frames.from_atoms([bulk("Cu", a=0.97 * EDGE, cubic=True), strained])


@pytest.mark.parametrize(("what", "said"), [("forces", "forces are not"), ("stress", "stress is not")])
def test_wrong_forces_and_wrong_stress_are_seen(what: str, said: str) -> None:
    """Of a calculator, whose precision is not known."""
    assert gradients(crystals(), GivenCalculator(Springs()), name="2 crystals").flaws == []
    (flaw,) = gradients(crystals(), GivenCalculator(Scaled(what)), name="2 crystals").flaws
    assert flaw.startswith(f"{said} the derivative of the energy in ")


def test_forces_of_a_network_are_exact_in_double_precision(painn: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames.from_atoms([bulk("Si", cubic=True)])
    frames = replace(frames, positions=frames.positions + 0.1 * np.random.default_rng(0).normal(size=(8, 3)))
    found = gradients(frames, painn, name="diamond Si")
    assert found.sound == "forces and stress are the derivatives of the energy (diamond Si)"
    evaluate = type(painn).evaluate

    def slightly_wrong(self: Potential, structures: Frames, **options: Any) -> Frames:
        said = evaluate(self, structures, **options)
        return said.with_labels(said.energy, 1.001 * np.asarray(said.forces), said.stress)

    monkeypatch.setattr(type(painn), "evaluate", slightly_wrong)
    assert "forces are not" in gradients(frames, painn, name="diamond Si").flaws[0]
