"""Our faster networks are the published ones."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.painn import FORMER_SOFTENING, PaiNNPotential
from distill.potentials.networks.silu import silu
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet
from distill.structures.frames import Frames

VERSIONS = {"chgnet-0.3": "0.3.0", "chgnet-r2scan": "r2scan"}


def build(name: str) -> Potential:
    """Build a row with its default settings."""
    potential: Potential = POTENTIALS[name].build(POTENTIALS[name].Settings(), seed=0)
    return potential


def test_silu_has_its_first_and_second_derivative() -> None:
    x = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(silu(x), torch.nn.functional.silu(x))
    assert torch.autograd.gradcheck(silu, (x,)) and torch.autograd.gradgradcheck(silu, (x,))


def test_silu_is_exact_and_makes_no_subnormal_number_far_out() -> None:
    x = torch.linspace(-900, 900, 4001, requires_grad=True)
    y = silu(x)
    (derivative,) = torch.autograd.grad(y.sum(), x)
    wide = x.detach().double().requires_grad_()
    exact = torch.nn.functional.silu(wide)
    (exact_derivative,) = torch.autograd.grad(exact.sum(), wide)
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-13)
    torch.testing.assert_close(derivative.double(), exact_derivative, rtol=1e-6, atol=1e-13)
    smallest = torch.finfo(torch.float32).tiny
    for values in (y, derivative):
        assert values[values != 0].abs().min() > smallest


def graph_pes_state(ours: PaiNNPotential) -> dict[str, torch.Tensor]:
    """Return our parameters under graph-pes' names."""
    rename = {
        "embedding.weight": "z_embedding._embeddings",
        "filter.frequencies": "filter_generator.components.0.0.frequencies",
        "filter.linear": "filter_generator.components.0.1",
        "phi.first": "Phi.linear_layers.0",
        "phi.second": "Phi.linear_layers.1",
        "mlp.first": "mlp.linear_layers.0",
        "mlp.second": "mlp.linear_layers.1",
        "read_out.first": "read_out.linear_layers.0",
        "read_out.second": "read_out.linear_layers.1",
    }
    state = {}
    for name, value in ours.named_parameters():
        if name == "scales":
            state["scaler.per_element_scaling"] = value.unsqueeze(-1)
        elif name.endswith("uv.weight"):
            for letter, half in zip("UV", value.chunk(2), strict=True):
                state[name.replace("uv.weight", f"{letter}._linear.weight")] = half
        elif name != "reference_energies":
            for old, new in rename.items():
                name = name.replace(old, new)
            state[name] = value
    return state


def assert_predicts_alike(ours: Potential, theirs: Any, structures: dict[str, Atoms]) -> None:
    """Compare energies, forces and stresses with those of a graph-pes model whose cutoff is 4 Å."""
    from graph_pes import AtomicGraph

    for name, atoms in structures.items():
        if len(atoms) == 1:
            continue  # graph-pes cannot treat a single atom
        found = ours.evaluate(Frames.from_atoms([atoms]))
        expected = theirs.get_all_PES_predictions(AtomicGraph.from_ase(atoms, 4.0))
        # a few hundred roundings in single precision of numbers of order one
        assert float(found.energy[0]) == pytest.approx(expected["energy"].item(), rel=2e-5, abs=2e-5), name
        np.testing.assert_allclose(found.forces, expected["forces"].detach().numpy(), atol=2e-5, err_msg=name)
        np.testing.assert_allclose(found.stress[0], expected["stress"].detach().numpy(), atol=2e-6, err_msg=name)


def test_painn_is_that_of_graph_pes(structures: dict[str, Atoms]) -> None:
    from graph_pes.models.painn import PaiNN as Published

    settings = PaiNN.Settings(channels=16, layers=3, radial_features=8, cutoff=4.0, short_range_repulsion=False)
    ours = PaiNN.build(settings, seed=1)
    assert isinstance(ours, PaiNNPotential)
    torch.nn.init.uniform_(ours.scales, 0.5, 2.0)
    for update in ours.updates:  # lengths of vectors are smooth in ours alone
        update.softening.fill_(FORMER_SOFTENING)
    theirs = Published(channels=16, layers=3, radial_features=8, cutoff=4.0)
    missing, unexpected = theirs.load_state_dict(graph_pes_state(ours), strict=False)
    parameters = {name for name, _ in theirs.named_parameters()}
    assert not unexpected and not parameters & set(missing)
    assert_predicts_alike(ours, theirs, structures)


