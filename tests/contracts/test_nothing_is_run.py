"""Hostile folders of models, stores and recipes: nothing that they name runs, and each ends in one sentence.

Whatever is executed leaves a file behind. What a sentence advises is tried.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from graph_pes.models import LennardJones
from safetensors.torch import save_file

import distill
from distill.base.consent import Code, Consent
from distill.base.errors import UserError
from distill.base.files import hash_file, read_json, write_json
from distill.cli import main
from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, open_saved, save
from distill.potentials.published.mattersim import read_checkpoint
from distill.potentials.published.orb import read_weights
from distill.potentials.students.custom import Custom, CustomSettings
from distill.stages.base import Job
from distill.stages.predict import Predict
from distill.structures.frames import Frames
from distill.structures.write import write_frames
from distill.training.curve import Point
from distill.training.gradient.callbacks import Checkpoint
from distill.training.gradient.fit import fit


class Touch:
    """What leaves a file behind where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that shows that something ran."""
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder, which is the current one, with a script and a module that leave the marker behind."""
    model = tmp_path / "model"
    painn = POTENTIALS["painn"]
    save(painn.build(painn.Settings(channels=4, layers=1, cutoff=4.0), 0), model, {})
    (model / "evil.sh").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (model / "evil.sh").chmod(0o755)
    (model / "evil_module.py").write_text(f"import os\nos.system('touch {marker}')\nNet = make = dict\n")
    monkeypatch.chdir(model)
    monkeypatch.setattr(sys, "path", list(sys.path))  # planning adds the current folder
    return model


def rewrite(folder: Path, architecture: str, **settings: Any) -> None:
    """Let the folder say that it is another potential."""
    said = read_json(folder / "model.json")
    write_json(folder / "model.json", said | {"architecture": architecture, "settings": settings})


def of_python(folder: Path, marker: Path) -> None:
    file = folder / "evil_module.py"
    rewrite(folder, "ase", model="ase", file=str(file), sha256=hash_file(file), function="make")


def of_weights(folder: Path, marker: Path) -> None:
    (folder / "evil.model").write_bytes(pickle.dumps(Touch(marker)))
    rewrite(folder, "ase", model="mace", file=str(folder / "evil.model"), sha256=hash_file(folder / "evil.model"))


def of_graph_pes(folder: Path, marker: Path) -> None:
    torch.save(Touch(marker), folder / "network.pt")
    rewrite(folder, "graph-pes", sha256=hash_file(folder / "network.pt"))


def of_other_weights(folder: Path, marker: Path) -> None:
    torch.save(Touch(marker), folder / "weights.safetensors")
    said = read_json(folder / "model.json")
    write_json(folder / "model.json", said | {"sha256": hash_file(folder / "weights.safetensors")})


