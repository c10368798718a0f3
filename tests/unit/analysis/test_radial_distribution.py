"""g(r) and coordination numbers: lattices with known shells, an ideal gas, and supercells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.distance import cdist

from distill.analysis.radial_distribution import radial_distribution, relative_difference
from distill.base.errors import UserError
from distill.structures.frames import Frames

TRICLINIC = np.array([[11.0, 0, 0], [2.0, 12.0, 0], [1.0, -3.0, 13.0]])
ROUNDING = 1e-10


def between_shells(a: float, squares: list[int]) -> list[float]:
    """Radii between shells of neighbours at a sqrt(square)."""
    radii = a * np.sqrt(np.asarray(squares, dtype=float))
    return list((radii[1:] + radii[:-1]) / 2)


@pytest.mark.parametrize(
    ("crystal", "pair", "spacing", "squares", "neighbours"),
    [
        (bulk("Cu", "fcc", a=3.6), ("Cu", "Cu"), 3.6 / np.sqrt(2), [1, 2, 3, 4, 5], [12, 18, 42, 54]),
        (bulk("Si", "diamond", a=5.43), ("Si", "Si"), 5.43 / 4, [3, 8, 11, 16], [4, 16, 28]),
        (bulk("NaCl", "rocksalt", a=5.64), ("Na", "Cl"), 5.64 / 2, [1, 3, 5, 9], [6, 14, 38]),
        (bulk("NaCl", "rocksalt", a=5.64), ("Na", "Na"), 5.64 / 2, [2, 4, 6, 8, 10], [12, 18, 42, 54]),
    ],
)
def test_shells_of_crystals(crystal, pair, spacing, squares, neighbours):
    found = radial_distribution(Frames.from_atoms([crystal]), *pair, longest=10, width=0.01)
    assert [found.neighbours(r) for r in between_shells(spacing, squares)] == pytest.approx(neighbours, abs=ROUNDING)


def gas(rng, frames: int, counts: dict[str, int]) -> Frames:
    """Atoms without interaction in a triclinic cell."""
    symbols = [s for s, n in counts.items() for _ in range(n)]
    return Frames.from_atoms(
        Atoms(symbols, scaled_positions=rng.random((len(symbols), 3)), cell=TRICLINIC, pbc=True) for _ in range(frames)
    )


def test_an_ideal_gas_has_no_structure():
    """1 between two elements and 1 - 1/N within one, up to 1.3 times half of the cell, within 5 standard errors."""
    frames = gas(np.random.default_rng(0), 60, {"O": 12, "H": 50})
    for pair, density, known in ((("O", "H"), 50, 1.0), (("O", "O"), 12, 1 - 1 / 12), (("H", "H"), 50, 1 - 1 / 50)):
        found = radial_distribution(frames, *pair, longest=7, width=0.5)
        shells = 4 / 3 * np.pi * np.diff(np.append(0, found.outer) ** 3)
        centres = 60 * (12 if pair[0] == "O" else 50)
        expected = known * centres * density * shells / np.linalg.det(TRICLINIC) / (1 + (pair[0] == pair[1]))
        assert (np.abs(found.values / known - 1) < 5 / np.sqrt(expected)).all()


def test_a_cell_gives_what_its_supercell_gives():
    frames = gas(np.random.default_rng(1), 2, {"O": 3, "H": 5})
    larger = Frames.from_atoms(atoms.repeat((2, 1, 3)) for atoms in frames.to_atoms())
    for pair in (("O", "H"), ("H", "H"), (None, None), ("O", None)):
        small, large = (radial_distribution(f, *pair, longest=14, width=0.107) for f in (frames, larger))
        assert small.values == pytest.approx(large.values, abs=ROUNDING)
        assert small.coordination == pytest.approx(large.coordination, abs=ROUNDING)


def test_counts_agree_with_brute_force():
    frames = gas(np.random.default_rng(2), 1, {"O": 10, "H": 20})
    around = np.array(list(np.ndindex(3, 3, 3))) - 1
    images = (frames.positions[:, None] + around @ TRICLINIC).reshape(-1, 3)
    distances = cdist(frames.positions[:10], images[10 * 27 :])  # no image farther than one cell is within 9 Å
    found = radial_distribution(frames, "O", "H", longest=9, width=0.5)
    assert found.coordination * 10 == pytest.approx([(distances < r).sum() for r in found.outer], abs=ROUNDING)
    assert radial_distribution(frames, "H", "O", longest=9, width=0.5).values == pytest.approx(found.values)


def test_the_difference_of_two_functions():
    reference = np.array([0.0, 2.0, 1.0])
    assert relative_difference(reference, reference) == 0
    assert relative_difference(np.array([0.0, 1.0, 1.0]), reference) == pytest.approx(0.5)


def test_what_has_no_density_or_no_such_atom_is_refused():
    silicon = bulk("Si")
    with pytest.raises(UserError, match="no structure has an atom of O"):
        radial_distribution(Frames.from_atoms([silicon]), "O", "Si")
    with pytest.raises(UserError, match="no element 'Sl'"):
        radial_distribution(Frames.from_atoms([silicon]), "Sl")
    with pytest.raises(UserError, match="bins of 7 Å"):
        radial_distribution(Frames.from_atoms([silicon]), width=7)
    silicon.pbc = (True, True, False)
    with pytest.raises(UserError, match="periodic in all directions"):
        radial_distribution(Frames.from_atoms([silicon]))
