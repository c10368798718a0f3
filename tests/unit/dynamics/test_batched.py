"""Replicas in a batch: the same alone, among others and after a kill; lists that hold; averages that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import distill
from distill.base.errors import UserError
from distill.base.random import stream
from distill.cli import main
from distill.dynamics.batched import run_batch
from distill.dynamics.batched_steps import ReplicaSteps
from distill.dynamics.counted_noise import WORD, CountedNoise, philox
from distill.dynamics.course import BROKEN, Course, Dynamics, first_velocities
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.md import drift, run_md
from distill.dynamics.replica import at_the_end
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import Batch, distances, half_neighbour_list
from distill.potentials.interface.image_search import ImageSearch
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.replica_forces import ReplicaForces, UnphysicalReplica, takes_whole_lists
from distill.potentials.interface.saving import save
from distill.structures.frames import Frames

NVE, LANGEVIN, BUSSI = Ensemble("nve", 600), Ensemble("nvt", 600), Ensemble("nvt", 600, "bussi")
COURSE = Course(ps=0.056, timestep_fs=2.0, save_every_fs=14.0, checkpoint_ps=0.03)
"""Samples are 7 steps apart: blocks of two lengths."""


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.05, seed=1)
    return atoms


def painn() -> Potential:
    """A small network as it is drawn, in double precision."""
    row = POTENTIALS["painn"]
    built: Potential = row.build(row.Settings(channels=8, layers=1, cutoff=4.0), seed=0)
    return built.eval().double()


class Springs(Potential):
    """Pairs within the cutoff on springs of no length; beyond ``breaks_at`` the energy is not a number.

    Args:
        stiffness: eV/Å².
        breaks_at: Å.
    """

    def __init__(self, stiffness: float, breaks_at: float = 1e9) -> None:
        super().__init__(6.0, learn_reference_energies=False)
        self.stiffness, self.breaks_at = stiffness, breaks_at

    @property
    def dtype(self) -> torch.dtype:
        """Double precision: there are no weights."""
        return torch.float64

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return half of the energy of its springs for each atom."""
        squares = batch.vectors().square().sum(1)
        energies = torch.where(squares < self.breaks_at**2, 0.25 * self.stiffness * squares, torch.nan)
        i, j = batch.edges
        return energies.new_zeros(len(batch.numbers)).index_add(0, i, energies).index_add(0, j, energies)


def dimers(n: int) -> Atoms:
    """Return ``n`` pairs of argon atoms, far from each other."""
    sites = np.arange(n)[:, None] * np.array([40.0, 0.0, 0.0])
    return Atoms("Ar" * 2 * n, np.stack([sites, sites + np.array([0.0, 0.1, 0.0])], axis=1).reshape(-1, 3))


def values(done: Dynamics, name: str) -> Any:
    return done.trajectory.column(name)


def run(ensemble: Ensemble, folders: Sequence[Path], seeds: Sequence[int], **options: Any) -> list[Dynamics]:
    return run_batch(copper(), painn(), ensemble, COURSE, folders, seeds=seeds, **options)


def test_random_words_are_those_of_the_published_generator() -> None:
    """The known answers are those that its authors give with their code (Random123, kat_vectors)."""
    pi = ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
    known = {
        ((0,) * 4, (0,) * 2): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ((WORD,) * 4, (WORD,) * 2): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        pi: (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    }
    for (counter, key), expected in known.items():
        words = philox(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))  # type: ignore[arg-type]
        assert tuple(map(int, words)) == expected


def test_noise_is_normal_and_depends_on_seed_step_and_atom_alone() -> None:
    make: Callable[..., Tensor] = lambda *seeds: CountedNoise(seeds, 50, torch.device("cpu")).normals(0, 200)  # noqa: E731
    several = make(5, 6, 7)
    assert torch.equal(several[:, 1:2], make(6)) and torch.equal(several[:, [2, 0]], make(7, 5))
    later = CountedNoise((5, 6, 7), 50, torch.device("cpu")).normals(17, 1)
    assert torch.allclose(later[0], several[17], rtol=1e-14, atol=0)
    n = several.numel()  # 90 000: moments are known to 5 standard errors, whatever the seed
    assert abs(float(several.mean())) < 5 / np.sqrt(n)
    assert abs(float(several.square().mean()) - 1) < 5 * np.sqrt(2 / n)
    assert abs(float(several.pow(4).mean()) - 3) < 5 * np.sqrt(96 / n)
    series = several.permute(1, 3, 0, 2).reshape(9, -1)  # replicas and components know nothing of each other
    assert float((series @ series.T / series.shape[1] - torch.eye(9)).abs().max()) < 0.06


