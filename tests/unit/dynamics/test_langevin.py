"""Langevin dynamics: the bath's temperature, samples where they are asked for, and the ends of runs that break."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, FixCartesian

from distill.base.errors import UserError
from distill.base.progress import Phase, Progress, Record
from distill.dynamics.langevin import EXPLODED, Trajectory, is_sane, run_langevin
from distill.structures.guard import UnphysicalResult

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


def run(calculator: Calculator | None = None, atoms: Atoms = CRYSTAL, **changes: object) -> Trajectory:
    how: dict = {"temperature": 300.0, "steps": 20, "timestep_fs": 2.0, "friction_per_ps": 20.0, "sample_every": 5}
    return run_langevin(atoms, calculator or Springs(CRYSTAL), **how | {"rng": np.random.default_rng(0)} | changes)


def fixed(kind: str) -> Atoms:
    """The crystal, whole or with some of its components held."""
    atoms = CRYSTAL.copy()
    if kind != "free":
        atoms.set_constraint([FixAtoms([0, 1, 2, 3]), FixCartesian([4], (True, False, True))])
    return atoms


@pytest.mark.parametrize(("kind", "freedom"), [("free", 24), ("fixed", 10)])
def test_the_temperature_is_canonical(kind: str, freedom: int) -> None:
    """Equipartition: each free component has kT/2 of either kind, and the kinetic energy fluctuates as chi² does."""
    assert fixed(kind).get_number_of_degrees_of_freedom() == freedom
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # ASE says so where the ensemble would not be canonical
        found = run(atoms=fixed(kind), steps=2_000, timestep_fs=5.0, sample_every=10, friction_per_ps=40.0)
    settled = found.time_fs > 500
    temperature = found.temperature[settled] / 300  # 190 samples
    # A velocity forgets within 1/friction (25 fs), a kinetic energy, its square, within half of that: samples 50 fs
    # apart are independent, each with a variance of 2/f. Steps of 5 fs shift the mean by (ω dt)²/12 < 0.2 %.
    assert abs(temperature.mean() - 1) < 4 * np.sqrt(2 / freedom / len(temperature))
    # The variance of a variance from n independent samples of chi² with f degrees: (2 + 12 / f) / n relative.
    spread = np.sqrt((2 + 12 / freedom) / len(temperature))
    assert temperature.var() == pytest.approx(2 / freedom, rel=4 * spread)
    # A potential energy forgets more slowly: blocks of 500 fs, 17 times the 29 fs of friction / (2 ω²), say its error.
    potential = found.potential_energy[settled] / (0.5 * units.kB * 300 * freedom)
    blocks = potential.reshape(-1, 10).mean(axis=1)
    assert abs(potential.mean() - 1) < 4 * blocks.std(ddof=1) / np.sqrt(len(blocks))


def test_what_is_fixed_does_not_move_and_nothing_but_fixed_atoms_is_refused() -> None:
    atoms = fixed("fixed")
    found = run(atoms=atoms).frames.positions.reshape(-1, 8, 3)
    assert np.array_equal(found[-1][:4], CRYSTAL.positions[:4])
    assert np.array_equal(found[-1][4] == CRYSTAL.positions[4], [True, False, True])
    assert (found[-1][5:] != CRYSTAL.positions[5:]).all()
    atoms.set_constraint(FixAtoms(range(8)))
    with pytest.raises(UserError, match="every atom is fixed"):
        run(atoms=atoms)


class BreaksAt(Springs):
    """Refuses a structure once an atom has moved so far, as the calculator of a potential does."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        if not np.isfinite(self.results["energy"]):
            raise UnphysicalResult("energy, forces or stress are not finite")


def test_a_calculator_that_refuses_ends_the_run_and_loses_nothing() -> None:
    plain = run(Springs(CRYSTAL, breaks=0.02), steps=1000, sample_every=1)
    found = run(BreaksAt(CRYSTAL, breaks=0.02), steps=1000, sample_every=1)
    assert not plain.broke and found.broke.endswith("energy, forces or stress are not finite")
    assert np.array_equal(found.potential_energy[:-1], plain.potential_energy[:-1])
    assert np.isnan(found.potential_energy[-1]) and np.isnan(found.temperature[-1])
    at_once = run(BreaksAt(CRYSTAL, breaks=-1.0))
    assert at_once.time_fs.tolist() == [0.0] and np.isnan(at_once.potential_energy).all() and at_once.broke


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
