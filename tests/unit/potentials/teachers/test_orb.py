"""Our Orb networks are those of the package, read its checkpoints, and can be fine-tuned.

The comparisons need ``orb-models``, whose published weights cannot be had in a test: small random models of its classes
are saved as it saves them, put where a download would be, and opened by our own code.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.harmonics import spherical_harmonics
from distill.potentials.networks.orb import nearest
from distill.potentials.networks.orb_direct import OrbDirect, removed_torque
from distill.potentials.teachers.orb import OrbSettings
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit

SMALL = OrbSettings(width=24, hidden=20, head=12, layers=3)
KINDS = [
    "orb-v3-conservative-20-omat",
    "orb-v3-conservative-inf-mpa",
    "orb-v3-direct-20-omat",
    "orb-v3-direct-inf-mpa",
    "orb-v2",
]
ORB = [name for name in POTENTIALS if name.startswith("orb")]


@pytest.fixture
def double() -> Iterator[None]:
    """Make the package compute in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def package_model(name: str) -> Any:
    """Return a small model of the package with random weights and normalisers."""
    pytest.importorskip("orb_models", reason="pip install --no-deps orb-models==0.5.5 dm-tree==0.1.8")
    forcefield = "orb_models.forcefield"
    heads = importlib.import_module(f"{forcefield}.forcefield_heads")
    row = POTENTIALS[name]
    activation = "ssp" if row.version == 2 else "silu"
    head = {
        "latent_dim": SMALL.width,
        "num_mlp_layers": 1,
        "mlp_hidden_dim": SMALL.head,
        "activation": activation,
    }
    found = {"energy": heads.EnergyHead(predict_atom_avg=True, **head)}
    if not row.conservative:
        found["forces"] = heads.ForceHead(remove_mean=True, remove_torque_for_nonpbc_systems=True, **head)
        found["stress"] = heads.StressHead(**head) if row.version == 3 else heads.GraphHead(target="stress", **head)
    if row.version == 3:
        found["confidence"] = heads.ConfidenceHead(**head)
    module = "conservative_regressor" if row.conservative else "direct_regressor"
    kind = "ConservativeForcefieldRegressor" if row.conservative else "DirectForcefieldRegressor"
    options = {"ensure_grad_loss_weights": False} if row.conservative else {}
    system = importlib.import_module(f"{forcefield}.atomic_system").SystemConfig(6.0, row.neighbours)
    model = getattr(importlib.import_module(f"{forcefield}.{module}"), kind)(
        heads=found, model=backbone(row.version, activation), pair_repulsion=row.version == 3, system_config=system,
        **options,
    )  # fmt: skip
    return randomised(model.to(torch.get_default_dtype()))


def backbone(version: int, activation: str) -> Any:
    """Return the graph network of the package, with the basis of the given version."""
    forcefield = "orb_models.forcefield"
    basis: dict[str, Any]
    if version == 2:
        gaussians = importlib.import_module(f"{forcefield}.featurization_utilities").gaussian_basis_function
        basis = {"rbf_transform": partial(gaussians, num_bases=20, radius=10.0), "mlp_norm": "layer_norm"}
    else:
        harmonics = importlib.import_module(f"{forcefield}.angular").SphericalHarmonics
        bessel = importlib.import_module(f"{forcefield}.rbf").BesselBasis
        basis = {
            "rbf_transform": bessel(r_max=6.0, num_bases=8),
            "angular_transform": harmonics(lmax=3, normalize=True, normalization="component"),
            "outer_product_with_cutoff": True,
            "mlp_norm": "rms_norm",
        }
    return importlib.import_module(f"{forcefield}.gns").MoleculeGNS(
        latent_dim=SMALL.width,
        num_message_passing_steps=SMALL.layers,
        num_mlp_layers=2,
        mlp_hidden_dim=SMALL.hidden,
        use_embedding=True,
        interaction_params={"distance_cutoff": True, "attention_gate": "sigmoid"},
        node_feature_names=["feat"],
        edge_feature_names=["feat"],
        activation=activation,
        **basis,
    )


