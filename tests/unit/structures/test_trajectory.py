"""Snapshots of real dynamics (copper, EMT): neighbours in time are found across sets, independent ones are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from distill.structures.checks.finding import FileFrames
from distill.structures.checks.sets import check_leakage
from distill.structures.divide import complete_splits
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.trajectory import find_neighbours

SILICON = Path(__file__).parents[3] / "data" / "silicon"


@pytest.fixture(scope="module")
def copper() -> Frames:
    """120 snapshots of 32 atoms at 600 K, 15 fs apart, after 300 fs."""
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = EMT()
    rng = np.random.RandomState(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1200, rng=rng)
    dynamics = Langevin(atoms, 5 * units.fs, temperature_K=600, friction=0.02 / units.fs, rng=rng)
    dynamics.run(60)
    snapshots = []
    for _ in range(120):
        dynamics.run(3)
        snapshots.append(atoms.copy())
    return Frames.from_atoms(snapshots)


def test_a_trajectory_split_at_random(copper: Frames) -> None:
    """Whatever the order of the files: a shuffled file has the same neighbours."""
    order = np.random.default_rng(1).permutation(120)
    train, test = copper[order[:80]], copper[order[80:]]
    pairs, distances = find_neighbours(train, test)
    assert len(pairs) > 25 and distances.max() < 0.3
    assert np.abs(order[:80][pairs[:, 0]] - order[80:][pairs[:, 1]]).max() <= 2
    (finding,) = check_leakage(FileFrames(train, "a"), FileFrames(test, "b"))
    assert (finding.severity, finding.kind, finding.where) == ("warning", "trajectory-leakage", "b")
    assert finding.frames == tuple(pairs[:, 1].tolist())


def test_drawn_parts_of_a_trajectory_keep_a_gap(copper: Frames) -> None:
    """No structure that is learnt from is the neighbour in time of one that judges; few are given up for it."""
    frames = copper[:60]
    for seed in range(3):
        files, sentences = complete_splits({"train": FileFrames(frames, "x")}, {"valid": 0.2, "test": 0.2}, seed)
        assert not any(check_leakage(a, b) for a, b in combinations(files.values(), 2))
        assert all(len(files[name].frames) >= 4 for name in ("valid", "test")) and len(files["train"].frames) >= 20
        places = {name: file.place(range(len(file.frames))) for name, file in files.items()}
        left_out = 60 - sum(map(len, places.values()))
        assert left_out > 0 and f"{left_out} structures are left out" in sentences[-1]
        assert min(abs(a - b) for a in places["train"] for b in (*places["valid"], *places["test"])) > 1


def test_a_trajectory_split_in_blocks(copper: Frames) -> None:
    """Halves with a gap between them are independent; without the gap only the two at the cut are neighbours."""
    assert len(find_neighbours(copper[:50], copper[70:])[0]) == 0
    pairs, _ = find_neighbours(copper[:60], copper[60:])
    assert 1 <= len(pairs) <= 2 and pairs[0].tolist() == [59, 0]


def test_snapshots_far_apart_in_time(copper: Frames) -> None:
    """150 fs, more than half a period of the slowest vibration, is far."""
    assert len(find_neighbours(copper[::20], copper[10::20])[0]) == 0


def test_rattled_crystals_are_not_a_trajectory(thermal: Callable[..., Frames]) -> None:
    """Small displacements of one crystal lie close to each other without being related."""
    for spread in (0.02, 0.05, 0.1):
        assert len(find_neighbours(thermal(20, spread=spread), thermal(10, seed=1, spread=spread))[0]) == 0


def test_shipped_splits() -> None:
    """Snapshots of silicon at least 100 fs apart, and rattled cells, as random splits."""
    sets = {name: read_frames(SILICON / f"{name}.xyz")[0] for name in ("train", "valid", "test")}
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert len(find_neighbours(sets[a], sets[b])[0]) == 0


def test_other_atoms_and_families_are_not_compared(copper: Frames) -> None:
    even, odd = copper[::2], copper[1::2]
    assert len(find_neighbours(even, odd)[0]) > 25
    named = odd.with_info(config_type=["other"] * len(odd))
    assert len(find_neighbours(even, named)[0]) == 0
    silver = replace(odd, numbers=np.full(len(odd.numbers), 47))
    assert len(find_neighbours(even, silver)[0]) == 0
    assert len(find_neighbours(even[:2], odd[:2])[0]) == 0  # too few to know the common mean