EMT_REFERENCE = "ase.calculators.emt:EMT"
FOLDERS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "class that is a function": (
        lambda f, m: rewrite(f, "custom", model="subprocess:check_output", parameters={"args": ["touch", str(m)]}),
        "runs the class subprocess:check_output, which its folder alone names",
    ),
    "class beside it": (lambda f, m: rewrite(f, "custom", model="evil_module:Net"), "the class evil_module:Net"),
    "function": (lambda f, m: rewrite(f, "ase", function="evil_module:make"), "the function evil_module:make"),
    "function of another row": (
        lambda f, m: rewrite(f, "sevennet-0", model="ase", function="evil_module:make"),
        "the function evil_module:make",
    ),
    "file of Python": (of_python, "runs the file .*evil_module.py"),
    "interpreter of a function": (
        lambda f, m: rewrite(f, "ase", function=EMT_REFERENCE, environment="./evil.sh"),
        f"the function {EMT_REFERENCE}",
    ),
    "interpreter of a model": (
        lambda f, m: rewrite(f, "sevennet-0", environment="./evil.sh"),
        "sevennet-0 runs in an interpreter of its own, and one that the folder names is not started",
    ),
    "file of weights": (of_weights, "runs the file .*evil.model"),
    "pickled network": (of_graph_pes, "runs the pickle network.pt"),
    "pickled weights": (of_other_weights, "the potential is damaged"),
    "unknown architecture": (lambda f, m: rewrite(f, "evil_module:Net"), "unknown potential 'evil_module:Net'"),
    "architecture that is no name": (lambda f, m: rewrite(f, ["os", "system"]), "the potential is damaged"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_runs_nothing(kind: str, folder: Path, marker: Path) -> None:
    prepare, said = FOLDERS[kind]
    prepare(folder, marker)
    with pytest.raises(UserError, match=said) as caught:
        load(folder).evaluate([bulk("Si")])
    assert not marker.exists() and "\n" not in str(caught.value)
    assert "evil_module" not in sys.modules


@pytest.mark.skipif(find_spec("pyace") is None, reason="python-ace is not installed")
def test_an_expansion_runs_here_unless_an_interpreter_is_named(folder: Path, marker: Path) -> None:
    row = POTENTIALS["ace"]
    settings = row.Settings(elements=["Si"], environment="./evil.sh")
    assert row.restore(settings, folder, Consent()).settings.environment is None
    assert row.restore(settings, folder, Consent(trust_code=True)).settings.environment is None
    named = row.restore(settings, folder, Consent(environment=sys.executable))
    assert named.settings.environment == sys.executable
    rewrite(folder, "ace", elements=["Si"], environment="./evil.sh")
    with pytest.raises(UserError, match="the potential is damaged"):  # its weights are those of a network
        load(folder).evaluate([bulk("Si")])
    assert not marker.exists()


def test_the_command_line_says_what_to_do_and_that_is_right(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A calculator of a module that everybody has, so that trusting it can be tried."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    write_frames(tmp_path / "data.xyz", Frames.from_atoms([atoms]))
    rewrite(folder, "ase", function=EMT_REFERENCE)
    save_file({"offsets": torch.zeros(119, dtype=torch.float64)}, folder / "weights.safetensors")
    said = read_json(folder / "model.json") | {"elements": None, "sha256": hash_file(folder / "weights.safetensors")}
    write_json(folder / "model.json", said)
    command = ["evaluate", str(folder), str(tmp_path / "data.xyz"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--trust-code" in said
    assert main([*command, "--trust-code"]) == 0
    found = distill.evaluate(folder, tmp_path / "data.xyz", trust_code=True, environment=sys.executable)
    assert found.predicted.energy[0] == pytest.approx(EMT().get_potential_energy(atoms), abs=1e-6)


@pytest.mark.parametrize("environment", [sys.executable, "./evil.sh"])
def test_an_interpreter_is_for_potentials_that_run_in_one(environment: str, folder: Path, marker: Path) -> None:
    with pytest.raises(UserError, match=r"painn runs in this interpreter\. Leave the environment out"):
        load(folder, environment=environment)
    assert load(folder).architecture == "painn" and not marker.exists()


# ---- what a recipe names may run, and nothing else ------------------------------------------------------------------


def test_a_recipe_lets_run_what_it_names_alone(folder: Path, marker: Path) -> None:
    """Another function, or the same one in a file of other content, is not what the recipe names."""
    ours, theirs = folder.parent / "ours.py", folder / "theirs.py"
    ours.write_text("from ase.calculators.emt import EMT\n\ndef make():\n    return EMT()\n")
    theirs.write_text(ours.read_text())
    consent = Consent(named=(Code("ase", "make", str(ours)), Code("ase", EMT_REFERENCE), Code("custom", "mine:Net")))
    said = {"model": "ase", "file": str(theirs), "sha256": hash_file(theirs), "function": "make"}
    rewrite(folder, "ase", **said)
    row = POTENTIALS["ase"]
    opened: Any = row.restore(row.Settings(**said), folder, consent)
    assert opened.settings.file == str(ours), "the recipe's own file, whose neighbours are the recipe's too"
    for changed in ({"function": "other"}, {"sha256": "0" * 64}, {"file": None, "function": "evil_module:make"}):
        with pytest.raises(UserError, match="its folder alone names"):
            row.restore(row.Settings(**said | changed), folder, consent)
    for kind, reference in (("custom", "evil_module:Net"), ("custom", EMT_REFERENCE)):
        rewrite(folder, kind, model=reference)
        with pytest.raises(UserError, match="its folder alone names"):
            open_saved(folder, "cpu", consent)
    assert not marker.exists()


def test_an_interpreter_is_the_recipes_where_both_name_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    row, place = POTENTIALS["ase"], str(tmp_path / "bin" / "python")
    settings = row.Settings(model="ase", function=EMT_REFERENCE, environment=place)
    named = Code("ase", EMT_REFERENCE, environment=str(tmp_path))
    assert row.restore(settings, folder, Consent(named=(named,))).settings.environment == place
    other = Code("ase", EMT_REFERENCE, environment=sys.executable)
    assert row.restore(settings, folder, Consent(named=(other,))).settings.environment is None


def test_a_pickled_network_is_read_where_the_recipe_names_a_file_of_its_content(tmp_path: Path) -> None:
    torch.save(LennardJones(cutoff=4.0, epsilon=0.02, sigma=2.0), tmp_path / "mine.pt")
    torch.save(LennardJones(cutoff=4.0, epsilon=0.03, sigma=2.0), tmp_path / "other.pt")
    save(TeacherSource("graph-pes", file=tmp_path / "mine.pt").open(), tmp_path / "model", {})
    with pytest.raises(UserError, match=r"the pickle network\.pt"):
        open_saved(tmp_path / "model", "cpu", Consent(named=(Code("graph-pes", file=str(tmp_path / "other.pt")),)))
    opened = open_saved(tmp_path / "model", "cpu", Consent(named=(Code("graph-pes", file=str(tmp_path / "mine.pt")),)))
    trusted = load(tmp_path / "model", trust_code=True)
    assert opened.evaluate([bulk("Si")]).energy == trusted.evaluate([bulk("Si")]).energy != 0


def test_an_artifact_of_a_store_runs_nothing_in_the_stage_that_reads_it(folder: Path, marker: Path) -> None:
    """As it would be in a store that somebody else can write to."""
    write_frames(folder / "test.xyz", Frames.from_atoms([bulk("Cu")]))
    out = folder / "out"
    out.mkdir()
    of_python(folder, marker)
    labels = {"student": "teacher", "variant": "finetuned", "seed": 0}
    job = Job(out, labels, consent=Consent(named=(Code("ase", "x:y"),)))
    with pytest.raises(UserError, match="its folder alone names"):
        Predict().run({"test": folder / "test.xyz", "model": folder}, Predict.Settings(), job)
    assert not marker.exists()


def test_a_checkpoint_runs_nothing(tmp_path: Path, marker: Path) -> None:
    """What is left of an interrupted fit may be anything; the fit begins anew, and says so."""
    painn, work = POTENTIALS["painn"], tmp_path / "work"
    structures = Frames.from_atoms([bulk("Si")] * 2).with_labels(np.zeros(2), np.zeros((4, 3)), None)

    def again() -> Any:
        student: Potential = painn.build(painn.Settings(channels=4, layers=1, cutoff=4.0), 0)
        return fit(
            student, structures, structures, steps=2, validation_interval=1, batch_size=2, learning_rate=0.01, work=work
        )

    work.mkdir()
    torch.save(Touch(marker), work / Checkpoint.LAST)
    result = again()
    assert not marker.exists() and isinstance(result.curve[-1], Point)
    assert result.warnings == ["last.ckpt, from which the fit would have continued, was damaged: it began anew"]


@pytest.mark.parametrize("content", ["object", "half a file"])
def test_published_weights_are_numbers(content: str, tmp_path: Path, marker: Path) -> None:
    """torch's advice to read the file all the same, and how, does not reach the user."""
    path = tmp_path / "weights.ckpt"
    torch.save(Touch(marker) if content == "object" else {"a": torch.zeros(100)}, path)
    if content != "object":
        path.write_bytes(path.read_bytes()[:300])
    row = POTENTIALS["orb-v3-direct-20-omat"]
    for read in (lambda: read_weights(row.create(row.Settings()), path), lambda: read_checkpoint(path, "mattersim")):
        with pytest.raises(UserError, match="it is damaged") as caught:
            read()
        assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)
    assert not marker.exists()


# ---- recipes --------------------------------------------------------------------------------------------------------

RECIPE = """
name: hostile
data: {{train: train.xyz}}
teacher: {{model: "{teacher}", finetune: null}}
students: {{net: {{arch: "{arch}"}}}}
{more}
"""
RECIPES = {
    "tag": {"more": "evaluate: !!python/object/apply:os.system ['touch {marker}']"},
    "tag of a module": {"more": "evaluate: !!python/module:evil_module"},
    "executor": {"more": "executor: {{kind: 'os:system'}}"},
    "teacher": {"teacher": "evil_module:make"},
    "architecture": {"arch": "evil_module"},
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_is_data(kind: str, folder: Path, marker: Path) -> None:
    parts = {"teacher": "chgnet-0.3", "arch": "painn", "more": ""} | RECIPES[kind]
    parts["more"] = parts["more"].format(marker=marker)
    (folder / "recipe.yaml").write_text(RECIPE.format(**parts))
    (folder / "train.xyz").write_text("")
    with pytest.raises(UserError) as caught:
        distill.plan(folder / "recipe.yaml")
    assert not marker.exists() and "\n" not in str(caught.value)


def test_an_override_is_data(folder: Path, marker: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.format(teacher="chgnet-0.3", arch="painn", more=""))
    with pytest.raises(UserError, match="tags such as"):
        distill.load_recipe(folder / "recipe.yaml", [f"seed=!!python/object/apply:os.system ['touch {marker}']"])
    assert not marker.exists()


def test_planning_does_not_import_what_a_recipe_names(folder: Path, marker: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.format(teacher="ase:evil_module:make", arch="evil_module:Net", more=""))
    (folder / "train.xyz").write_text("")
    assert "train[net,distilled,0]" in {task.id for task in distill.plan(folder / "recipe.yaml")}
    assert not marker.exists() and "evil_module" not in sys.modules


def test_what_is_no_network_is_not_called(folder: Path, marker: Path) -> None:
    """The recipe's text lets a module be imported; what is called is a class of networks or nothing."""
    settings = CustomSettings(model="subprocess:check_output", parameters={"args": ["touch", str(marker)]})
    with pytest.raises(UserError, match="not a class of graph-pes models"):
        Custom.network(settings)
    assert not marker.exists()
