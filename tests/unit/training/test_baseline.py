"""The model without a network that every fit has to beat, on labels for which its errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from distill.structures.frames import Frames
from distill.training.baseline import energy_spread, no_better_than_nothing
from distill.training.curve import FitResult, Point


def labelled(left: list[float], force: float) -> Frames:
    """Silicon and germanium, whose energies are those of the elements and ``left``, eV/atom; forces of one size."""
    structures: list[Atoms] = [bulk("Si"), bulk("Ge", cubic=True), bulk("Si", cubic=True), bulk("Ge")]
    frames = Frames.from_atoms(structures)
    elements = np.array([-5.0, -4.0, -5.0, -4.0])
    forces = force * np.where(np.arange(3 * len(frames.numbers)) % 2, 1, -1).reshape(-1, 3)
    return frames.with_labels(frames.n_atoms * (elements + left), forces, None)


def ended(energy: float, forces: float) -> FitResult:
    """A fit whose kept state has these errors, after a better row that was not kept."""
    kept = Point(10, 0.1, 0.1, energy, forces, np.nan, 1e-3, 1.0)
    return FitResult(curve=[Point(5, 0.1, 0.05, 0.0, 0.0, np.nan, 1e-3, 0.5), kept], kept=kept)


TRAIN = labelled([0.0, 0.0, 0.0, 0.0], 1.0)
VALID = labelled([0.03, -0.01, 0.02, 0.02], 0.5)


def test_energies_of_the_elements_come_from_the_training_structures() -> None:
    assert energy_spread(TRAIN, VALID) == pytest.approx(0.02, rel=1e-9)
    assert energy_spread(TRAIN, TRAIN) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("energy", "forces", "said"),
    [
        (0.019, 0.49, []),
        (0.021, 0.49, ["wrong by 21.0 meV/atom, those of the elements alone by 20.0"]),
        (0.019, 0.51, ["wrong by 510 meV/Å and their own mean size is 500"]),
        (0.021, 0.51, ["21.0 meV/atom", "510 meV/Å"]),
        (np.nan, 0.49, []),
    ],
)
def test_what_is_wrong_by_more_is_said(energy: float, forces: float, said: list[str]) -> None:
    found = no_better_than_nothing(ended(energy, forces), TRAIN, VALID)
    assert len(found) == len(said) and all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_energies_that_do_not_count_are_left_out() -> None:
    result, counted = ended(0.015, 0.1), np.array([False, True, False, False])
    assert no_better_than_nothing(result, TRAIN, VALID) == []
    assert "the elements alone by 10.0" in no_better_than_nothing(result, TRAIN, VALID, counted)[0]
    assert no_better_than_nothing(result, TRAIN, VALID, np.zeros(4, dtype=bool)) == []


def test_labels_that_are_absent_and_fits_without_a_result_say_nothing() -> None:
    bare = VALID.with_labels(VALID.energy, None, None)
    assert len(no_better_than_nothing(ended(0.1, 9.0), TRAIN, bare)) == 1
    assert no_better_than_nothing(FitResult("diverged"), TRAIN, VALID) == []
