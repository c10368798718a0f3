"""``distill evaluate``: right numbers, whole files, and one sentence for whatever cannot be used."""

from __future__ import annotations

import csv
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read

from distill.api import evaluate
from distill.base.errors import UserError
from distill.cli import main
from distill.evaluation import COLUMNS
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.workflow.store import Store

TEST = Path(__file__).parents[2] / "data" / "silicon" / "test.xyz"


@dataclass(frozen=True)
class Trained:
    """What names an artifact."""

    stage: str = "train"
    hash: str = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small student that was never trained but knows silicon."""
    folder = tmp_path_factory.mktemp("runs") / "quick" / "models" / "painn"
    potential = PaiNN.build(PaiNN.Settings(channels=8, layers=2, radial_features=6, cutoff=4.5), seed=0)
    potential.initialise(read_frames(TEST)[0])
    save(potential, folder, {})
    return folder


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has its own current folder."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: Any) -> int:
    return main(["evaluate", *map(str, arguments), "--device", "cpu"])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run what must be refused: status 2, one line, and nothing in the current folder that was not there."""
    before = sorted(Path.cwd().rglob("*"))
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("distill: ") and captured.err.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
    return captured.err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_numbers_are_those_that_anyone_computes(model: Path, tmp_path: Path) -> None:
    assert run(model, TEST) == 0
    reference, predicted = read_frames(TEST)[0], read_frames(tmp_path / "test-quick-painn" / "predictions.xyz")[0]
    expected = load(model).evaluate(reference)
    # the file keeps every bit; batches of the two calls are the same
    np.testing.assert_array_equal(predicted.forces, expected.forces)
    np.testing.assert_array_equal(predicted.energy, expected.energy)
    rows = rows_of(tmp_path / "test-quick-painn" / "errors.csv")
    assert tuple(rows[0]) == COLUMNS
    assert {r["config_type"] for r in rows} == {"all", "strained", "thermal", "liquid"}
    found = {(r["quantity"], r["statistic"]): r for r in rows if r["config_type"] == "all"}
    mae = np.abs(predicted.forces - reference.forces).mean()
    rmse = np.sqrt(np.square(predicted.energy / predicted.n_atoms - reference.energy_per_atom).mean())
    assert float(found["forces", "mae"]["value"]) == pytest.approx(mae, rel=1e-12)
    assert float(found["energy_per_atom", "rmse"]["value"]) == pytest.approx(rmse, rel=1e-12)
    assert float(found["forces", "mae"]["low"]) < mae < float(found["forces", "mae"]["high"])


def test_the_terminal_shows_a_table_in_the_units_of_the_report(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, TEST, "--out", "here") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("60 structures in ") and "energy from 'energy'" in lines[0] and captured.err == ""
    assert lines[1].split() == ["structures", "error", "of", "MAE", "RMSE", "R²", "maximum"]
    mae = 1000 * float(rows_of(Path("here/errors.csv"))[4]["value"])
    (row,) = [line for line in lines if line.startswith("all (60)") and "forces (meV/Å)" in line]
    assert f"  {mae:.0f} [" in row
    assert lines[-2:] == ["  here/predictions.xyz", "  here/errors.csv"]


def test_json_is_the_table_and_nothing_else(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, TEST, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows] == rows_of(
        Path("test-quick-painn/errors.csv")
    )


