"""The shortest distances of pairs of elements, on structures whose distances are known."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from distill.structures.frames import Frames
from distill.training.ace.repulsion_distances import closer_than, shortest_distances


def line(symbols: str, *distances: float) -> Atoms:
    """Atoms on a line, without a cell."""
    return Atoms(symbols, positions=[[x, 0, 0] for x in np.cumsum([0.0, *distances])])


def test_dimers_count_only_where_nothing_else_shows_the_pair() -> None:
    frames = Frames.from_atoms([line("SiSi", 0.9), line("SiOSi", 1.6, 1.7), line("SiSiSi", 2.2, 2.5), line("OO", 1.1)])
    found = shortest_distances(frames, reach=3.0)
    assert set(found) == {"O Si", "Si Si", "O O"}
    assert np.allclose([found["Si Si"], found["O Si"], found["O O"]], [2.2, 1.6, 1.1], atol=1e-12)


def test_neighbours_in_other_cells_count() -> None:
    chain = Atoms("Si3", positions=[[0.1, 0, 0], [3, 0, 0], [6, 0, 0]], cell=[8.0, 20, 20], pbc=True)
    assert np.isclose(shortest_distances(Frames.from_atoms([chain]), 5.0)["Si Si"], 2.1)  # 6 to 8.1


def test_structures_with_closer_atoms_are_found() -> None:
    frames = Frames.from_atoms([line("SiSi", 0.9), line("SiSiSi", 2.2, 2.5), line("OO", 0.5), line("OSi", 2.0)])
    assert closer_than(frames, {"Si Si": 2.2, "O Si": 2.1}, 3.0).tolist() == [True, False, False, True]
    assert not closer_than(frames, {}, 3.0).any()
