"""Our MatterSim network is that of the package, reads its checkpoints, and can be fine-tuned.

The comparisons need ``mattersim``, whose published weights cannot be had in a test: a small random model of its class
is saved as it saves it, put where a download would be, and opened by our own code.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import eval_legendre, spherical_jn

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.mattersim import ZEROS, ThreeBody
from distill.potentials.teachers.mattersim import MatterSimSettings
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit

INSTALL = (
    "pip install --no-deps mattersim==1.2.3 loguru deprecated wrapt torch_runstats torch_geometric torch_ema; "
    "works with e3nn 0.4.4"
)
PARAMETERS = {"mattersim-v1.0.0-1m": (128, 3), "mattersim-v1.0.0-5m": (256, 4)}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's potential with small random weights and unusual sizes, saved where a download would be."""
    for name in ("torch_runstats", "torch_geometric", "torch_ema", "loguru", "deprecated", "mattersim"):
        pytest.importorskip(name, reason=INSTALL)
    kind = importlib.import_module("mattersim.forcefield.m3gnet.m3gnet").M3Gnet
    torch.manual_seed(4)
    network = kind(num_blocks=3, units=24, max_l=4, max_n=4, cutoff=5.2, threebody_cutoff=4.1, device="cpu")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            factor = 10.0 if "edge_gate_mlp" in name else 0.8
            parameter.add_(factor * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
        network.normalizer.scale.copy_(10 + 10 * torch.rand(95))  # forces of 0.3 eV/Å, 0.1 of them from angles
        network.normalizer.shift.copy_(-torch.rand(95))
    potential = importlib.import_module("mattersim.forcefield.potential").Potential(network.eval(), device="cpu")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    potential.save(str(tmp_path / POTENTIALS["mattersim-v1.0.0-1m"].weights.name))
    return potential


@pytest.fixture
def ours() -> Potential:
    """A tiny untrained network."""
    row = POTENTIALS["mattersim-v1.0.0-1m"]
    potential: Potential = row.create(row.Settings(), seed=1)
    return potential


def test_is_that_of_its_package(package: Any, structures: dict[str, Atoms], water: Atoms) -> None:
    calculator = importlib.import_module("mattersim.forcefield.potential").MatterSimCalculator(package, device="cpu")
    ours = TeacherSource("mattersim-v1.0.0-1m").open()
    assert ours.settings == MatterSimSettings(width=24, blocks=3, cutoff=5.2, angle_cutoff=4.1)
    for label, atoms in {**structures, "water": water}.items():
        found = ours.evaluate(Frames.from_atoms([atoms]))
        theirs = atoms.copy()  # the package changes the cell of a molecule
        theirs.calc = calculator
        # both in single precision, in which the package also adds up energies of 10 eV an atom
        energy = float(theirs.get_potential_energy())
        assert float(found.energy[0]) == pytest.approx(energy, abs=1e-5 * len(atoms)), label
        np.testing.assert_allclose(found.forces, theirs.get_forces(), atol=1e-5, err_msg=label)
        if atoms.pbc.all():
            np.testing.assert_allclose(found.stress[0], theirs.get_stress(voigt=False), atol=1e-6, err_msg=label)
        assert np.abs(theirs.get_forces()).max() > 0.05 or len(atoms) == 1, label


def test_angles_matter_in_that_comparison(package: Any, silicon: Atoms) -> None:
    ours = TeacherSource("mattersim-v1.0.0-1m").open()
    frames = Frames.from_atoms([silicon])
    before = ours.evaluate(frames).forces
    for block in ours.get_submodule("network.blocks").children():
        torch.nn.init.zeros_(block.three_body.weight)
    assert np.abs(ours.evaluate(frames).forces - before).max() > 0.05


def test_sums_over_angles_are_those_over_pairs_of_bonds() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(5, 3))
    vectors *= (rng.uniform(1, 4.5, 5) / np.linalg.norm(vectors, axis=1))[:, None]
    lengths = np.linalg.norm(vectors, axis=1)
    layer = ThreeBody(5.0, 4.0).double()
    found = layer(torch.from_numpy(vectors), torch.from_numpy(lengths), torch.tensor([0] * 5 + [1, 2, 3, 4, 5]), 6)
    envelope = np.clip(1 - 6 * (lengths / 4) ** 5 + 15 * (lengths / 4) ** 4 - 10 * (lengths / 4) ** 3, 0, None)
    expected = np.zeros((5, 4, 4))
    for j in range(5):
        for k in set(range(5)) - {j}:
            cosine = vectors[j] @ vectors[k] / lengths[j] / lengths[k]
            for degree in range(4):
                zeros = np.array(ZEROS[degree])
                norm = np.sqrt(2 / 5.0**3) / np.abs(spherical_jn(degree + 1, zeros))
                radial = norm * spherical_jn(degree, zeros * lengths[k] / 5.0)
                legendre = np.sqrt((2 * degree + 1) / (4 * np.pi)) * eval_legendre(degree, cosine)
                expected[j, degree] += envelope[j] * envelope[k] * radial * legendre
    np.testing.assert_allclose(found[:5].numpy(), expected.reshape(5, 16), atol=1e-6)  # single-precision constants
    np.testing.assert_allclose(found[5:].numpy(), 0, atol=1e-12)  # atoms with one bond have no angle


def test_zeros_are_those_of_bessel_functions() -> None:
    for degree, zeros in enumerate(ZEROS):
        np.testing.assert_allclose(spherical_jn(degree, np.array(zeros)), 0, atol=1e-9)


@pytest.mark.parametrize("name", PARAMETERS)
def test_keeps_the_contract(name: str) -> None:
    row = POTENTIALS[name]
    assert check_potential(row.create(row.Settings(), seed=1)) == []
    width, blocks = PARAMETERS[name]
    published = row.create(MatterSimSettings(width=width, blocks=blocks))
    assert sum(p.numel() for p in published.parameters() if p is not published.reference_energies) == row.parameters


def test_can_be_fine_tuned(ours: Potential, silicon: Atoms, water: Atoms, tmp_path: Path) -> None:
    row = POTENTIALS["mattersim-v1.0.0-1m"]
    labels = row.create(row.Settings(), seed=2).evaluate(Frames.from_atoms([silicon, water]))
    before = ours.evaluate(labels)
    fit(
        ours,
        labels,
        labels,
        steps=20,
        batch_size=2,
        learning_rate=1e-2,
        validation_interval=5,
        average=0.0,
        work=tmp_path,
    )
    after = ours.evaluate(labels)
    assert np.abs(after.energy - labels.energy).max() < 0.5 * np.abs(before.energy - labels.energy).max()


def test_straight_bonds_have_finite_forces(ours: Potential) -> None:
    chain = Atoms("CO2", positions=[[0.0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    assert np.isfinite(ours.evaluate([chain]).forces).all()


@pytest.mark.parametrize("content", [b"no checkpoint", {"model": {}, "model_args": {"max_n": 3, "max_l": 4}}])
def test_another_file_is_refused(content: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    path = tmp_path / POTENTIALS["mattersim-v1.0.0-1m"].weights.name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"1M.pth: it does not hold the weights of mattersim-v1.0.0-1m"):
        TeacherSource("mattersim-v1.0.0-1m").open()
