"""Batches gathered from a dataset are those of the same structures by themselves, and cached neighbours those found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from distill.potentials import POTENTIALS
from distill.potentials.interface import neighbour_cache
from distill.potentials.interface.batch import half_neighbour_list
from distill.potentials.interface.neighbour_cache import cached_neighbour_list
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames


@pytest.mark.parametrize(
    ("name", "settings"), [("painn", {}), ("chgnet-0.3", {}), ("eddp", {"elements": ["Si", "H", "O"]})]
)
def test_any_selection_is_the_batch_of_those_structures(name: str, settings: dict, frames: Frames) -> None:
    potential: Potential = POTENTIALS[name].create(POTENTIALS[name].Settings(**settings))
    data = potential.prepare(frames)
    for chosen in ([2, 0], [1, 3, 1], [3]):
        batch, alone = data.select(np.array(chosen)), potential.batch(frames[chosen])
        assert torch.equal(batch.numbers, alone.numbers) and torch.equal(batch.structure, alone.structure)
        for one, other in zip(potential(batch), potential(alone), strict=True):
            # sums in another order, single precision
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4, equal_nan=True)


def test_labels_are_counted_and_travel(painn: Potential, silicon: Atoms, water: Atoms) -> None:
    frames = Frames.from_atoms([silicon, water, silicon])
    rng = np.random.default_rng(0)
    labelled = frames.with_labels(
        rng.normal(size=3), rng.normal(size=(len(frames.numbers), 3)), rng.normal(size=(3, 3, 3))
    )
    data = painn.prepare(labelled)
    chosen = np.array([1, 2])
    assert data.counts(chosen) == {"energy": 2, "forces": 3 * (3 + 16), "virial": 9}  # a molecule has no stress
    batch = data.select(chosen)
    assert batch.energy is not None and batch.forces is not None and batch.stress is not None
    assert labelled.energy is not None and labelled.forces is not None
    assert batch.energy.tolist() == labelled.energy[1:].tolist()
    np.testing.assert_allclose(batch.forces.numpy(), labelled.forces[16:], rtol=1e-6)
    assert torch.isnan(batch.stress[0]).all() and torch.isfinite(batch.stress[1]).all()


def test_a_label_that_one_structure_lacks_is_left_out(painn: Potential, silicon: Atoms) -> None:
    data = painn.prepare(Frames.from_atoms([silicon]))
    assert data.counts(np.array([0])) == {}
    assert data.collate().energy is None


def crystal(n: int) -> Frames:
    rng = np.random.default_rng(n)
    atoms = bulk("Si", cubic=True) * (2, 2, 1)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return Frames.from_atoms([atoms] * 3)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, for lists of any size."""
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    monkeypatch.setattr(neighbour_cache, "MANY_ATOMS", 1)
    return tmp_path / "neighbours"


def test_neighbours_from_disk_are_those_found(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, cutoff = crystal(0), 5.0
    expected = half_neighbour_list(frames, cutoff)
    for fails in (False, True):
        if fails:  # the second time they are read, not found
            monkeypatch.delattr(neighbour_cache, "half_neighbour_list")
        pairs, shifts = cached_neighbour_list(frames, cutoff)
        assert np.array_equal(pairs, expected[0]) and np.array_equal(shifts, expected[1])
        assert pairs.dtype == expected[0].dtype


def test_other_content_has_another_list(kept: Path) -> None:
    for frames, cutoff in ((crystal(0), 5.0), (crystal(1), 5.0), (crystal(0), 4.0)):
        expected = half_neighbour_list(frames, cutoff)
        assert np.array_equal(cached_neighbour_list(frames, cutoff)[0], expected[0])
    assert len(list(kept.iterdir())) == 3


def test_a_damaged_list_is_made_again(kept: Path) -> None:
    frames = crystal(0)
    expected = cached_neighbour_list(frames, 5.0)
    file = next(kept.iterdir())
    for content in (b"", b"no list", file.read_bytes()[:200]):
        file.write_bytes(content)
        assert np.array_equal(cached_neighbour_list(frames, 5.0)[0], expected[0])


def test_lists_not_used_for_longest_make_room(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_neighbour_list(crystal(0), 5.0)
    first = next(kept.iterdir())
    monkeypatch.setattr(neighbour_cache, "LIMIT", int(2.5 * first.stat().st_size))
    import os

    os.utime(first, (1, 1))
    cached_neighbour_list(crystal(1), 5.0)
    assert first.exists()
    cached_neighbour_list(crystal(2), 5.0)
    assert not first.exists() and len(list(kept.iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(neighbour_cache, "MANY_ATOMS", 1)
    frames = crystal(0)
    assert np.array_equal(cached_neighbour_list(frames, 5.0)[0], half_neighbour_list(frames, 5.0)[0])
