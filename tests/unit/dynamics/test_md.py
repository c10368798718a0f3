"""Dynamics that is written as it goes: continued bit for bit, refused where it is another run, right on average."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import read

from distill.base.errors import UserError
from distill.cli import main
from distill.dynamics.course import BROKEN, Course, Dynamics
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.md import drift, run_md
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials import POTENTIALS
from distill.potentials.interface.saving import save
from distill.simulation import md

ENSEMBLES = [
    Ensemble("nve"),
    Ensemble("nvt"),
    Ensemble("nvt", thermostat="bussi", programme=((0.03, 500.0), (0.06, 500.0), (0.06, 300.0))),
    Ensemble("npt", pressure=1.0, barostat_fs=200, programme=((0.05, 900.0),)),
    Ensemble("npt", barostat="full", barostat_fs=200),
]
COURSE = Course(ps=0.12, timestep_fs=2.0, save_every_fs=4.0, checkpoint_ps=0.02)


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.05, seed=1)
    return atoms


def painn() -> Any:
    """A small network as it is drawn: its forces are smooth, whatever they mean."""
    row = POTENTIALS["painn"]
    return row.build(row.Settings(channels=8, layers=1, cutoff=4.0), seed=0).eval()


class Killed(BaseException):
    """What ends a run at once, as a kill does."""


class Mortal:
    """A calculator that ends the run at its n-th calculation.

    Args:
        calculator: that works until then.
        n: calculations.
    """

    def __init__(self, calculator: Calculator, n: int) -> None:
        self._calculator, self._left = calculator, n
        original = calculator.calculate

        def calculate(*arguments: Any, **options: Any) -> None:
            self._left -= 1
            if self._left < 0:
                raise Killed
            original(*arguments, **options)

        calculator.calculate = calculate  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calculator, name)


def arrays(folder: Path) -> list[dict[str, np.ndarray]]:
    return list(TrajectoryFolder(folder).parts())


def same(one: Path, other: Path) -> bool:
    pairs = list(zip(arrays(one), arrays(other), strict=True))
    return bool(pairs) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in pairs
    )


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda e: "-".join(map(str, e.as_data().values())))
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, ensemble: Ensemble) -> None:
    run_md(copper(), EMT(), ensemble, COURSE, tmp_path / "whole")
    for n in (1, 7, 23, 24, 38, 200):
        try:
            run_md(copper(), Mortal(EMT(), n), ensemble, COURSE, tmp_path / "killed")
        except Killed:
            continue
    done = run_md(copper(), EMT(), ensemble, COURSE, tmp_path / "killed")
    assert done.steps == COURSE.steps == 60 and not done.broke
    assert same(tmp_path / "whole", tmp_path / "killed")
    steps = TrajectoryFolder(tmp_path / "killed").column("step")
    assert steps.tolist() == list(range(0, 61, 2))


def test_a_network_with_a_list_of_neighbours_goes_on_bit_for_bit_too(tmp_path: Path) -> None:
    network = painn()
    run_md(copper(), network.calculator(), ENSEMBLES[1], COURSE, tmp_path / "whole")
    for n in (5, 13, 21):
        with pytest.raises(Killed):
            run_md(copper(), Mortal(network.calculator(), n), ENSEMBLES[1], COURSE, tmp_path / "killed")
    run_md(copper(), network.calculator(), ENSEMBLES[1], COURSE, tmp_path / "killed")
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_a_longer_time_continues_and_another_run_is_refused(tmp_path: Path) -> None:
    short = Course(ps=0.04, timestep_fs=2.0, save_every_fs=4.0, checkpoint_ps=0.02)
    run_md(copper(), EMT(), ENSEMBLES[1], short, tmp_path)
    first = arrays(tmp_path)
    again = run_md(copper(), EMT(), ENSEMBLES[1], short, tmp_path)
    assert again.ms_per_step is None and again.steps == 20
    run_md(copper(), EMT(), ENSEMBLES[1], COURSE, tmp_path)
    assert all(np.array_equal(a["positions"], b["positions"]) for a, b in zip(first, arrays(tmp_path), strict=False))
    assert TrajectoryFolder(tmp_path).column("step")[-1] == 60
    with pytest.raises(UserError, match=r"has another run \(ensemble .*Name another folder"):
        run_md(copper(), EMT(), ENSEMBLES[2], COURSE, tmp_path)
    with pytest.raises(UserError, match=r"has another run \(positions"):
        run_md(bulk("Cu", cubic=True).repeat(2), EMT(), ENSEMBLES[1], COURSE, tmp_path)


class Springs(Calculator):
    """Each atom on a spring of its own, eV/Å², to where it was put."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, sites: np.ndarray, stiffness: float) -> None:
        super().__init__()
        self.sites, self.stiffness = sites, stiffness

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.sites
        self.results = {"energy": 0.5 * self.stiffness * (away**2).sum(), "forces": -self.stiffness * away}


