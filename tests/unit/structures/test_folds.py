"""Folds: everything is held out once where that can be, in whole groups, and no fold lacks an element."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.structures.folds import divide_into_folds
from distill.structures.frames import Frames
from distill.structures.split import neighbour_groups


def thermal(families: dict[str, int], element: str = "Si") -> Frames:
    """Rattled cells of each family, one after the other, none like another."""
    rng, structures = np.random.default_rng(0), []
    for name, number in families.items():
        for _ in range(number):
            atoms = bulk(element, "diamond", a=5.43, cubic=True)
            atoms.positions += rng.normal(0, 0.3, atoms.positions.shape)
            atoms.info["config_type"] = name
            structures.append(atoms)
    return Frames.from_atoms(structures)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=3), st.integers(2, 6), st.integers(0, 99))
def test_every_structure_is_held_out_once_with_its_whole_group(sizes: list[int], most: int, seed: int) -> None:
    frames = thermal({f"family {k}": size for k, size in enumerate(sizes)})
    groups, folds = neighbour_groups(frames), divide_into_folds(frames, most, seed)
    number = len(np.unique(groups))
    if number < 2:
        assert folds == []
        return
    assert len(folds) == min(most, number)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(frames)))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(frames)), fold)
        assert not set(groups[fold]) & set(groups[rest])
    again = divide_into_folds(frames, most, seed)
    assert all(np.array_equal(one, other) for one, other in zip(folds, again, strict=True))


def test_every_family_is_in_every_fold_where_it_has_the_groups() -> None:
    frames = thermal({"strained": 12, "liquid": 12, "thermal": 12})
    for fold in divide_into_folds(frames, 3, 0):
        kept, counts = np.unique(np.array(frames.labels("config_type"))[fold], return_counts=True)
        assert len(kept) == 3 and counts.tolist() == [4, 4, 4]


@pytest.mark.parametrize("owners", [1, 2])
def test_no_fold_lacks_an_element(owners: int) -> None:
    """Of two groups with germanium, both may be held out, never together."""
    silicon, germanium = thermal({"a": 12}).to_atoms(), thermal({"b": 2 * owners}, "Ge").to_atoms()
    frames = Frames.from_atoms([*silicon, *germanium])
    for fold in divide_into_folds(frames, 2, 3):
        assert len(fold)
        assert frames[np.setdiff1d(np.arange(len(frames)), fold)].elements == (14, 32)


def test_one_group_cannot_be_divided() -> None:
    assert divide_into_folds(Frames.from_atoms([Atoms("H")] * 5), 3, 0) == []
