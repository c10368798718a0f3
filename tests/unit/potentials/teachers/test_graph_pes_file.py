"""Models that graph-pes saved, against graph-pes' own calculator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from graph_pes import GraphPESModel
from graph_pes.models import AdditionModel, FixedOffset, LennardJones, PaiNN, SchNet
from graph_pes.utils.calculator import GraphPESCalculator

from distill.base.errors import UserError
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.saving import load, save


def saved(model: GraphPESModel, path: Path) -> Path:
    """Save a model as graph-pes' trainer does, with the elements that it has seen."""
    from graph_pes.utils.nn import PerElementParameter

    for parameter in model.parameters():
        if isinstance(parameter, PerElementParameter):
            parameter.register_elements([8, 14])
    torch.save(model, path)
    return path


def some_models() -> dict[str, GraphPESModel]:
    """A network, a sum of models with different cutoffs, and a pair potential."""
    torch.manual_seed(0)
    network = PaiNN(cutoff=4.0, channels=8, layers=2, radial_features=6)
    return {
        "network": network,
        "sum": AdditionModel(
            offset=FixedOffset(O=-431.0, Si=-102.5),
            short=LennardJones(cutoff=2.5, epsilon=0.01, sigma=1.5),
            long=SchNet(cutoff=4.0, channels=8, layers=2),
        ),
        "pair": LennardJones(cutoff=5.0, epsilon=0.02, sigma=2.0),
    }


@pytest.fixture
def atoms() -> list[Atoms]:
    """A crystal and a rattled compound."""
    crystal = bulk("Si", cubic=True)
    compound = bulk("NaCl", "rocksalt", a=4.4, cubic=True)
    compound.numbers = np.array([8, 14] * 4)
    rng = np.random.default_rng(0)
    for one in (crystal, compound):
        one.positions += 0.05 * rng.normal(size=one.positions.shape)
    return [crystal, compound]


@pytest.mark.parametrize("name", some_models())
def test_agrees_with_graph_pes(name: str, tmp_path: Path, atoms: list[Atoms]) -> None:
    """In single precision; the sum has deep isolated atoms, of which single precision knows 2e-4 eV in 3 000 eV."""
    model = some_models()[name]
    potential = TeacherSource("graph-pes", file=saved(model, tmp_path / "model.pt")).open()
    found = potential.evaluate(atoms)
    assert found.energy is not None and found.stress is not None
    for k, one in enumerate(atoms):
        one.calc = GraphPESCalculator(model.eval())
        assert found.energy[k] == pytest.approx(one.get_potential_energy(), abs=1e-3 if name == "sum" else 1e-5)
        np.testing.assert_allclose(found[k].forces, one.get_forces(), atol=1e-5)
        np.testing.assert_allclose(found.stress[k], one.get_stress(voigt=False), atol=1e-5)


@pytest.mark.parametrize("name", some_models())
def test_keeps_the_contract(name: str, tmp_path: Path) -> None:
    file = saved(some_models()[name], tmp_path / "model.pt")
    found = check_potential(TeacherSource("graph-pes", file=file).open())
    rough = [failure for failure in found if "depends on the displacement" in failure]
    assert found == rough and bool(rough) == (name == "network"), "graph-pes' PaiNN has the tip of a cone"


def test_knows_the_elements_it_has_seen(tmp_path: Path) -> None:
    potential = TeacherSource("graph-pes", file=saved(some_models()["network"], tmp_path / "model.pt")).open()
    assert potential.elements == (8, 14)
    with pytest.raises(UserError, match="does not know the element Fe"):
        potential.evaluate([bulk("Fe")])


def test_a_saved_potential_needs_nothing_but_its_folder(tmp_path: Path, atoms: list[Atoms]) -> None:
    path = saved(some_models()["network"], tmp_path / "model.pt")
    potential = TeacherSource("graph-pes", file=path).open()
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.mul_(1.01)
    save(potential, tmp_path / "artifact", {})
    path.unlink()
    loaded = load(tmp_path / "artifact", trust_code=True)
    assert np.array_equal(np.asarray(loaded.evaluate(atoms).forces), np.asarray(potential.evaluate(atoms).forces))
    assert loaded.origin == potential.origin and loaded.origin["weights"] == str(path)
    save(loaded, tmp_path / "again", {})
    again = load(tmp_path / "again", trust_code=True)
    assert np.array_equal(again.evaluate(atoms).forces, loaded.evaluate(atoms).forces)


def test_another_file_is_not_loaded_in_its_place(tmp_path: Path) -> None:
    potential = TeacherSource("graph-pes", file=saved(some_models()["network"], tmp_path / "model.pt")).open()
    save(potential, tmp_path / "artifact", {})
    saved(some_models()["pair"], tmp_path / "artifact" / "network.pt")
    with pytest.raises(UserError, match=r"network\.pt: it is missing or has changed"):
        load(tmp_path / "artifact")


def test_a_file_in_double_precision_is_saved_in_single_where_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(some_models()["network"].double(), tmp_path / "model.pt")
    potential = TeacherSource("graph-pes", file=path).open()
    assert potential.dtype == torch.float64
    potential.in_precision("float32")
    found = potential.evaluate([bulk("Si")])
    save(potential, tmp_path / "artifact", {})
    again = load(tmp_path / "artifact", trust_code=True)
    assert again.dtype == torch.float32 and again.reference_energies.dtype == torch.float64
    assert np.array_equal(again.evaluate([bulk("Si")]).forces, found.forces)


class Crooked(LennardJones):
    """A model whose own forces are not the gradient of its energy."""

    def __init__(self) -> None:
        super().__init__(cutoff=5.0, epsilon=0.02, sigma=2.0)
        self.implemented_properties = ["local_energies", "forces"]

    def forward(self, graph: object) -> dict[str, torch.Tensor]:
        energies = super().forward(graph)["local_energies"]
        return {"local_energies": energies, "forces": torch.ones_like(graph.R)}  # type: ignore[attr-defined]


def test_other_forces_than_the_gradient_are_refused(tmp_path: Path) -> None:
    torch.save(Crooked(), tmp_path / "model.pt")
    with pytest.raises(UserError, match="not the gradient"):
        TeacherSource("graph-pes", file=tmp_path / "model.pt").open()


@pytest.mark.parametrize("content", ["nothing", "text", "dict", "module"])
def test_what_is_not_a_model_is_one_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.pt"
    if content == "nothing":
        path.write_bytes(b"")
    elif content == "text":
        path.write_text("These are words, not a model.\n")
    else:
        torch.save({} if content == "dict" else torch.nn.Linear(2, 2), path)
    with pytest.raises(UserError) as caught:
        TeacherSource("graph-pes", file=path).open()
    assert str(caught.value).startswith(f"{path}: this is not a model of graph-pes") and "\n" not in str(caught.value)


def test_a_file_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="graph-pes:<file>"):
        TeacherSource("graph-pes").open()
    with pytest.raises(UserError, match="no such file"):
        TeacherSource("graph-pes", file=tmp_path / "gone.pt").open()
