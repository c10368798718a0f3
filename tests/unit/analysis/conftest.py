"""Crystals that several tests of this folder know the answer of."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from distill.analysis.bonds import within
from distill.structures.frames import Frames

BOND = 2.76
"""O-O in ice, Å."""
COVALENT = 0.97
"""O-H, Å."""


def ice(oxygen: Atoms) -> Atoms:
    """Ice on a lattice of oxygens with four neighbours each.

    An Eulerian circuit leaves every one as often as it enters it, so that hydrogens along it obey the rules of ice.
    """
    everything = np.ones(len(oxygen), dtype=bool)
    bonds = within(Frames.from_atoms([oxygen]), everything, 1.1 * BOND)
    assert (np.bincount(bonds.i) == 4).all()
    graph = nx.MultiGraph()
    twin = {tuple(row): k for k, row in enumerate(np.column_stack([bonds.i, bonds.j, bonds.translations]))}
    for k, (i, j, shift) in enumerate(zip(bonds.i, bonds.j, bonds.translations, strict=True)):
        if k < (other := twin[(j, i, *-shift)]):
            graph.add_edge(i, j, key=(k, other))
    hydrogens = []
    for i, _, (one, other) in nx.eulerian_circuit(graph, keys=True):
        bond = one if bonds.i[one] == i else other
        hydrogens.append(oxygen.positions[i] + COVALENT * bonds.vectors[bond] / bonds.lengths[bond])
    return oxygen + Atoms(f"H{len(hydrogens)}", hydrogens)


@pytest.fixture(scope="session")
def ice_ih() -> Atoms:
    """Hexagonal ice, 32 molecules."""
    a = BOND * np.sqrt(8 / 3)
    lattice = bulk("ZnO", "wurtzite", a=a, c=a * np.sqrt(8 / 3), u=3 / 8) * (2, 2, 2)
    lattice.symbols[:] = "O"
    return ice(lattice)


@pytest.fixture(scope="session")
def ice_ic() -> Atoms:
    """Cubic ice, 64 molecules."""
    return ice(bulk("O", "diamond", a=4 * BOND / np.sqrt(3), cubic=True) * 2)


@pytest.fixture(scope="session")
def quartz() -> Atoms:
    """Alpha quartz (G. A. Lager et al., J. Appl. Phys. 53, 6751 (1982))."""
    sites = [(0.4697, 0, 2 / 3), (0.4133, 0.2672, 0.7855)]
    return crystal(["Si", "O"], sites, spacegroup=154, cellpar=[4.916, 4.916, 5.4054, 90, 90, 120])