@torch.no_grad()
def randomised(model: Any) -> Any:
    """Return the model with strong random weights, so that forces are of the order of 1 eV/Å."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = 0.5 if parameter.dim() < 2 else 1.5 / parameter.shape[1] ** 0.5
            parameter.add_(factor * torch.randn(parameter.shape, generator=generator).to(parameter))
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(0.2 + torch.rand(buffer.shape, generator=generator).to(buffer))
    return model.eval()


def opened(name: str, model: Any, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Potential:
    """Return what our code opens where the weights of ``model`` were downloaded."""
    monkeypatch.setenv("DISTILL_CACHE", str(cache))
    row = POTENTIALS[name]
    monkeypatch.setattr(row, "published", SMALL)
    torch.save(model.state_dict(), cache / row.weights.name)
    return TeacherSource(name).open()


@pytest.mark.parametrize("name", KINDS)
def test_is_that_of_its_package(
    name: str,
    structures: dict[str, Atoms],
    water: Atoms,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    double: None,
) -> None:
    model = package_model(name)
    ours = opened(name, model, monkeypatch, tmp_path).double()
    calculator = importlib.import_module("orb_models.forcefield.calculator").ORBCalculator(model, device="cpu")
    if POTENTIALS[name].neighbours == 20:  # which of equally distant neighbours is kept is not defined
        structures = {label: atoms for label, atoms in structures.items() if "one atom" not in label}
    water.rotate(40, (1, 2, 3))
    dense = structures["silicon"].copy()
    dense.set_cell(0.85 * dense.cell, scale_atoms=True)  # nuclei repel each other
    largest = 0.0
    for label, atoms in {**structures, "water": water, "dense": dense}.items():
        found = ours.evaluate(Frames.from_atoms([atoms]))
        atoms.calc = calculator
        # the weights went through a file in double precision; constants in single precision leave 1e-7 of 10 eV
        assert float(found.energy[0]) == pytest.approx(float(atoms.get_potential_energy()), abs=1e-5), label
        np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-5, err_msg=label)
        if atoms.pbc.all():
            stress = atoms.get_stress(voigt=False)
            np.testing.assert_allclose(found.stress[0], stress, atol=1e-5, err_msg=label)
        largest = max(largest, np.abs(atoms.get_forces()).max())
    assert largest > 0.1  # eV/Å: what was compared are forces, of some structure at least, whatever weights were drawn


@pytest.mark.parametrize("name", ["orb-v3-conservative-20-omat", "orb-v3-direct-20-omat"])
def test_is_that_of_its_package_in_single_precision(
    name: str, silicon: Atoms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = package_model(name)
    ours = opened(name, model, monkeypatch, tmp_path)
    found = ours.evaluate(Frames.from_atoms([silicon]))
    silicon.calc = importlib.import_module("orb_models.forcefield.calculator").ORBCalculator(model, device="cpu")
    # the package adds up energies of 100 eV in single precision
    assert float(found.energy[0]) == pytest.approx(float(silicon.get_potential_energy()), abs=1e-4)
    np.testing.assert_allclose(found.forces, silicon.get_forces(), atol=1e-4)


@pytest.mark.parametrize("name", ORB)
def test_keeps_the_contract(name: str) -> None:
    row = POTENTIALS[name]
    potential = row.create(row.Settings(), seed=1)
    assert check_potential(potential) == []
    assert row.conservative == ("derivatives" not in potential.violated_symmetries)


def test_violates_the_symmetries_that_it_names() -> None:
    row = POTENTIALS["orb-v3-direct-20-omat"]
    potential = row.create(row.Settings(), seed=1)
    potential.violated_symmetries = ()
    failures = " ".join(check_potential(potential))
    assert all(word in failures for word in ("the forces say", "a rotation", "distance"))


def test_sizes_are_the_published_ones() -> None:
    for name in ("orb-v3-conservative-20-omat", "orb-v3-direct-inf-mpa", "orb-v2"):
        row = POTENTIALS[name]
        potential = row.create(row.published)
        assert sum(p.numel() for p in potential.parameters() if p is not potential.reference_energies) == row.parameters


@pytest.mark.parametrize("name", ["orb-v3-conservative-20-omat", "orb-v3-direct-20-omat", "orb-v2"])
def test_can_be_fine_tuned(name: str, silicon: Atoms, water: Atoms, tmp_path: Path) -> None:
    row = POTENTIALS[name]
    frames = Frames.from_atoms([silicon, water])
    labels = row.create(row.Settings(), seed=2).evaluate(frames)
    student = row.create(row.Settings(), seed=1)
    before = student.evaluate(frames)
    fit(
        student,
        labels,
        labels,
        steps=20,
        batch_size=2,
        learning_rate=1e-2,
        validation_interval=5,
        average=0,
        work=tmp_path,
    )
    after = student.evaluate(frames)
    assert np.abs(after.energy - labels.energy).max() < 0.5 * np.abs(before.energy - labels.energy).max()


def test_direct_stress_and_energy_learn_too(silicon: Atoms) -> None:
    row = POTENTIALS["orb-v3-direct-20-omat"]
    potential = row.create(row.Settings(), seed=1).train()
    prediction = potential(potential.batch(Frames.from_atoms([silicon])))
    assert prediction.stress is not None
    for part in (prediction.energy, prediction.forces, prediction.stress):
        gradients = torch.autograd.grad(part.square().sum(), potential.network.parameters(), retain_graph=True,
                                        allow_unused=True)  # fmt: skip
        assert any(g is not None and bool(g.abs().max() > 0) for g in gradients)
    potential.eval()
    assert not potential(potential.batch(Frames.from_atoms([silicon]))).forces.requires_grad


def test_nearest_are_the_nearest() -> None:
    rng = np.random.default_rng(1)
    centres, distances = torch.from_numpy(rng.integers(0, 7, 200)), torch.from_numpy(rng.random(200))
    found = nearest(centres, distances, 5)
    for centre in range(7):
        mine = (centres == centre).nonzero().squeeze(-1)
        expected = mine[distances[mine].argsort()[:5]]
        assert set(found[centres[found] == centre].tolist()) == set(expected.tolist())


def test_torque_is_removed_where_there_is_no_cell(silicon: Atoms) -> None:
    row = POTENTIALS["orb-v3-direct-20-omat"]
    potential = row.create(row.Settings())
    atoms = [molecule("H2O"), molecule("CO2"), Atoms("He"), silicon]
    for one in atoms[:2]:
        one.positions = one.positions @ Rotation.from_rotvec([0.3, 0.8, -1.0]).as_matrix() + 5
    frames = Frames.from_atoms(atoms)
    batch = potential.batch(frames)
    forces = torch.randn(len(frames.numbers), 3, generator=torch.Generator().manual_seed(1))
    changed = removed_torque(forces, batch).double().numpy()
    for k, one in enumerate(atoms[:2]):
        mine = changed[frames.atom_indices(np.array([k]))]
        torque = np.cross(one.positions - one.positions.mean(0), mine).sum(0)
        np.testing.assert_allclose(torque, 0, atol=1e-5)  # single precision
    assert np.array_equal(changed[-len(silicon) - 1 :], forces[-len(silicon) - 1 :].double().numpy())


def test_harmonics_obey_the_addition_theorem() -> None:
    u, v = torch.nn.functional.normalize(torch.randn(2, 50, 3, dtype=torch.float64), dim=-1)
    products = spherical_harmonics(u) * spherical_harmonics(v)
    for degree in range(4):
        mine = products[:, degree**2 : (degree + 1) ** 2].sum(-1)
        legendre = eval_legendre(degree, (u * v).sum(-1).numpy())
        np.testing.assert_allclose(mine.numpy(), (2 * degree + 1) * legendre, atol=1e-12)


@pytest.mark.parametrize("content", [{"model.weight": torch.ones(2)}, b"no checkpoint"])
def test_another_file_is_refused(content: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    row = POTENTIALS["orb-v2"]
    monkeypatch.setattr(row, "published", SMALL)
    path = tmp_path / row.weights.name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"orb-v2-20241011.ckpt: it does not hold the weights of orb-v2"):
        TeacherSource("orb-v2").open()


def test_the_direct_models_say_what_they_are() -> None:
    assert OrbDirect.__doc__ is not None and "drift" in OrbDirect.__doc__
    assert [name for name in ORB if POTENTIALS[name].conservative] == [n for n in ORB if "conservative" in n]