def test_a_file_without_labels_has_predictions_only(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frames("some.xyz", Frames.from_atoms([bulk("Si"), bulk("Si", cubic=True)]))
    Path("some-quick-painn").mkdir()
    Path("some-quick-painn/errors.csv").write_text("of an earlier file")
    assert run(model, "some.xyz") == 0
    assert "no energy, no forces, no stress" in capsys.readouterr().out
    assert [p.name for p in Path("some-quick-painn").iterdir()] == ["predictions.xyz"]
    assert run(model, "some.xyz", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def called(model: Path) -> str:
    """Evaluate a model and return what it is called in the table, and so in the name of the folder."""
    before = set(Path.cwd().iterdir())
    assert run(model, TEST) == 0
    (folder,) = set(Path.cwd().iterdir()) - before  # no other model's results are overwritten
    (name,) = {row["model"] for row in rows_of(folder / "errors.csv")}
    assert folder.name == f"test-{name}"
    return name


def test_models_of_runs_and_sweeps_are_called_by_them(model: Path, tmp_path: Path) -> None:
    """There they are links to folders ``model`` of the store."""
    places = ("runs/one/models/painn", "runs/other/models/painn", "runs/study/variants/cutoff-4.0/models/painn")
    for place in map(Path, places):
        place.parent.mkdir(parents=True)
        place.symlink_to(model)
    found = [called(Path(place)) for place in places]
    assert found == ["one-painn", "other-painn", "study-cutoff-4.0-painn"]


def test_other_folders_of_one_name_are_told_apart_by_what_is_in_them(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "painn").symlink_to(model)
    changed = load(model)
    changed.reference_energies.data[14] += 1.0
    save(changed, tmp_path / "b" / "painn", {})
    names = [called(tmp_path / folder / "painn") for folder in "ab"]
    assert names[0] != names[1] and all(name.startswith("painn-") and len(name) == 14 for name in names)
    assert run(tmp_path / "a" / "painn", TEST) == 0
    assert len(list(Path.cwd().glob("test-*"))) == 2  # the same model goes where it went


def test_a_model_of_the_store_is_called_by_its_labels_and_hash(model: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for seed in (0, 1):
        key = Trained(hash=f"{seed}123456789abcdef" * 4)
        shutil.copytree(model, store.work(key) / "out" / "model")
        labels = {"student": "painn", "variant": "direct", "seed": seed}
        store.promote(key, {"stage": "train", "labels": labels, "summary": {}, "warnings": []})
        assert called(store.artifact(key) / "model") == f"painn-direct-{seed}-{seed}1234567"


def test_objects_give_the_numbers_of_files(model: Path) -> None:
    """A potential and its calculator for the folder; frames and ASE structures, as ASE has read them, for the file."""
    frames = read_frames(TEST)[0][:5]
    write_frames("some.xyz", frames)
    expected = evaluate(model, "some.xyz").rows()
    atoms = read("some.xyz", ":")
    models = {"folder": model, "painn": load(model), "PotentialCalculator": load(model).calculator()}
    for name, one in models.items():
        for data in (frames, atoms, tuple(atoms)):
            found = evaluate(one, data)
            assert [row["n"] for row in found.rows()] == [row["n"] for row in expected]
            # ASE writes nine digits of positions and eight of energies
            np.testing.assert_allclose(values(found.rows()), values(expected), rtol=1e-5, err_msg=name)
            assert (found.model, found.data) == ("quick-painn" if one is model else found.model, "the structures")
    assert evaluate(models["painn"], atoms[0], name="mine").rows()[0]["model"] == "mine"
    assert evaluate(models["painn"], atoms).model == "painn"
    assert len(evaluate(models["painn"], atoms[0]).predicted) == 1


def values(rows: list[dict[str, Any]]) -> list[float]:
    return [np.nan if row[name] is None else row[name] for row in rows for name in ("value", "low", "high")]


def test_a_calculator_of_ase_is_a_model(tmp_path: Path) -> None:
    atoms = [bulk("Cu", cubic=True), bulk("Al", cubic=True)]
    for one in atoms:
        one.rattle(0.05, seed=1)
        one.calc = EMT()
        one.info["REF_energy"] = (
            one.get_potential_energy() + 0.4
        )  # what EMT has found is preferred where no key is given
    mine = {"energy": "REF_energy"}
    result = evaluate(EMT(), atoms, keys=mine)
    (mae,) = [r for r in result.errors if (r.config_type, r.quantity, r.statistic) == ("all", "energy_per_atom", "mae")]
    assert mae.value == pytest.approx(0.1, abs=1e-9) and result.model == "EMT"  # four atoms each
    np.testing.assert_allclose(result.predicted.forces, np.concatenate([one.get_forces() for one in atoms]), atol=1e-9)


def test_a_result_of_another_state_of_a_structure_is_no_label(model: Path) -> None:
    atoms = bulk("Si", cubic=True)
    atoms.calc = load(model).calculator()
    atoms.get_forces()
    assert {row.quantity for row in evaluate(model, atoms).errors} == {"energy_per_atom", "forces", "stress"}
    atoms.positions[0] += 0.1
    assert evaluate(model, atoms).errors == ()


def test_objects_that_cannot_be_used_are_refused(model: Path) -> None:
    potential, atoms = load(model), bulk("Si")
    for one, data, options, words in (
        (3, atoms, {}, "int is no model"),
        (atoms, atoms, {}, "Atoms is no model"),
        (potential, [], {}, "there are no structures"),
        (potential, [3], {}, "list are no structures"),
        (potential, [atoms, bulk("Ge")], {}, "the structures, frame 1 .* does not know the element Ge"),
        (potential, atoms, {"device": "cuda"}, "device is for folders, and painn is opened already"),
        (potential, Frames.from_atoms([atoms]), {"keys": {"energy": "x"}}, "frames have their labels"),
        (potential, atoms, {"keys": {"energy": "mine"}}, "no energy: no frame has a key .* 'mine'"),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(one, data, **options)  # type: ignore[arg-type]


def test_what_labels_there_are_is_compared(model: Path) -> None:
    frames = read_frames(TEST)[0][:4]
    write_frames("energies.xyz", frames.with_labels(frames.energy, None, None))
    result = evaluate(model, "energies.xyz")
    assert {row.quantity for row in result.errors} == {"energy_per_atom"}
    assert result.files == () and sorted(p.name for p in Path.cwd().iterdir()) == ["energies.xyz"]
    assert result.predicted.forces is not None and len(result.predicted) == 4


def test_a_stress_that_cannot_be_predicted_is_not_an_error(model: Path) -> None:
    """Of a slab only, whose stress no potential here defines; that of the crystals is compared."""
    frames = read_frames(TEST)[0][:4]
    pbc = np.array(frames.pbc)
    pbc[1] = [True, True, False]
    write_frames("slab.xyz", replace(frames, pbc=pbc))
    (mae,) = [
        r
        for r in evaluate(model, "slab.xyz").errors
        if (r.config_type, r.quantity, r.statistic) == ("all", "stress", "mae")
    ]
    assert mae.n == 3 and mae.value is not None


def test_keys_of_the_users_own(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TEST.read_text().replace("energy=", "mine=").replace("forces:R:3", "pull:R:3")
    Path("own.xyz").write_text(text)
    assert run(model, "own.xyz", "--key", "energy=mine", "--key", "forces=pull", "--out", "a") == 0
    assert "energy from 'mine', forces from 'pull'" in capsys.readouterr().out
    assert run(model, TEST, "--out", "b") == 0
    numbers = [[r["value"] for r in rows_of(Path(folder, "errors.csv"))] for folder in "ab"]
    assert numbers[0] == numbers[1]


def test_what_is_not_a_label_is_in_no_error_and_is_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An isolated atom without forces, a frame whose forces are not meant, and predictions beside the references."""
    frames = read_frames(TEST)[0][:3]
    write_frames("plain.xyz", frames)
    text = Path("plain.xyz").read_text().replace(" energy=", " config_forces_weight=0.0 energy=", 1)
    text = text.replace(" energy=", " energy=-1.0 REF_energy=").replace("forces:R:3", "REF_forces:R:3")
    atom = '1\nProperties=species:S:1:pos:R:3 REF_energy=-0.8 config_type=IsolatedAtom pbc="F F F"\nSi 0 0 0\n'
    Path("some.xyz").write_text(atom + text)
    result = evaluate(model, "some.xyz", device="cpu")
    assert {f.kind for f in result.findings} == {"missing-label", "two-sources"}
    (row,) = [r for r in result.errors if (r.quantity, r.statistic, r.config_type) == ("forces", "mae", "all")]
    predicted = load(model, "cpu").evaluate(frames[[1, 2]])
    assert predicted.forces is not None and frames.forces is not None
    expected = np.abs(predicted.forces - frames[[1, 2]].forces).mean()
    assert row.n == 2 and row.value == pytest.approx(expected, rel=1e-9)  # the same predictions in another batch
    assert run(model, "some.xyz") == 0
    assert "warning: some.xyz, frames 1, 2, 3" in capsys.readouterr().err


def test_wrong_keys_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, model, TEST, "--key", "energy=mine")
    assert "no energy" in said and "--key energy=NAME" in said and "recipe" not in said
    assert "Did you mean 'energy'?" in refusal(capsys, model, TEST, "--key", "energi=mine")
    assert "must be LABEL=NAME" in refusal(capsys, model, TEST, "--key", "energy")


def test_what_is_not_a_model_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone: there is no such folder" in refusal(capsys, "gone", TEST)
    assert f"Give one of these: {model}" in refusal(capsys, model.parents[1], TEST)
    assert f"Give one of these: {model}" in refusal(capsys, model.parent, TEST)
    assert f"Give its folder, {model}" in refusal(capsys, model / "weights.safetensors", TEST)
    Path("empty").mkdir()
    assert "it has no model.json" in refusal(capsys, "empty", TEST)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.safetensors", b"short"),
        ("weights.safetensors", None),
        ("model.json", b"{"),
        ("model.json", b"[]"),
        ("model.json", b"\xff\x00"),
        ("model.json", b'{"format": 1}'),
    ],
)
def test_a_damaged_model_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None
) -> None:
    shutil.copytree(model, "damaged")
    if content is None:
        Path("damaged", name).unlink()
    else:
        Path("damaged", name).write_bytes(content)
    assert "damaged" in refusal(capsys, "damaged", TEST)


def test_structures_that_cannot_be_used_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.xyz: no such file" in refusal(capsys, model, "gone.xyz")
    Path("cut.xyz").write_text(TEST.read_text()[:3000])
    assert "truncated" in refusal(capsys, model, "cut.xyz")
    write_frames("mixed.xyz", Frames.from_atoms([bulk("Si"), bulk("Ge")]))
    said = refusal(capsys, model, "mixed.xyz")
    assert "mixed.xyz, frame 1 (counted from 0): the potential does not know the element Ge. It knows Si" in said


def test_places_that_cannot_be_written_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert "is not a folder" in refusal(capsys, model, TEST, "--out", "file")
    assert "is not a folder" in refusal(capsys, model, TEST, "--out", "file/deeper")
    shutil.copy(TEST, "predictions.xyz")
    said = refusal(capsys, model, "predictions.xyz", "--out", ".")
    assert "would be overwritten by the predictions" in said


def test_an_unknown_device_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(model), str(TEST), "--device", "gpu"]) == 2
    assert "unknown device 'gpu'" in capsys.readouterr().err


def test_an_interruption_leaves_nothing_and_says_so(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Frames:
        raise KeyboardInterrupt

    monkeypatch.setattr(Potential, "evaluate", interrupted)
    own = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert run(model, TEST) == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == own
    assert "continues" not in capsys.readouterr().err
    assert list(Path.cwd().iterdir()) == []


def test_predictions_that_are_not_finite_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    potential = PaiNN.build(PaiNN.Settings(channels=8, layers=1, radial_features=6, cutoff=4.0), seed=0)
    potential.reference_energies.data[8] = np.nan
    save(potential, tmp_path / "broken", {})
    write_frames("some.xyz", Frames.from_atoms([bulk("Si"), molecule("H2O")]))
    assert run("broken", "some.xyz") == 0
    assert capsys.readouterr().err == "warning: 1 predictions are not finite, the first for frame 1\n"


def test_a_terminal_shows_rate_and_time_left(model: Path) -> None:
    frames = read_frames(TEST)[0]
    write_frames("many.xyz", frames[np.arange(300) % len(frames)])
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "distill.cli", "evaluate", model, "many.xyz", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=there,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(there)
    shown = b""
    while True:
        try:
            shown += os.read(here, 65536)
        except OSError:  # the other side of a terminal that closes is an input/output error
            break
    os.close(here)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "━" in text and "/300 structures" in text and "structures/s" in text and " left" in text


@pytest.mark.parametrize("name", ["model/model.json", "model/weights.safetensors", "manifest.json"])
def test_a_damaged_model_of_a_run_is_not_evaluated(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Of a number in its description, too, that would give another model without a word."""
    key = Trained()
    store = Store(tmp_path / "store")
    shutil.copytree(model, store.work(key) / "out" / "model")
    store.promote(key, {"summary": {}, "warnings": []})
    link = tmp_path / "painn"
    link.symlink_to(store.artifact(key) / "model")
    assert run(link, TEST, "--out", tmp_path / "whole") == 0
    capsys.readouterr()
    path = store.artifact(key) / name
    content = bytearray(path.read_bytes())
    at = content.index(b"4.5") if name.endswith("model.json") else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    said = refusal(capsys, link, TEST)
    assert f"{path}: is damaged: it is not as it was written. distill run with its recipe makes it again." in said


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"null", b'{"sha256": 1}'])
def test_a_description_that_is_none_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "copy" / "model.json").write_bytes(content)
    assert "copy" in refusal(capsys, tmp_path / "copy", TEST)
