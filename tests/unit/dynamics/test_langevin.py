"""Langevin dynamics: the bath's temperature, samples where they are asked for, and the ends of runs that break."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

from distill.base.progress import Phase, Progress, Record
from distill.dynamics.langevin import EXPLODED, Trajectory, is_sane, run_langevin

CRYSTAL = bulk("Si", cubic=True)


class Springs(Calculator):
    """Springs to the lattice sites, eV/Å²; energies are NaN once an atom is farther away than ``breaks``."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, sites: Atoms, stiffness: float = 2.0, breaks: float = np.inf) -> None:
        super().__init__()
        self.sites, self.stiffness, self.breaks = sites.positions.copy(), stiffness, breaks

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.sites
        energy = 0.5 * self.stiffness * np.sum(away**2)
        self.results = {
            "energy": energy if np.abs(away).max() < self.breaks else np.nan,
            "forces": -self.stiffness * away,
        }


def run(calculator: Calculator | None = None, **changes: object) -> Trajectory:
    how: dict = {"temperature": 300.0, "steps": 20, "timestep_fs": 2.0, "friction_per_ps": 20.0, "sample_every": 5}
    return run_langevin(CRYSTAL, calculator or Springs(CRYSTAL), **how | {"rng": np.random.default_rng(0)} | changes)


@pytest.mark.slow
def test_kinetic_and_potential_energies_are_those_of_the_bath() -> None:
    """Equipartition of 24 oscillators: each of them has kT/2 of either kind."""
    found = run(steps=6_000, sample_every=10, temperature=600.0)
    settled = found.time_fs > 500
    # friction of 20/ps over 11.5 ps: some 200 independent samples, each with a spread of sqrt(2 / 24): 10 % are five
    # standard errors; the centre of mass, an eighth of the freedom, does not move
    assert found.temperature[settled].mean() == pytest.approx(600, rel=0.2)
    half = 0.5 * units.kB * 600
    assert found.potential_energy[settled].mean() == pytest.approx(24 * half, rel=0.2)


def test_samples_are_taken_at_the_start_at_intervals_and_at_the_end() -> None:
    before = CRYSTAL.positions.copy()
    found = run(steps=12)
    assert found.time_fs.tolist() == [0.0, 10.0, 20.0, 24.0]
    assert len(found.frames) == 4 and np.array_equal(found.frames[0].positions, before)
    assert np.array_equal(CRYSTAL.positions, before) and CRYSTAL.calc is None
    assert found.potential_energy[0] == 0.0 and found.grade is None


def test_the_random_stream_decides() -> None:
    one, same = run(), run()
    assert np.array_equal(one.frames.positions, same.frames.positions)
    other = run(rng=np.random.default_rng(1))
    assert not np.array_equal(one.frames.positions, other.frames.positions)


def test_an_energy_that_is_not_finite_ends_the_run_and_is_kept() -> None:
    found = run(Springs(CRYSTAL, breaks=0.02), steps=1000)
    assert np.isnan(found.potential_energy[-1]) and np.isfinite(found.potential_energy[:-1]).all()
    assert found.time_fs[-1] < 2000


def test_a_run_that_heats_up_is_given_up() -> None:
    """Springs that push away instead of pulling back."""
    found = run(Springs(CRYSTAL, stiffness=-20.0), steps=10_000)
    assert found.temperature[-1] > EXPLODED * 300 and (found.temperature[:-1] < EXPLODED * 300).all()
    assert len(found.time_fs) < 100


def test_too_high_a_grade_ends_the_run() -> None:
    grades = iter([1.0, 2.0, 9.0, 1.0, 1.0])
    found = run(grade=lambda atoms: next(grades), max_grade=5.0)
    assert found.grade is not None and found.grade.tolist() == [1.0, 2.0, 9.0]


def test_progress_counts_steps() -> None:
    class Remembers(Progress):
        def __init__(self) -> None:
            self.done: list[float] = []

        def publish(self, record: Record, force: bool = False) -> None:
            self.done.append(record.done)

    progress = Remembers()
    with progress.phase("dynamics", 20, "step") as phase:
        assert isinstance(phase, Phase)
        run(phase=phase)
    assert progress.done[-1] == 20 and progress.done == sorted(progress.done)


@pytest.mark.parametrize(
    ("sample", "sane"),
    [
        ((0.0, 300.0, -1.0), True),
        ((0.0, 5999.0, -1.0), True),
        ((0.0, 6001.0, -1.0), False),
        ((0.0, 300.0, np.nan), False),
        ((0.0, np.inf, -1.0), False),
    ],
)
def test_what_lets_a_run_go_on(sample: tuple[float, float, float], sane: bool) -> None:
    assert is_sane(sample, 300.0) is sane