TENSORNET_NAMES = {
    r"^embedding\.elements\.weight": "embedding.edge_embedding.z_embedding._embeddings",
    r"^embedding\.pair_of_elements": "embedding.edge_embedding.z_map",
    r"^embedding\.radial\.mapping": "embedding.edge_embedding.distance_embedding.components.0.1",
    r"^embedding\.radial": "embedding.edge_embedding.distance_embedding.components.0.0",
    r"^embedding\.norm": "embedding.layer_norm",
    r"radial\.mapping": "distance_embedding.components.0.1",
    r"radial": "distance_embedding.components.0.0",
    r"centres$": "centers",
    r"\.layers": ".linear_layers",
    r"^norm": "energy_read_out.layer_norm",
    r"^read_out": "energy_read_out.mlp",
    r"^scales": "scaler.per_element_scaling",
    **{rf"linear\.maps\.{k}": f"W_{part}.linear" for k, part in enumerate("IAS")},
    **{rf"before\.maps\.{k}": f"W_{part}_pre.linear" for k, part in enumerate("IAS")},
    **{rf"after\.maps\.{k}": f"W_{part}_post.linear" for k, part in enumerate("IAS")},
}
"""How graph-pes calls the parameters of TensorNet, rules in the order of their use."""


def test_tensornet_is_that_of_graph_pes(structures: dict[str, Atoms]) -> None:
    from graph_pes.models.tensornet import TensorNet as Published

    sizes = {"channels": 16, "layers": 2, "radial_features": 8, "cutoff": 4.0}
    ours = TensorNet.build(TensorNet.Settings(**sizes, short_range_repulsion=False), seed=1)
    torch.nn.init.uniform_(ours.scales, 0.5, 2.0)
    theirs = Published(**sizes)
    state = {}
    for name, value in ours.named_parameters():
        if name == "reference_energies":
            continue
        for rule, other in TENSORNET_NAMES.items():
            name = re.sub(rule, other, name)
        state[name] = value.unsqueeze(-1) if name.startswith("scaler") else value
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected and not {name for name, _ in theirs.named_parameters()} & set(missing)
    assert_predicts_alike(ours, theirs, structures)


@pytest.mark.parametrize("name", VERSIONS)
def test_chgnet_is_that_of_its_package(name: str, structures: dict[str, Atoms], water: Atoms) -> None:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    ours = build(name)
    calculator = CHGNetCalculator(
        CHGNet.load(model_name=VERSIONS[name], use_device="cpu", verbose=False), use_device="cpu"
    )
    frames = Frames.from_atoms(structures.values())
    found = ours.evaluate(frames)
    for k, (label, atoms) in enumerate(structures.items()):
        atoms.calc = calculator
        energy = float(atoms.get_potential_energy())
        assert float(found.energy[k]) == pytest.approx(energy, abs=1e-5 * len(atoms)), label
        np.testing.assert_allclose(found[k].forces, atoms.get_forces(), atol=1e-4, err_msg=label)
        np.testing.assert_allclose(found.stress[k], calculator.results["stress"], atol=1e-5, err_msg=label)


def test_chgnet_of_a_molecule_is_that_of_a_large_box(water: Atoms) -> None:
    potential = build("chgnet-0.3")
    boxed = water.copy()
    boxed.set_cell(3 * [20.0])
    boxed.pbc = True
    free, periodic = potential.evaluate(Frames.from_atoms([water])), potential.evaluate(Frames.from_atoms([boxed]))
    assert float(free.energy[0]) == pytest.approx(float(periodic.energy[0]), abs=1e-5)
    np.testing.assert_allclose(free.forces, periodic.forces, atol=1e-4)
    assert np.isnan(free.stress).all() and np.isfinite(periodic.stress).all()


def test_building_chgnet_is_silent_and_names_its_weights(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = "chgnet.model" in sys.modules
    origin = build("chgnet-0.3").origin
    assert capfd.readouterr() == ("", "")
    assert ("chgnet.model" in sys.modules) == loaded
    assert len(origin["sha256"]) == 64 and origin["licence"].startswith("BSD")
