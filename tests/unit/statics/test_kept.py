"""A killed task goes on: finished relaxations are read again, and a band begins where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from springs import EDGE, Springs

from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.barrier import barrier
from distill.statics.elastic import elastic
from distill.statics.kept import Relaxations, load_band


class Killed(Springs):
    """Springs that are killed at the calculation of this number."""

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.at, self.count = at, 0

    def calculate(self, *arguments: object, **options: object) -> None:
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt
        super().calculate(*arguments, **options)


def test_a_killed_task_does_no_relaxation_twice(tmp_path: Path) -> None:
    crystal, whole, rest = bulk("Cu", a=1.02 * EDGE, cubic=True), Killed(), Killed()
    crystal.rattle(0.05)  # so that most of the work is its first relaxation
    unbroken = elastic(crystal, GivenCalculator(whole), name="fcc Cu", work=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        elastic(crystal, GivenCalculator(Killed(at=whole.count * 3 // 4)), name="fcc Cu", work=tmp_path / "broken")
    found = elastic(crystal, GivenCalculator(rest), name="fcc Cu", work=tmp_path / "broken")
    assert found.arrays["stiffness"] == pytest.approx(np.array(unbroken.arrays["stiffness"]), rel=1e-12, abs=1e-9)
    assert rest.count < whole.count * 3 // 4  # of those before the kill only the one under way


def test_other_structures_and_failures_are_not_mixed_up(tmp_path: Path) -> None:
    calculator = GivenCalculator(Springs()).calculator()
    first, other = bulk("Cu", a=1.02 * EDGE), bulk("Cu", a=1.05 * EDGE)
    assert "not relaxed" in Relaxations(tmp_path)(first, calculator, cell=True, steps=0).why
    assert "not relaxed" in Relaxations(tmp_path)(first, calculator, cell=True).why  # as it was left
    assert not Relaxations(tmp_path)(other, calculator, cell=True).why


def test_a_band_goes_on_where_it_was(tmp_path: Path) -> None:
    crystal = bulk("Cu", a=3.61, cubic=True)
    start, end = crystal[1:], crystal[[0, 2, 3]]  # an atom hops into the hole at the corner
    short = barrier([start, end], GivenCalculator(EMT()), name="hop", images=3, steps=20, fmax=1e-3, work=tmp_path)
    assert "not relaxed after 20 steps" in short.quantities[0].why
    images = [start.copy() for _ in range(5)]
    assert load_band(tmp_path, images)
    again = barrier([start, end], GivenCalculator(EMT()), name="hop", images=3, steps=0, fmax=1e-3, work=tmp_path)
    assert again.arrays["path"] == pytest.approx(short.arrays["path"], abs=1e-9)
    assert not load_band(tmp_path, images[1:]) and not load_band(tmp_path / "none", images)
