"""The repulsion of nuclei: the published formula, smooth, and absent where atoms are bonded."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from safetensors.torch import load_file, save_file

from distill.base.files import hash_file
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.networks.painn import FORMER_SOFTENING
from distill.potentials.networks.zbl import FORMER_RANGE, INNER, OUTER, ZBLRepulsion, switch
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
        y = switch(x, torch.tensor([INNER, OUTER], dtype=torch.float64))
        (derivative,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(derivative.sum(), x)
        # the third derivative is 60 / (OUTER − INNER)³ at most, so that 1e-6 away the second is below 0.005
        assert y.tolist() == pytest.approx([value, value], abs=1e-9)
        assert derivative.abs().max() < 1e-6 and curvature.abs().max() < 5e-3


def test_falls_with_distance_and_vanishes_at_bonds_and_in_crystals(painn: Potential) -> None:
    energies = [repulsion(painn, Atoms("Si2", positions=[[0, 0, 0], [d, 0, 0]])) for d in np.linspace(0.3, 1.7, 40)]
    assert (np.diff(energies) < 0).all() and energies[-1] > 0
    bonded = [molecule(name) for name in ("H2", "H2O", "CH4", "C2H6")]
    metals = [bulk(name) for name in ("Al", "Cu", "Ni", "Na")]
    salts = [bulk("NaCl", "rocksalt", a=5.64), bulk("MgO", "rocksalt", a=4.21)]
    for atoms in [*bonded, *metals, *salts, bulk("Si"), bulk("C")]:
        assert repulsion(painn, atoms) == 0, atoms
    for atoms in (bulk("Fe"), bulk("W"), molecule("N2"), molecule("C2H4")):  # large radii, multiple bonds: a little
        assert 0 < repulsion(painn, atoms) < 10, atoms


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


def test_models_saved_without_a_range_have_the_former_one(painn: Potential, tmp_path: Path) -> None:
    """The repulsion acted below 0.75 of the sum of the radii then: a model's predictions must not change."""
    former = copy.deepcopy(painn)
    former.short_range_repulsion.range.copy_(torch.tensor(FORMER_RANGE))
    for update in former.updates:
        update.softening.fill_(FORMER_SOFTENING)
    save(former, tmp_path, {})
    weights = load_file(tmp_path / "weights.safetensors")
    kept = {name: value for name, value in weights.items() if not name.endswith((".range", ".softening"))}
    assert len(weights) - len(kept) == 1 + len(former.updates)
    save_file(kept, tmp_path / "weights.safetensors")
    description = json.loads((tmp_path / "model.json").read_text())
    description["sha256"] = hash_file(tmp_path / "weights.safetensors")
    (tmp_path / "model.json").write_text(json.dumps(description))
    pair = [Atoms("Si2", positions=[[0, 0, 0], [d, 0, 0]]) for d in (1.5, 1.9)]
    loaded = load(tmp_path).evaluate(pair)
    assert np.array_equal(loaded.energy, former.evaluate(pair).energy)
    assert not np.allclose(loaded.energy, painn.evaluate(pair).energy, rtol=0, atol=1e-4)