def einstein(n: int = 216) -> tuple[Atoms, np.ndarray]:
    sites = 5.0 * np.array(np.unravel_index(np.arange(n), (6, 6, 6))).T
    return Atoms("Ar" * n, sites), sites


@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_averages_of_an_einstein_crystal_are_those_of_the_canonical_ensemble(tmp_path: Path, thermostat: Any) -> None:
    atoms, sites = einstein()
    stiffness, kelvin = 1.0, 100.0
    course = Course(ps=12, timestep_fs=10.0, save_every_fs=200.0, checkpoint_ps=3)
    ensemble = Ensemble("nvt", kelvin, thermostat, thermostat_fs=200)
    done = run_md(atoms, Springs(sites, stiffness), ensemble, course, tmp_path)
    positions = done.trajectory.column("positions")[10:]
    # equipartition: <x²> = kT / k for each of 648 coordinates; samples are farther apart than the friction's time
    square = float(((positions - sites) ** 2).mean())
    n = positions.size / (4 if thermostat == "bussi" else 1)  # Bussi's thermostat couples the energy alone
    expected = units.kB * kelvin / stiffness
    assert abs(square / expected - 1) < 4 * np.sqrt(2 / n) + 0.03  # the start has no potential energy
    temperature = done.trajectory.column("temperature")[10:]
    assert abs(temperature.mean() / kelvin - 1) < 4 * np.sqrt(2 / (648 * len(temperature) / 4)) + 0.02


def test_temperatures_follow_their_programme(tmp_path: Path) -> None:
    """A ramp and a step; the thermostat is quick, so that atoms on springs are as hot as it is, to a few kelvin."""
    atoms, sites = einstein()
    ensemble = Ensemble(
        "nvt", 100.0, thermostat_fs=40, programme=((2.0, 100.0), (2.0, 300.0), (4.0, 300.0), (8.0, 500.0))
    )
    assert [ensemble.temperature_at(ps) for ps in (0, 1.9, 2.1, 4, 6, 9)] == [100, 100, 300, 300, 400, 500]
    done = run_md(atoms, Springs(sites, 1.0), ensemble, Course(ps=10, timestep_fs=10.0, save_every_fs=100.0), tmp_path)
    time, temperature = done.trajectory.column("step") / 100, done.trajectory.column("temperature")
    for begin, end in ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10)):
        inside = (time > begin) & (time < end - 0.05)
        wanted = np.array([ensemble.temperature_at(ps) for ps in time[inside]])
        # 648 components, samples that are nearly independent; a ramp of 50 K/ps is followed 2 K late
        assert abs((temperature[inside] / wanted).mean() - 1) < 5 * np.sqrt(2 / 648 / inside.sum()) + 0.02


def test_the_energy_is_conserved_without_a_thermostat(tmp_path: Path) -> None:
    done = run_md(copper(), EMT(), Ensemble("nve", 300.0), Course(ps=1, timestep_fs=4, save_every_fs=8), tmp_path)
    of = done.trajectory.column
    total = of("energy") + of("kinetic_energy")
    assert drift(total, of("kinetic_energy"), 4 * of("step")) < 0.2
    assert total.std() < 0.02 * of("kinetic_energy").std()
    assert np.allclose(of("positions").mean(axis=1), of("positions")[0].mean(axis=0), atol=1e-4)  # nothing drifts


