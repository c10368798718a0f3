"""Many small structures at once: the same numbers as one by one, and a large file in bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.base.errors import UserError
from distill.structures import duplicates, stacks
from distill.structures.checks.geometry import closest_atoms, largest_gaps
from distill.structures.checks.lengths import NEIGHBOURED, nearest_ratios
from distill.structures.duplicates import NEAR, SAME, close_pairs
from distill.structures.frames import Frames
from distill.structures.read import read_frames

DISTANCE = 1e-9
"""Å and ratios: rounding of coordinates of some ten Å, added up in another order."""


def zoo() -> Frames:
    """Return molecules, crystals in wide, narrow and skewed cells, and slabs, rattled; some atoms lie on others."""
    skewed = bulk("Cu").repeat((4, 4, 4))
    wide = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=[12, 13, 14], pbc=True)
    across = Atoms("CO", [[0.2, 0, 0], [11.4, 0, 0]], cell=[12, 13, 14], pbc=True)
    far = Atoms("N2", [[0, 0, 0], [0, 0, 9]])
    kinds = [molecule("H2O"), molecule("CH3CH2OH"), skewed, wide, across, far, bulk("Si"), bulk("Na").repeat(3)]
    kinds += [fcc111("Al", (2, 2, 3), vacuum=6.0), Atoms("He"), Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])]
    rng = np.random.default_rng(0)
    structures = []
    for atoms in kinds * 4:
        moved = atoms.copy()
        moved.positions += rng.normal(0, 0.2, moved.positions.shape)
        if moved.pbc.all():
            moved.positions += rng.integers(-2, 3, moved.positions.shape) @ moved.cell.array  # wrapped otherwise
        structures.append(moved)
    return Frames.from_atoms(structures)


def test_what_is_found_together_is_found_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = zoo()
    together = [*closest_atoms(frames), _within_reach(nearest_ratios(frames))]
    monkeypatch.setattr(stacks, "FEW", 0)
    for one, other in zip(together, [*closest_atoms(frames), _within_reach(nearest_ratios(frames))], strict=True):
        assert one == pytest.approx(other, abs=DISTANCE)
    assert np.isfinite(together[0]).any() and np.isinf(together[0]).any()


def _within_reach(ratios: np.ndarray) -> np.ndarray:
    """Return ratios that a list of neighbours has too; all pairs of a molecule are known beyond."""
    return np.where(ratios > NEIGHBOURED[1], np.inf, ratios)


def test_gaps_are_those_of_each_structure_alone() -> None:
    frames = zoo()
    assert largest_gaps(frames) == pytest.approx([largest_gaps(one)[0] for one in frames], abs=DISTANCE)
    slab = Frames.from_atoms([Atoms("Cu2", [[0, 0, 1], [0, 0, 3]], cell=[2, 2, 10], pbc=True)])
    assert largest_gaps(slab)[0] == pytest.approx(8.0, abs=DISTANCE)


def waters(number: int, seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    molecules = [molecule("H2O") for _ in range(number)]
    for atoms in molecules:
        atoms.positions += rng.normal(0, 0.2, (3, 3))
    return molecules


def test_in_large_sets_the_same_duplicates_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are shifted, rounded or have their atoms in another order."""
    structures = waters(300)
    for k in range(0, 300, 10):
        copied = structures[k].copy()[[0, 2, 1] if k % 20 else [0, 1, 2]]
        copied.positions = np.round(copied.positions + np.array([0.5, -1.0, 2.0]), 4)
        structures.append(copied)
    frames = Frames.from_atoms(structures)
    pairs, distances = close_pairs(frames)
    monkeypatch.setattr(duplicates, "WHOLE", 50)
    some, apart = close_pairs(frames, nearest=8)
    planted = [[k, 300 + k // 10] for k in range(0, 300, 10)]
    assert pairs[distances < SAME].tolist() == some[apart < SAME].tolist() == planted
    assert {tuple(pair) for pair in some.tolist()} <= {tuple(pair) for pair in pairs.tolist()}


def write(path: Path, number: int, broken: dict[int, str]) -> None:
    """Write water molecules with labels as text; the last line of some frames is another."""
    rng = np.random.default_rng(1)
    lines = []
    for k in range(number):
        rows = [f"{s} {' '.join(f'{x:.3f}' for x in rng.normal(0, 1, 6))}" for s in "OHH"]
        rows[-1] = broken.get(k, rows[-1])
        lines += ["3", f"Properties=species:S:1:pos:R:3:forces:R:3 energy={rng.normal():.3f}", *rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({2500: "H 0 0 0 0 0"}, r"frame 2500 \(counted from 0\), line 12505, key 'forces': 6 columns where"),
        ({2500: "H 0 0 x 0 0 0"}, r"frame 2500 \(counted from 0\), line 12505, key 'pos': 'x' is not a number"),
        ({2500: "H 0 0 nan 0 0 0"}, r"frame 2500 \(counted from 0\), line 12505, key 'pos': not finite"),
        ({2500: "Qq 0 0 0 0 0 0"}, r"frame 2500 \(counted from 0\), line 12505, key 'species'"),
        ({2500: "H 0 0 0 0 0", 2600: "H"}, "frame 2500 "),
        ({2500: "H 0 0 0 0 0", 2999: "H 0 0 0 0 0 0\n7"}, "frame 2500 "),
    ],
)
def test_what_is_wrong_in_a_long_file_is_said_of_its_frame(tmp_path: Path, broken: dict[int, str], said: str) -> None:
    write(tmp_path / "long.xyz", 3000, broken)
    with pytest.raises(UserError, match=said):
        read_frames(tmp_path / "long.xyz")


def test_numbers_of_other_writers_are_read_in_a_long_file(tmp_path: Path) -> None:
    """Fortran's exponents and missing forces make a table irregular; the others stay what they are."""
    write(tmp_path / "plain.xyz", 1500, {})
    write(tmp_path / "odd.xyz", 1500, {700: "H 1.0D+00 0 0 nan nan nan"})
    plain, odd = read_frames(tmp_path / "plain.xyz")[0], read_frames(tmp_path / "odd.xyz")[0]
    assert odd.positions[2102].tolist() == [1, 0, 0] and np.isnan(odd.forces[2102]).all()
    others = np.arange(4500) != 2102
    assert np.array_equal(plain.positions[others], odd.positions[others])
    assert np.array_equal(plain.forces[others], odd.forces[others])


def test_many_structures_are_compared_in_bounded_memory() -> None:
    """All with all would be 400 MB at once for these; what is kept of each is its fingerprint, of 500 bytes."""
    rng = np.random.default_rng(0)
    positions = np.tile(molecule("H2O").positions, (20_000, 1)) + rng.normal(0, 0.2, (60_000, 3))
    numbers, none = np.tile([8, 1, 1], 20_000), np.zeros((20_000, 3))
    frames = Frames(np.full(20_000, 3), numbers, positions, np.zeros((20_000, 3, 3)), none)
    tracemalloc.start()
    pairs, distances = close_pairs(frames, nearest=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
    assert len(pairs) > 0 and (distances < NEAR).all()