def test_without_a_thermostat_it_is_the_trajectory_of_ase(tmp_path: Path) -> None:
    course = Course(ps=0.1, timestep_fs=2.0, save_every_fs=2.0, checkpoint_ps=0.04, velocities=True)
    ours = run_batch(copper(), painn(), NVE, course, [tmp_path / "ours"], seeds=[course.seed])[0]
    theirs = run_md(copper(), painn().calculator(), NVE, course, tmp_path / "theirs")
    assert ours.steps == theirs.steps == 50
    for name in ("step", "positions", "velocities", "energy", "kinetic_energy", "temperature", "pressure"):
        scale = np.abs(values(theirs, name)).max()
        assert np.allclose(values(ours, name), values(theirs, name), rtol=0, atol=1e-7 * scale), name  # float32 samples
    assert np.allclose(values(ours, "energy"), values(theirs, "energy"), rtol=0, atol=1e-11)
    total = values(ours, "energy") + values(ours, "kinetic_energy")
    assert drift(total, values(ours, "kinetic_energy"), 2.0 * values(ours, "step")) < 0.3


class Bends(Springs):
    """Springs between next neighbours, which are found with the pairs, once for a batch."""

    def add_features(self, batch: Batch) -> Batch:
        """Add the pairs whose energy counts."""
        batch.extra = {"short": (batch.vectors().square().sum(1) < 3.0**2).nonzero().squeeze(1)}
        return batch

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the energy of the springs at the first of their atoms."""
        squares = batch.vectors()[batch.extra["short"]].square().sum(1)
        energies = self.stiffness * (9.0 - squares).square() / 36
        return energies.new_zeros(len(batch.numbers)).index_add(0, batch.edges[0][batch.extra["short"]], energies)


def test_a_network_that_needs_more_than_pairs_is_given_it_at_every_step(tmp_path: Path) -> None:
    course = Course(ps=0.04, timestep_fs=2.0, save_every_fs=4.0, seed=1)
    theirs = run_md(copper(), Bends(1.0).calculator(), NVE, course, tmp_path / "theirs")
    ours = run_batch(copper(), Bends(1.0), NVE, course, [tmp_path / "a", tmp_path / "b"], seeds=[1, 2], together=2)[0]
    assert not takes_whole_lists(Bends(1.0), [29], 1.0)
    for name in ("energy", "kinetic_energy", "pressure"):
        assert np.allclose(values(ours, name), values(theirs, name), rtol=1e-10, atol=1e-10), name
    assert np.ptp(values(ours, "energy")) > 0.01


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("ensemble", [LANGEVIN, BUSSI], ids=["langevin", "bussi"])
def test_a_replica_is_the_same_alone_and_among_others(tmp_path: Path, ensemble: Ensemble, together: int) -> None:
    """On a processor one at a time to the last bit; in one pass to the rounding of matrix products of another size."""
    (alone,) = run(ensemble, [tmp_path / "alone"], [13])
    names = [tmp_path / str(seed) for seed in (12, 13, 14)]
    several = run(ensemble, names[::-1], [14, 13, 12], together=together)
    for name in ("positions", "energy", "kinetic_energy", "pressure"):
        one, same = values(alone, name), values(several[1], name)
        assert np.array_equal(one, same) if together == 1 else np.allclose(one, same, rtol=1e-6, atol=1e-9)
        assert not np.allclose(one, values(several[0], name), rtol=1e-6)


class Killed(BaseException):
    """What ends a run at once, as a kill does."""


def mortal(n: int) -> Potential:
    """Return the network, which ends the run at its n-th pass."""
    network, left = painn(), [n]
    original = network.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return original(*arguments, **options)

    network.forward = forward  # type: ignore[method-assign]
    return network


@pytest.mark.parametrize("ensemble", [LANGEVIN, BUSSI], ids=["langevin", "bussi"])
def test_killed_replicas_go_on_bit_for_bit(tmp_path: Path, ensemble: Ensemble) -> None:
    whole = run(ensemble, [tmp_path / "a", tmp_path / "b"], [1, 2])
    killed = [tmp_path / "c", tmp_path / "d"]
    for n in (1, 9, 25, 20):
        with pytest.raises(Killed):
            run_batch(copper(), mortal(n), ensemble, COURSE, killed, seeds=[1, 2])
    steps = [int(state["step"]) if (state := TrajectoryFolder(one).state()) else 0 for one in killed]
    assert max(steps) > 0
    again = run(ensemble, killed[::-1], [2, 1])[::-1]
    for one, other in zip(whole, again, strict=True):
        assert other.steps == COURSE.steps == 28
        for name in ("step", "positions", "energy", "pressure"):
            assert np.array_equal(values(one, name), values(other, name))
    assert all(one.ms_per_step is None for one in run(ensemble, killed, [1, 2]))


def test_a_replica_that_a_kill_left_behind_catches_up_with_the_others(tmp_path: Path) -> None:
    short = Course(ps=0.03, timestep_fs=2.0, save_every_fs=14.0, checkpoint_ps=0.03)
    run_batch(copper(), painn(), LANGEVIN, short, [tmp_path / "ahead"], seeds=[1])
    run_batch(copper(), painn(), LANGEVIN, COURSE, [tmp_path / "behind", tmp_path / "ahead"], seeds=[2, 1], together=2)
    for seed, name in ((1, "ahead"), (2, "behind")):
        (alone,) = run(LANGEVIN, [tmp_path / f"{name} alone"], [seed])
        assert np.allclose(TrajectoryFolder(tmp_path / name).column("positions"), values(alone, "positions"), atol=1e-5)


@pytest.mark.parametrize("together", [1, 2])
def test_lists_hold_however_fast_atoms_are(tmp_path: Path, together: int) -> None:
    """With a thin skin atoms leave their lists within a block, which is done again; with a thick one they never do."""
    atoms = molecule("CH4", vacuum=3.0, pbc=True)
    course = Course(ps=0.02, timestep_fs=0.5, save_every_fs=5.0, checkpoint_ps=0.015)
    found = {}
    for skin in (0.1, 3.0):
        folders = [tmp_path / f"{skin} {k}" for k in range(2)]
        ensembles = [Ensemble("nvt", kelvin) for kelvin in (300.0, 9000.0)]
        done = run_batch(atoms, painn(), ensembles, course, folders, seeds=[1, 2], skin=skin, together=together)
        assert not any(one.broke for one in done)
        found[skin] = [values(one, "energy") for one in done]
    assert np.allclose(found[0.1], found[3.0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
def test_lists_by_images_have_the_pairs_of_the_other_search(pbc: tuple[int, int, int]) -> None:
    """Oblique cells shorter than the reach, atoms that left theirs long ago; some of the cells at a time."""
    rng, reach = np.random.default_rng(0), 5.5
    cells = np.diag([3.0, 4.0, 5.0]) + 0.6 * rng.normal(size=(3, 3, 3))
    frames = Frames.from_atoms([Atoms("H5", rng.uniform(-20, 20, (5, 3)), cell=cell, pbc=pbc) for cell in cells])
    search, which = ImageSearch(frames.cells, frames.pbc, reach, torch.device("cpu")), torch.tensor([2, 0])
    positions = torch.tensor(frames.positions).view(3, 5, 3)[which]
    anchored = positions - search.anchors(positions, which)
    of_cell, (i, j), shifts, squares = search.pairs(anchored, which)
    translations = (shifts.unsqueeze(1) @ torch.tensor(frames.cells)[which][of_cell]).squeeze(1)
    vectors = anchored[of_cell, j] - anchored[of_cell, i] + translations
    assert torch.allclose(vectors.square().sum(1), squares)
    for number, k in enumerate(which.tolist()):
        edges, taken = half_neighbour_list(frames[k], reach)
        expected = np.sort(distances(frames[k], edges, taken))
        assert np.allclose(np.sort(squares[of_cell == number].sqrt()), expected, rtol=0, atol=1e-12)


def test_averages_of_springs_are_those_of_the_canonical_ensemble(tmp_path: Path) -> None:
    """BAOAB samples positions on springs without an error of the step: here velocity Verlet is a quarter off."""
    kelvin, stiffness = (100.0, 200.0), 0.5
    course = Course(ps=12.6, timestep_fs=60.0, save_every_fs=420.0, checkpoint_ps=100)
    folders = [tmp_path / str(k) for k in range(4)]
    ensembles = [Ensemble("nvt", kelvin[k % 2], thermostat_fs=150) for k in range(4)]
    done = run_batch(dimers(48), Springs(stiffness), ensembles, course, folders, together=4)
    found = []
    for k, one in enumerate(done):
        bonds = np.diff(values(one, "positions").reshape(-1, 48, 2, 3)[5:], axis=2)
        found.append(np.square(bonds) * stiffness / (units.kB * kelvin[k % 2]))
    for one in (np.concatenate(found), found[0], found[1]):  # a square is forgotten but for 6 % until the next sample
        assert abs(one.mean() - 1) < 5 * np.sqrt(2.3 / one.size), one.mean()


def test_velocity_rescaling_gives_kinetic_energies_their_canonical_spread(tmp_path: Path) -> None:
    """Free atoms, whose kinetic energy is forgotten but for 5 % from step to step."""
    course = Course(ps=9, timestep_fs=150.0, save_every_fs=150.0, checkpoint_ps=100)
    bussi = Ensemble("nvt", 100.0, "bussi", thermostat_fs=50)
    folders = [tmp_path / str(k) for k in range(16)]
    done = run_batch(dimers(8), Springs(0.0), bussi, course, folders, together=16, skin=60.0)
    kinetic = np.stack([values(one, "kinetic_energy")[3:] for one in done]) / (units.kB * 100.0)
    n, degrees = kinetic.size / 1.1, 48  # a gamma distribution of shape 24
    assert abs(kinetic.mean() - degrees / 2) < 5 * np.sqrt(degrees / 2 / n)
    assert abs(kinetic.var() / (degrees / 2) - 1) < 5 * np.sqrt(2.3 / n)


def test_a_programme_of_temperatures_is_followed_like_the_temperatures_themselves(tmp_path: Path) -> None:
    """With steps at samples, the same bits as runs that begin where others end: noise depends on the step alone."""
    course = Course(ps=0.028, timestep_fs=2.0, save_every_fs=14.0, checkpoint_ps=0.014)
    cold, hot = Ensemble("nvt", 300.0), Ensemble("nvt", 900.0)
    programme = replace(cold, programme=((0.014, 300.0), (0.014, 900.0)))
    (whole,) = run_batch(copper(), painn(), programme, course, [tmp_path / "whole"], seeds=[1])
    forces = ReplicaForces(painn(), Frames.from_atoms([copper()]), 0.5, whole=False)
    fixed, masses = np.zeros((1, 32, 3), dtype=bool), copper().get_masses()[None]
    start = copper()
    first_velocities(start, 300.0, stream(1, "dynamics"))
    x, v = start.positions[None], start.get_velocities()[None]
    for step, held in ((0, cold), (7, hot)):
        steps = ReplicaSteps(forces, masses, fixed, [held], [1], 2.0)
        state = steps.advance(steps.begin(step, x, v), 7)
        x, v = state.positions.numpy(), state.velocities.numpy()
    assert np.array_equal(values(whole, "positions")[-1], x[0].astype(np.float32))
    assert values(whole, "energy")[-1] == float(state.energy)


def test_a_replica_that_breaks_ends_alone(tmp_path: Path) -> None:
    course = Course(ps=2, timestep_fs=10.0, save_every_fs=50.0, checkpoint_ps=0.5)
    folders = [tmp_path / str(k) for k in range(3)]
    ensembles = [Ensemble("nve", kelvin) for kelvin in (50.0, 3000.0, 50.0)]
    options: dict[str, Any] = {"seeds": [1, 2, 3], "together": 3}
    done = run_batch(dimers(4), Springs(0.5, breaks_at=0.9), ensembles, course, folders, **options)
    assert [bool(one.broke) for one in done] == [False, True, False]
    assert "after 0." in done[1].broke and "not finite" in done[1].broke and done[1].steps < course.steps
    assert len(read(folders[1] / BROKEN, ":")) == 2
    for k in (0, 2):
        (alone,) = run_batch(dimers(4), Springs(0.5), ensembles[k], course, [tmp_path / f"a{k}"], seeds=[k + 1])
        assert np.allclose(values(done[k], "positions"), values(alone, "positions"), atol=1e-5)
    again = run_batch(dimers(4), Springs(0.5, breaks_at=0.9), ensembles, course, folders, **options)
    assert [one.broke for one in again] == [one.broke for one in done]


def test_fixed_components_stay_and_do_not_count(tmp_path: Path) -> None:
    from ase.constraints import FixAtoms, FixCartesian

    atoms = copper()
    atoms.set_constraint([FixAtoms([0, 1]), FixCartesian([5], mask=(True, False, False))])
    for ensemble in (LANGEVIN, BUSSI):
        (done,) = run_batch(atoms, painn(), ensemble, COURSE, [tmp_path / ensemble.thermostat])
        moved = np.ptp(values(done, "positions"), axis=0) > 0
        assert not moved[:2].any() and moved[5].tolist() == [False, True, True] and moved[6:].all()
        kinetic, temperature = (values(done, name) for name in ("kinetic_energy", "temperature"))
        assert np.allclose(2 * kinetic / units.kB / temperature, 3 * 32 - 7)


def test_velocities_that_are_there_are_kept(tmp_path: Path) -> None:
    (first,) = run(NVE, [tmp_path / "first"], [1])
    atoms = at_the_end(first.trajectory, copper())
    (second,) = run_batch(atoms, painn(), NVE, COURSE, [tmp_path / "second"], keep_velocities=True)
    assert np.isclose(values(second, "kinetic_energy")[0], values(first, "kinetic_energy")[-1], rtol=1e-12)
    atoms.set_velocities(-atoms.get_velocities())
    with pytest.raises(UserError, match=r"has another run \(momenta"):
        run_batch(atoms, painn(), NVE, COURSE, [tmp_path / "second"], keep_velocities=True)


def test_networks_are_asked_whether_they_see_beyond_the_cutoff() -> None:
    assert takes_whole_lists(painn(), [29, 8], 1.0)
    assert not takes_whole_lists(Springs(1.0), [18], 1.0)
    chgnet = POTENTIALS["chgnet-0.3"]
    assert not takes_whole_lists(chgnet.build(chgnet.Settings(), seed=0).eval(), [14], 0.5)  # it needs angles


def test_whole_lists_and_pairs_that_fill_up_give_the_same_function() -> None:
    """What is recorded on a GPU reads pairs from one place, where new ones take that of old ones."""
    network, atoms = painn(), copper()
    frames = Frames.from_atoms([atoms, atoms])
    rng = np.random.default_rng(0)
    near = ReplicaForces(network, frames, 1.0, whole=False)
    others = [
        ReplicaForces(network, frames, 1.0, whole=True, by_images=True, padded=padded) for padded in (False, True)
    ]
    forces, places = others[1], set()
    for amplitude in (0.0, 0.2, 0.6, 0.1):
        positions = torch.tensor(frames.positions + amplitude * rng.normal(size=frames.positions.shape)).view(2, -1, 3)
        for one in (near, *others):
            one.relist(positions, [0, 1])
        places.add((forces._batch.edges.data_ptr(), forces._batch.shifts.data_ptr()))
        for stress in (False, True):
            expected = near(positions, stress)
            for other in others:
                for found, wanted in zip(other(positions, stress), expected, strict=True):
                    if wanted is not None:
                        assert torch.allclose(found, wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()))
    assert 1 <= len(places) == forces.layouts < 4
    for place, what in ((torch.nan, "not finite"), (positions[1, 5], "atoms 5 and 7 .* are at one place")):
        positions[1, 7] = place
        with pytest.raises(UnphysicalReplica, match=f"replica 1: .*{what}"):
            forces.relist(positions, [0, 1])


@pytest.mark.slow  # the import of the tracer takes most of it
def test_a_recorded_step_stays_the_step_when_lists_and_temperatures_change() -> None:
    """A trace keeps memory and operations as a CUDA graph does; it cannot be made of what waits for numbers."""
    row = POTENTIALS["painn"]
    network = row.build(row.Settings(channels=8, layers=1, cutoff=4.0, short_range_repulsion=False), 0).eval().double()
    ensembles = [Ensemble("nvt", 300, programme=((0.1, 900),)), BUSSI, NVE]
    forces = ReplicaForces(network, Frames.from_atoms([copper()] * 3), 1.0, whole=True, by_images=True, padded=True)
    masses, fixed = np.tile(copper().get_masses(), (3, 1)), np.zeros((3, 32, 3), dtype=bool)
    steps = ReplicaSteps(forces, masses, fixed, ensembles, [1, 2, 3], 2.0)
    velocities = 0.05 * np.random.default_rng(0).normal(size=(3, 32, 3))
    state, layout, kept = steps.begin(0, np.stack([copper().positions] * 3), velocities), -1, 0
    for _ in range(6):
        state, lists = steps.advance(state, 7), forces.lists_built
        farthest, noise = torch.zeros(3, dtype=torch.float64), steps._draw(state.step, 1)[0]
        inputs = (state.positions, state.velocities, state.forces, noise, farthest)
        if forces.layouts != layout:
            layout, recorded, traced_at = forces.layouts, make_fx(partial(steps._step, True))(*inputs), lists
        for found, expected in zip(recorded(*inputs), steps._step(True, *inputs), strict=True):
            assert torch.equal(found, expected)
        kept = max(kept, lists - traced_at)
    assert kept > 2  # lists that were made after the trace


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ensembles": Ensemble("npt")}, "constant volume.*Use nvt"),
        ({"folders": ["a", "a"]}, "a folder of its own"),
        ({"seeds": [1]}, "2 folders and 1 seeds"),
        ({"together": 0}, "together must be positive, and is 0"),
        ({"skin": -0.5}, "skin must be positive, and is -0.5"),
        ({"atoms": [copper(), copper()[::-1][:31]]}, "the same atoms"),
    ],
)
def test_what_is_no_batch_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    given = {
        "atoms": copper(),
        "potential": painn(),
        "ensembles": NVE,
        "course": COURSE,
        "folders": ["a", "b"],
    } | options
    given["folders"] = [tmp_path / name for name in given["folders"]]
    with pytest.raises(UserError, match=said):
        run_batch(**given)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_another_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run_md(copper(), painn().calculator(), NVE, COURSE, tmp_path / "ase")
    with pytest.raises(UserError, match=r"has another run \(engine ase -> batched"):
        run(NVE, [tmp_path / "new", tmp_path / "ase"], [1, COURSE.seed])
    assert not (tmp_path / "new").exists()


def test_replicas_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(painn(), tmp_path / "model", {})
    bulk("Cu", cubic=True).write("cu.cif")
    line = ["md", "model", "cu.cif", "--ps", "0.02", "--out", "run", "--temperature", "300", "400", "--replicas"]
    assert main([*line, "1"]) == 0 and capsys.readouterr().out.count("20 steps") == 2
    first = TrajectoryFolder(Path("run/400K-0")).column("energy")
    assert main([*line, "2", "--together", "3"]) == 0 and capsys.readouterr().out.count("nothing to do") == 2
    assert sorted(path.name for path in Path("run").iterdir()) == ["300K-0", "300K-1", "400K-0", "400K-1"]
    assert np.array_equal(first, TrajectoryFolder(Path("run/400K-0")).column("energy"))
    assert main(line[:-1]) == 2 and "Add --replicas" in capsys.readouterr().err
    assert main([*line, "0"]) == 2 and "replicas is 0" in capsys.readouterr().err
    assert main([*line, "2", "--ensemble", "nve"]) == 2 and "has another run" in capsys.readouterr().err
    assert main([*line, "2", "--ensemble", "npt", "--together", "2"]) == 2
    assert "run one by one" in capsys.readouterr().err


def test_what_is_no_network_runs_its_replicas_one_by_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {"ps": 0.02, "out": tmp_path, "timestep_fs": 4.0}
    done = distill.md_replicas(EMT(), copper(), replicas=2, **options)
    energies = [values(one, "energy") for one in done]
    assert len(energies[0]) == 2 and energies[0][0] == energies[1][0] and energies[0][1] != energies[1][1]
    with pytest.raises(UserError, match="has another run"):
        distill.md_replicas(EMT(), copper(), replicas=3, **options | {"timestep_fs": 5.0})
    assert not (tmp_path / "300K-2").exists()