@pytest.mark.slow
def test_pressure_is_kept_and_the_shape_of_an_isotropic_cell(tmp_path: Path) -> None:
    atoms, course = bulk("Cu", cubic=True).repeat((1, 1, 2)), Course(ps=4, timestep_fs=5, save_every_fs=20)
    done = run_md(atoms, EMT(), Ensemble("npt", 300.0, pressure=10.0, barostat_fs=200), course, tmp_path)
    cells, pressure = done.trajectory.column("cell"), done.trajectory.column("pressure")[50:]
    blocks = pressure[: len(pressure) // 5 * 5].reshape(5, -1).mean(axis=1)
    assert abs(pressure.mean() - 10.0) < 4 * blocks.std(ddof=1) / np.sqrt(5) + 0.3
    ratios = cells / np.linalg.norm(cells, axis=(1, 2), keepdims=True)
    assert np.allclose(ratios, ratios[0]) and np.linalg.det(cells[-1]) < np.linalg.det(cells[0])


def test_a_run_that_breaks_says_when_keeps_the_last_frames_and_stays_broken(tmp_path: Path) -> None:
    atoms, sites = einstein()
    broken = run_md(atoms, Springs(sites, -50.0), Ensemble("nve", 100.0), Course(ps=5, timestep_fs=10), tmp_path)
    assert broken.broke.startswith("at 0.") and "the temperature was" in broken.broke and broken.steps < 500
    assert len(read(tmp_path / BROKEN, ":")) == 2 and len(broken.trajectory.column("step")) > 1
    again = run_md(atoms, Springs(sites, -50.0), Ensemble("nve", 100.0), Course(ps=5, timestep_fs=10), tmp_path)
    assert isinstance(again, Dynamics) and again.broke == broken.broke


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"kind": "nvp"}, "unknown kind 'nvp'"),
        ({"temperature": -1.0}, "temperature must be positive, and is -1"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"programme": ((5.0, 300.0), (4.0, 300.0))}, "no programme of temperatures.*ascending times"),
        ({"programme": ((5.0, -3.0),)}, "no programme of temperatures"),
        ({"programme": (5.0, 300.0)}, "no programme of temperatures"),
        ({"kind": "nve", "programme": ((5.0, 400.0),)}, "nve has no thermostat"),
    ],
)
def test_what_is_no_ensemble_is_refused(held: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Ensemble(**held)


def test_npt_needs_a_crystal(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="periodic in three directions"):
        run_md(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]]), EMT(), ENSEMBLES[3], COURSE, tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run_md(copper(), EMT(), ENSEMBLES[0], COURSE, tmp_path)
    path = tmp_path / "part-00001.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"part-00001\.npz: is missing or damaged"):
        run_md(copper(), EMT(), ENSEMBLES[0], replace(COURSE, ps=0.2), tmp_path)


def test_from_the_command_line_and_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(painn(), tmp_path / "model", {})
    bulk("Cu", cubic=True).write("cu.cif")
    line = ["md", "model", "cu.cif", "--ps", "0.02", "--save-every-fs", "4", "--repeat", "2", "1", "1", "--out", "run"]
    assert main(line) == 0 and "20 steps" in capsys.readouterr().out
    assert main(line) == 0 and "nothing to do" in capsys.readouterr().out
    assert main(["trajectory", "run", "run.xyz", "--every", "2"]) == 0
    frames = read("run.xyz", ":")
    assert [frame.info["time_fs"] for frame in frames] == [0.0, 8.0, 16.0] and len(frames[0]) == 8
    assert np.allclose(frames[2].positions, TrajectoryFolder(Path("run")).column("positions")[4])
    assert main(["md", "model", "cu.cif", "--ps", "1", "--ensemble", "nve", "--out", "run"]) == 2
    assert "has another run" in capsys.readouterr().err
    assert main(["md", "model", "cu.cif", "--ps", "1", "--programme", "1:400", "--ensemble", "nve"]) == 2
    assert "nve has no thermostat" in capsys.readouterr().err
    assert main(["md", "model", "nothing.cif", "--ps", "1"]) == 2
    assert "nothing.cif: there is no such file" in capsys.readouterr().err
    assert main(["md", "model", "cu.cif", "--ps", "1", "--repeat", "0", "1", "1"]) == 2


class Free(Calculator):
    """No forces, and no stress."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=(), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_a_crystal_runs_with_a_calculator_without_stress(tmp_path):
    run = md(Free(), copper(), ps=0.02, ensemble="nve", save_every_fs=4, out=tmp_path / "run")
    path = run.trajectory.column("positions")
    assert path[-1] - path[0] == pytest.approx(len(path[1:]) * (path[1] - path[0]), abs=1e-4)  # single precision
    with pytest.raises(KeyError):
        run.trajectory.column("pressure")
    with pytest.raises(UserError, match="predicts no stress, which npt needs"):
        md(Free(), copper(), ps=0.02, ensemble="npt", out=tmp_path / "npt")
