"""The repulsion of nuclei: the published formula, smooth, and absent where atoms are bonded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.zbl import INNER, OUTER, ZBLRepulsion, switch
from distill.structures.frames import Frames


def repulsion(painn: Potential, atoms: Atoms) -> float:
    """Return the short-range repulsion of one structure, eV."""
    batch: Batch = painn.prepare(Frames.from_atoms([atoms])).collate()
    return float(ZBLRepulsion()(batch, batch.vectors()).sum())


@pytest.mark.parametrize(("symbols", "distance"), [("SiSi", 0.8), ("OH", 0.4), ("NaCl", 1.0)])
def test_is_the_universal_potential_below_the_inner_radius(painn: Potential, symbols: str, distance: float) -> None:
    pair = Atoms(symbols, positions=[[0, 0, 0], [distance, 0, 0]])
    z = pair.numbers.astype(float)
    assert distance < INNER * covalent_radii[pair.numbers].sum()
    x = distance / (0.8854 * 0.529177 / (z**0.23).sum())
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
    assert repulsion(painn, pair) == pytest.approx(14.399645 * z.prod() / distance * phi, rel=1e-5)  # single precision


def test_the_switch_is_twice_differentiable() -> None:
    for edge, value in ((INNER, 1.0), (OUTER, 0.0)):
        x = torch.tensor([edge - 1e-6, edge + 1e-6], dtype=torch.float64, requires_grad=True)
        y = switch(x)
        (derivative,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(derivative.sum(), x)
        # the third derivative is 60 / (OUTER − INNER)³ at most, so that 1e-6 away the second is below 0.005
        assert y.tolist() == pytest.approx([value, value], abs=1e-9)
        assert derivative.abs().max() < 1e-6 and curvature.abs().max() < 5e-3


def test_falls_with_distance_and_vanishes_at_bonds(painn: Potential) -> None:
    energies = [repulsion(painn, Atoms("Si2", positions=[[0, 0, 0], [d, 0, 0]])) for d in np.linspace(0.3, 1.7, 40)]
    assert (np.diff(energies) <= 0).all() and energies[-1] == 0
    bonded = [molecule(name) for name in ("H2", "N2", "C2H2", "CO", "HCN", "H2O")]
    for atoms in [*bonded, bulk("Si"), bulk("NaCl", "rocksalt", a=5.64), bulk("C")]:
        assert repulsion(painn, atoms) == 0


def test_all_pairs_give_what_the_close_ones_give(painn: Potential) -> None:
    """On a GPU all pairs are taken; those beyond the switch add nothing, to the energy and to the forces."""
    atoms = bulk("Si", cubic=True)
    atoms.positions[0] += [1.0, 1.0, 0.9]  # close to its neighbour
    batch = painn.prepare(Frames.from_atoms([atoms])).collate()
    repulsion = ZBLRepulsion()
    found = []
    for everything in (False, True):
        vectors = batch.vectors().detach().requires_grad_()
        reach = repulsion.radii[batch.numbers][batch.edges].sum(0)
        energies = repulsion.of_pairs(batch, batch.edges, vectors, reach) if everything else repulsion(batch, vectors)
        found.append((energies, *torch.autograd.grad(energies.sum(), vectors)))
    assert float(found[0][0].detach().sum()) > 1.0
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
