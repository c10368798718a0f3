"""MACE against the package's own calculator, with a small random model saved as the package saves it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials import POTENTIALS, names
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.settings.mace import MACESettings
from distill.potentials.teachers.mace import MACE

if find_spec("mace") is None:
    pytest.skip("mace-torch is not installed", allow_module_level=True)

NUMBERS = [1, 8, 14]
ISOLATED = {1: -13.6, 8: -2043.9, 14: -7888.1}


def random_model(path: Path, dtype: torch.dtype = torch.float64, **changes: object) -> Path:
    """Save a random two-layer ScaleShiftMACE with weights of order one, scaled, shifted, with deep isolated atoms."""
    import mace.modules as modules  # before e3nn, which new versions of torch import only after it
    from e3nn import o3

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    arguments: dict[str, object] = {
        "r_max": 4.0,
        "num_bessel": 5,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": modules.RealAgnosticInteractionBlock,
        "num_interactions": 2,
        "num_elements": len(NUMBERS),
        "hidden_irreps": o3.Irreps("4x0e+4x1o"),
        "MLP_irreps": o3.Irreps("6x0e"),
        "atomic_energies": np.array([ISOLATED[z] for z in NUMBERS]),
        "avg_num_neighbors": 9.5,
        "atomic_numbers": NUMBERS,
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "atomic_inter_scale": 0.7,
        "atomic_inter_shift": -0.3,
        "radial_MLP": [8, 8],
    } | changes
    kind = arguments.pop("kind", modules.ScaleShiftMACE)
    if kind is modules.MACE:
        del arguments["atomic_inter_scale"], arguments["atomic_inter_shift"]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            model = kind(**arguments)  # type: ignore[operator]
    finally:
        torch.set_default_dtype(before)
    torch.save(model, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in double precision."""
    return random_model(tmp_path_factory.mktemp("mace") / "tiny.model")


@pytest.fixture(scope="module")
def teacher(file: Path) -> Potential:
    """The model opened as a recipe would."""
    return TeacherSource("mace", file=file).open()


