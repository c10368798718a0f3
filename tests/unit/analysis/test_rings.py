"""Rings of crystals, where they are known, and of what has none."""

from __future__ import annotations

import sys

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.analysis.rings import bond_rings, hydrogen_bond_rings
from distill.base.errors import UserError
from distill.structures.frames import Frames

ROUNDING = 1e-12


def sizes(**rings: float) -> list[float]:
    """Rings over atoms from 3 to 10, as ``r6=2``."""
    return [rings.get(f"r{n}", 0.0) for n in range(3, 11)]


def test_networks_whose_rings_are_known(ice_ih, ice_ic, quartz):
    """Diamond and both ices have two six-rings an atom, quartz a six-ring and five eight-rings a silicon."""
    six = pytest.approx(sizes(r6=2), abs=ROUNDING)
    diamond = Frames.from_atoms([bulk("Si", a=5.43), bulk("Si", a=5.43, cubic=True)])  # of two atoms, and of eight
    assert bond_rings(diamond, radius=2.6, longest=10).per_atom == pytest.approx(np.array(2 * [sizes(r6=2)]))
    for ice in (ice_ih, ice_ic):
        assert hydrogen_bond_rings(Frames.from_atoms([ice]), longest=10).mean == six
        assert bond_rings(Frames.from_atoms([ice]), "O", radius=3.0, longest=10).mean == six
    silica = bond_rings(Frames.from_atoms([quartz]), "Si", radius=3.6, longest=10)
    assert silica.mean == pytest.approx(sizes(r6=1, r8=5), abs=ROUNDING)
    assert silica.sizes.tolist() == list(range(3, 11))


def test_what_closes_through_the_boundary_is_no_ring():
    chain = Atoms("C6", [[1.5 * k, 0, 0] for k in range(6)], cell=[9, 10, 10], pbc=True)
    wire = Atoms("C", cell=[1.5, 0, 0], pbc=(True, False, False))
    assert not bond_rings(Frames.from_atoms([chain, wire]), radius=1.6).per_atom.any()


def test_molecules_have_theirs_and_what_has_no_bonds_none():
    frames = Frames.from_atoms([molecule("C6H6"), molecule("C3H6_D3h"), Atoms("C")])
    found = bond_rings(frames, "C", radius=1.6, longest=10).per_atom
    assert found == pytest.approx(np.array([sizes(r6=1 / 6), sizes(r3=1 / 3), sizes()]))


def test_every_ring_is_found_up_to_the_longest_and_no_other():
    """Random networks, against all closed paths of which no two atoms have a shorter way between them."""
    rng = np.random.default_rng(0)
    for longest in range(4, 9):
        atoms = Atoms("C14", rng.random((14, 3)) * [6, 6, 1])
        graph = nx.from_numpy_array(atoms.get_all_distances() < 2.2)
        graph.remove_edges_from(nx.selfloop_edges(graph))
        ways = dict(nx.all_pairs_shortest_path_length(graph))
        known = np.zeros(longest + 1)
        for ring in nx.simple_cycles(graph, length_bound=longest):
            pairs = [(a, b) for a in range(len(ring)) for b in range(a)]
            known[len(ring)] += all(ways[ring[a]][ring[b]] == min(a - b, len(ring) - a + b) for a, b in pairs)
        found = bond_rings(Frames.from_atoms([atoms]), radius=2.2, longest=longest)
        assert found.mean * 14 == pytest.approx(known[3:], abs=ROUNDING)


@pytest.mark.parametrize("size", range(3, 13))
def test_a_ring_is_found_where_it_is_the_longest(size):
    angles = 2 * np.pi * np.arange(size) / size
    corners = 0.75 / np.sin(np.pi / size) * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    found = bond_rings(Frames.from_atoms([Atoms(f"C{size}", corners)]), radius=1.6, longest=size).mean
    assert found.tolist() == (size - 3) * [0] + [1 / size]


def test_unwrapped_and_shuffled_atoms_change_nothing(ice_ih):
    rng = np.random.default_rng(0)
    moved = ice_ih[rng.permutation(len(ice_ih))]
    moved.positions += rng.integers(-2, 3, (len(moved), 3)) @ moved.cell.array
    both = hydrogen_bond_rings(Frames.from_atoms([ice_ih, moved]), longest=8).per_atom
    assert both[0] == pytest.approx(both[1], abs=ROUNDING)


def test_too_much_is_refused_before_it_is_done(monkeypatch):
    silicon = Frames.from_atoms([bulk("Si", cubic=True)])
    with pytest.raises(UserError, match="with 39304 atoms"):
        bond_rings(silicon, radius=2.6, longest=64)
    with pytest.raises(UserError, match="at least 3 bonds"):
        bond_rings(silicon, radius=2.6, longest=2)
    monkeypatch.setitem(sys.modules, "matscipy.ffi", None)
    with pytest.raises(UserError, match=r"pip install 'mlip-distill\[physics\]'"):
        bond_rings(silicon, radius=2.6)
