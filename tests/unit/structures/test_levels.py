"""Two levels of theory in one set are told apart, and high energies are not taken for another level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.potentials import POTENTIALS
from distill.structures.check import check_files, check_levels
from distill.structures.checks.finding import FileFrames
from distill.structures.checks.units import Predict
from distill.structures.frames import Frames, concatenate
from distill.structures.levels import mixed_levels
from distill.structures.read import LabelSource, read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"


@pytest.fixture(scope="module")
def silicon() -> Frames:
    return read_frames(SILICON / "train.xyz")[0]


@pytest.fixture(scope="module")
def predict() -> Predict:
    row = POTENTIALS["chgnet-0.3"]
    return row.build(row.Settings(), seed=0).evaluate  # type: ignore[no-any-return]


def shifted(frames: Frames, chosen: list[int], offset: float) -> Frames:
    """Return the frames with some energies at another level of theory, ``offset`` eV/atom away."""
    energy = np.array(frames.energy)
    energy[chosen] += offset * frames.n_atoms[chosen]
    return replace(frames, energy=energy)


@pytest.mark.parametrize("offset", [-7900.0, 2.5])
def test_two_levels(offset: float, silicon: Frames, predict: Predict) -> None:
    data = FileFrames(shifted(silicon, [3, 17], offset), "x")
    for judge in (None, predict):
        (finding,) = check_levels([data], judge)
        assert (finding.severity, finding.kind, finding.frames) == ("warning", "mixed-levels", (3, 17))
    assert check_levels([FileFrames(silicon, "x")]) == []


def test_one_file_of_another_level(silicon: Frames, predict: Predict) -> None:
    """All of it, so that nothing within a file is wrong; the unit is found too."""
    hartree = replace(silicon, energy=np.array(silicon.energy) / 27.2114)
    test = read_frames(SILICON / "test.xyz")[0]
    files = {"train": FileFrames(hartree, "a"), "test": FileFrames(test, "b")}
    sources = dict.fromkeys(files, LabelSource("energy", "forces", "stress"))
    kinds = {(f.kind, f.where): f.severity for f in check_files(files, sources, None, "chgnet-0.3", predict)}
    assert kinds["mixed-levels", "a"] == "warning" and kinds["energy-unit", "a"] == "error"
    assert ("energy-unit", "b") not in kinds


def test_high_energies_that_structures_explain(silicon: Frames, predict: Predict) -> None:
    """A crystal compressed to half its volume, labelled by CHGNet itself, is 4 eV/atom above the others."""
    crystal = Frames.from_atoms([bulk("Si", a=5.43 * scale).repeat(2) for scale in (1.0, 1.01, 0.99, 0.98, 0.77)])
    labelled = predict(crystal)
    assert np.ptp(labelled.energy_per_atom) > 1
    data = FileFrames(labelled, "x")
    assert [f.frames for f in check_levels([data])] == [(4,)]
    assert check_levels([data], predict) == []


def test_groups_are_divided_at_gaps(silicon: Frames) -> None:
    """A wide range without a gap is one level; compositions do not mix."""
    frames = concatenate([silicon[:6], replace(silicon[:2], numbers=np.full(32, 32))])
    assert mixed_levels(frames, np.array([0, 0.9, 1.8, 2.7, 3.6, 4.5, -50, -50])).tolist() == []
    assert mixed_levels(frames, np.array([0, 0.1, 0.2, 1.3, 5.0, 0.1, -50, -52])).tolist() == [3, 4, 6]