@pytest.fixture(scope="module")
def atoms() -> list[Atoms]:
    """A crystal, a strained compound of all elements, and a molecule without a cell."""
    rng = np.random.default_rng(0)
    crystal = bulk("Si", cubic=True)
    compound = bulk("NaCl", "rocksalt", a=4.4, cubic=True)
    compound.numbers = np.array([1, 8, 14, 8, 1, 8, 14, 8])
    compound.set_cell(compound.cell.array @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    water = Atoms("OH2", positions=[[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    for one in (crystal, compound, water):
        one.positions += 0.05 * rng.normal(size=one.positions.shape)
    return [crystal, compound, water]


def agree(potential: Potential, file: Path, atoms: list[Atoms], precision: str, tolerance: float) -> None:
    """Compare energies, forces and stress with the package's calculator."""
    from mace.calculators import MACECalculator

    found = potential.evaluate(atoms)
    assert found.energy is not None and found.forces is not None and found.stress is not None
    calculator = MACECalculator(model_paths=str(file), default_dtype=precision)
    for k, one in enumerate(atoms):
        one.calc = calculator
        assert found.energy[k] == pytest.approx(one.get_potential_energy(), abs=tolerance)
        np.testing.assert_allclose(found[k].forces, one.get_forces(), atol=tolerance)
        if one.pbc.all():
            np.testing.assert_allclose(found.stress[k], one.get_stress(voigt=False), atol=tolerance)


def test_agrees_with_the_package_in_double_precision(teacher: Potential, file: Path, atoms: list[Atoms]) -> None:
    """To 1e-5 eV, eV/Å and eV/Å³, as issue and package demand; what is left is rounding, many digits below."""
    assert teacher.dtype == torch.float64
    agree(teacher, file, atoms, "float64", 1e-7)


@pytest.mark.slow
def test_agrees_with_the_package_in_single_precision(tmp_path: Path, atoms: list[Atoms]) -> None:
    """A file in single precision stays so; without deep isolated atoms, rounding is all that differs."""
    file = random_model(tmp_path / "single.model", torch.float32, atomic_energies=np.array([-1.0, -2.0, -3.0]))
    potential = TeacherSource("mace", file=file).open()
    assert potential.dtype == torch.float32
    agree(potential, file, atoms, "float32", 5e-5)


def test_a_file_in_double_precision_computes_in_single_where_that_is_asked_for(
    file: Path, atoms: list[Atoms], tmp_path: Path
) -> None:
    """As fine-tuning with precision: float32 asks; what is saved is the same."""
    double, single = (TeacherSource("mace", file=file).open() for _ in range(2))
    single.in_precision("float32")
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert single.reference_energies.dtype == torch.float64
    found, expected = single.evaluate(atoms), double.evaluate(atoms)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-4)  # single precision
    np.testing.assert_allclose(found.energy, expected.energy, atol=1e-4 * max(map(len, atoms)))
    assert not np.array_equal(found.forces, expected.forces)
    save(single, tmp_path, {})
    again = load(tmp_path)
    assert again.dtype == torch.float32 and np.array_equal(again.evaluate(atoms).forces, found.forces)


def test_single_precision_keeps_deep_energies_exact(file: Path, teacher: Potential, atoms: list[Atoms]) -> None:
    """In single precision 64 000 eV have steps of 4 meV; isolated atoms are added in double precision instead."""
    from distill.potentials.published import mace as published

    single = published.read_model(MACE, file, "float32", {})
    assert single.dtype == torch.float32
    a, b = single.evaluate(atoms).energy, teacher.evaluate(atoms).energy
    assert a is not None and b is not None
    np.testing.assert_allclose(a, b, rtol=0, atol=5e-5)


def test_keeps_the_contract(teacher: Potential) -> None:
    assert check_potential(teacher) == []


def variants() -> dict[str, Callable[[], dict[str, object]]]:
    """Networks that differ in every way that published models do."""

    def published() -> dict[str, object]:
        from mace import modules

        return {
            "interaction_cls": modules.RealAgnosticDensityResidualInteractionBlock,
            "interaction_cls_first": modules.RealAgnosticDensityInteractionBlock,
            "pair_repulsion": True,
            "distance_transform": "Agnesi",
        }

    def multihead() -> dict[str, object]:
        return {
            "heads": ["pt_head", "Default"],
            "atomic_energies": np.array([[-1.0, -2.0, -3.0], [-5.0, -6.0, -7.0]]),
            "atomic_inter_scale": np.array([0.5, 0.9]),
            "atomic_inter_shift": np.array([0.1, -0.2]),
        }

    def scalars() -> dict[str, object]:
        from e3nn import o3

        return {"hidden_irreps": o3.Irreps("6x0e"), "correlation": [3, 2], "radial_type": "gaussian"}

    def unscaled() -> dict[str, object]:
        from mace import modules

        return {"kind": modules.MACE, "gate": torch.tanh}

    def one_layer() -> dict[str, object]:
        return {"num_interactions": 1, "distance_transform": "Soft"}

    return {f.__name__: f for f in (published, multihead, scalars, unscaled, one_layer)}


@pytest.mark.slow
@pytest.mark.parametrize("name", variants())
def test_every_kind_of_network_agrees_with_the_package(name: str, tmp_path: Path, atoms: list[Atoms]) -> None:
    file = random_model(tmp_path / f"{name}.model", **variants()[name]())
    potential = TeacherSource("mace", file=file).open()
    agree(potential, file, atoms, "float64", 1e-7)
    if name == "multihead":
        assert potential.origin["head"] == "Default of pt_head, Default"


@pytest.mark.slow
def test_a_file_of_an_older_package_agrees(tmp_path: Path, atoms: list[Atoms]) -> None:
    """Published models were written before the package marked empty paths and took the cutoff out of the repulsion."""
    file = random_model(tmp_path / "old.model", **variants()["published"]() | {"use_reduced_cg": False})
    model = torch.load(file, weights_only=False)
    for product in model.products:
        for contraction in product.symmetric_contractions.contractions:
            for name in [name for name in contraction._buffers if name.endswith("_zeroed")]:
                del contraction._buffers[name]
    model.pair_repulsion_fn.register_buffer("r_max", torch.tensor(4.0))
    for name in ("heads", "apply_cutoff", "use_reduced_cg", "use_so3", "edge_irreps", "use_last_readout_only"):
        delattr(model, name)
    torch.save(model, file)
    agree(TeacherSource("mace", file=file).open(), file, atoms, "float64", 1e-7)


def test_parameters_that_do_not_match_are_named(file: Path, tmp_path: Path) -> None:
    strange = torch.load(file, weights_only=False)
    strange.register_parameter("charge", torch.nn.Parameter(torch.ones(2)))
    torch.save(strange, tmp_path / "strange.model")
    with pytest.raises(UserError, match="not supported here: the parameters charge"):
        TeacherSource("mace", file=tmp_path / "strange.model").open()


def test_is_saved_without_a_pickle(teacher: Potential, atoms: list[Atoms], tmp_path: Path) -> None:
    save(teacher, tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "weights.safetensors"]
    loaded = load(tmp_path)
    assert loaded.settings == teacher.settings and loaded.dtype == torch.float64
    assert loaded.origin == teacher.origin and set(loaded.origin) >= {"weights", "sha256", "licence", "head"}
    a, b = teacher.evaluate(atoms), loaded.evaluate(atoms)
    assert np.array_equal(np.asarray(a.energy), np.asarray(b.energy))
    assert np.array_equal(np.asarray(a.forces), np.asarray(b.forces))


@pytest.mark.slow
def test_can_be_fine_tuned(file: Path, atoms: list[Atoms], tmp_path: Path) -> None:
    """Labels from a model with other weights: the force error falls."""
    from distill.training.gradient.fit import fit
    from distill.training.gradient.losses import LossWeights

    potential = TeacherSource("mace", file=file).open()
    truth = TeacherSource("mace", file=file).open()
    with torch.no_grad():
        for parameter in truth.parameters():
            parameter.mul_(1.1)
    frames = truth.evaluate(atoms)
    before = {name: value.clone() for name, value in potential.named_parameters()}
    result = fit(
        potential,
        frames,
        frames,
        steps=20,
        batch_size=3,
        learning_rate=5e-3,
        weights=LossWeights(),
        validation_interval=10,
        work=tmp_path,
        average=0.0,
    )
    assert result.best is not None
    losses = [point.valid_loss for point in result.curve]
    assert losses[-1] < losses[0]
    changed = [name for name, value in potential.named_parameters() if not torch.equal(before[name], value)]
    assert changed and "reference_energies" not in changed


def test_unknown_elements_are_refused(teacher: Potential) -> None:
    assert teacher.elements == (1, 8, 14)
    with pytest.raises(UserError, match="does not know the element Fe"):
        teacher.evaluate([bulk("Fe")])


def test_a_model_in_other_order_of_elements(tmp_path: Path, atoms: list[Atoms]) -> None:
    file = random_model(tmp_path / "order.model", atomic_numbers=[14, 1, 8])
    agree(TeacherSource("mace", file=file).open(), file, [atoms[2]], "float64", 1e-7)


@pytest.mark.parametrize("content", ["nothing", "text", "digits", "dict", "tensor", "module", "state"])
def test_what_is_not_a_model_is_one_sentence(content: str, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.model"
    if content == "nothing":
        path.write_bytes(b"")
    elif content in ("text", "digits"):
        path.write_text("These are words, not a model.\n" if content == "text" else "1 2 3\n4 5 6\n")
    else:
        things = {"dict": {}, "tensor": torch.zeros(3), "module": torch.nn.Linear(2, 2)}
        torch.save(things.get(content, {"state": torch.ones(1)}), path)
    with pytest.raises(UserError) as caught:
        TeacherSource("mace", file=path).open()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "mace-torch" in str(caught.value) or "not a MACE model" in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.model.*no such file"):
        TeacherSource("mace", file=tmp_path / "gone.model").open()


def test_a_network_that_differs_is_refused(file: Path, tmp_path: Path) -> None:
    """A difference that the settings cannot hold, here a divisor of the second layer alone, is found by the probe."""
    strange = torch.load(file, weights_only=False)
    strange.interactions[1].avg_num_neighbors = 3.0
    torch.save(strange, tmp_path / "strange.model")
    with pytest.raises(UserError, match="not supported here: parts of it"):
        TeacherSource("mace", file=tmp_path / "strange.model").open()


def test_settings_are_plain_data() -> None:
    """They survive JSON, which is how a saved potential keeps them."""
    settings = MACESettings(correlation=[3, 2], gate="tanh", heads=["a", "b"], head="b")
    assert MACESettings(**settings.model_dump(mode="json")) == settings


PUBLISHED = [name for name in names("teacher") if name.startswith("mace-")]


def test_published_models_are_those_of_the_package() -> None:
    """Addresses as the installed package has them; MACE-OFF24 it has none of."""
    from mace.calculators import foundations_models

    known = {**foundations_models.mace_mp_urls, **{f"off {k}": u for k, u in foundations_models.mace_off_urls.items()}}
    for name in PUBLISHED:
        if name != "mace-off24":
            assert POTENTIALS[name].weights.url in known.values(), name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_say_what_they_are(name: str) -> None:
    row = POTENTIALS[name]
    assert row.weights.licence == row.licence and row.weights.level_of_theory == row.level_of_theory
    assert len(row.weights.sha256) == 64
    assert len(row.elements) == (10 if "off" in name else 89)
    assert row.licence.startswith("ASL" if "off" in name or "omat" in name else "MIT")


def test_a_published_model_is_read_from_the_cache(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atoms: list[Atoms]
) -> None:
    """A file put by hand into the cache is used without a network, once its checksum is that of the row."""
    row = POTENTIALS["mace-mp-0a"]
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    row.weights.path.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="SHA-256"):
        TeacherSource("mace-mp-0a").open()
    monkeypatch.setattr(row, "weights", replace(row.weights, sha256=hash_file(file)), raising=False)
    potential = TeacherSource("mace-mp-0a").open()
    assert potential.architecture == "mace-mp-0a" and potential.dtype == torch.float32
    assert potential.origin["verified"] == "against a recorded SHA-256" and potential.origin["licence"] == "MIT"
    save(potential, tmp_path / "saved", {})
    assert load(tmp_path / "saved").architecture == "mace-mp-0a"


def test_the_package_does_not_make_other_loading_unsafe() -> None:
    """The package would switch ``torch.load`` to running code in the whole process, and print a notice."""
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    code = f"import os, distill.potentials.networks.mace\nraise SystemExit(os.environ.get('{name}', 0))"
    clean = {key: value for key, value in os.environ.items() if key != name}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
