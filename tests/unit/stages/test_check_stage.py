"""The stage writes what the files hold with standard keys, draws what is missing, and refuses what cannot be used."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.stages.base import Job
from distill.stages.check import Check, Data, Keys, check_data, check_file
from distill.structures.frames import Frames, concatenate
from distill.structures.materials import ordinary_materials
from distill.structures.read import LabelKeys, read_frames
from distill.structures.write import write_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"
FILES = {name: SILICON / f"{name}.xyz" for name in ("train", "valid", "test")}


def run(out: Path, inputs: dict[str, Path | None], **settings: Any) -> tuple[dict[str, Any], Job]:
    """Run the stage in an empty folder."""
    out.mkdir()
    job = Job(out=out, seed=1)
    return Check().run(inputs, Check.Settings(**settings), job), job


def test_shipped_data(tmp_path: Path) -> None:
    summary, job = run(tmp_path / "out", dict(FILES))
    expected = "25 train, 5 valid, 60 test structures; Si; energy, forces, stress from keys energy, forces, stress"
    assert summary["headline"] == expected
    assert summary["config_types"]["train"] == {"strained": 8, "thermal": 8, "liquid": 9}
    assert summary["findings"] == [] and job.warnings == [] and summary["drawn"] == []
    assert [f["kind"] for f in json.loads((tmp_path / "out" / "findings.json").read_text())] == ["read"] * 3
    assert json.loads((tmp_path / "out" / "isolated_atoms.json").read_text()) == {}
    json.dumps(summary, allow_nan=False)
    for name, path in FILES.items():
        before, after = read_frames(path)[0], read_frames(tmp_path / "out" / Check.outputs[name])[0]
        assert np.array_equal(before.positions, after.positions) and before.info == after.info
        assert before.stress is not None and after.stress is not None and np.array_equal(before.stress, after.stress)


def test_missing_splits_are_drawn_and_said(tmp_path: Path) -> None:
    inputs = {"train": FILES["train"], "valid": None, "test": None}
    summary, job = run(tmp_path / "out", inputs)
    assert sum(summary["counts"].values()) == 25 and min(summary["counts"].values()) >= 3
    assert [w.split(":")[0] for w in job.warnings] == ["no test file is named", "no validation file is named"]
    sets = [read_frames(tmp_path / "out" / Check.outputs[name])[0] for name in FILES]
    everything = sorted(concatenate(sets).energy.tolist())  # type: ignore[union-attr]
    assert everything == sorted(read_frames(FILES["train"])[0].energy.tolist())  # type: ignore[union-attr]
    kept, _ = run(tmp_path / "kept", {**inputs, "test": FILES["test"]}, valid_fraction=0.4)
    assert kept["counts"]["test"] == 60 and 8 <= kept["counts"]["valid"] <= 12


def test_other_keys(tmp_path: Path) -> None:
    text = FILES["train"].read_text().replace("energy=", "pbe=").replace(":forces:", ":F:").replace("stress=", "w=")
    other = tmp_path / "other.xyz"
    other.write_text(text)
    keys = Keys(energy="pbe", forces="F", stress="w")
    summary, _ = run(tmp_path / "out", {"train": other, "valid": None, "test": None}, keys=keys)
    assert summary["headline"].endswith("energy, forces, stress from keys pbe, F, w")
    assert read_frames(tmp_path / "out" / "train.xyz")[1].energy == "energy"
    with pytest.raises(UserError, match="key 'pbe': no energy"):
        run(tmp_path / "bad", {"train": other, "valid": FILES["valid"], "test": None}, keys=keys)


def test_the_same_structure_in_train_and_test(tmp_path: Path) -> None:
    train = read_frames(FILES["train"])[0]
    leaking = tmp_path / "leaking.xyz"
    write_frames(leaking, concatenate([read_frames(FILES["test"])[0], train[[4]], train[[11]]]))
    with pytest.raises(
        UserError, match=r"train\.xyz, frames 4, 11 \(counted from 0\): the same structure as"
    ) as caught:
        run(tmp_path / "out", {**FILES, "test": leaking})
    assert "leaking.xyz, frames 60, 61" in str(caught.value)
    found = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [(f["kind"], f["frames"]) for f in found if f["severity"] == "error"] == [("leakage", [4, 11])]
    assert "data.accept: [leakage]" in str(caught.value)
    _, job = run(tmp_path / "accepted", {**FILES, "test": leaking}, accept=("leakage",))
    assert len(job.warnings) == 1 and "the same structure as" in job.warnings[0]


def test_an_element_that_the_teacher_does_not_know(tmp_path: Path) -> None:
    """CHGNet knows 94 elements; americium is the 95th. A second error follows in the text."""
    frames = read_frames(FILES["train"])[0]
    numbers = np.array(frames.numbers)
    numbers[16 * 7] = 95
    strange = tmp_path / "strange.xyz"
    write_frames(strange, replace(frames, numbers=numbers))
    with pytest.raises(
        UserError, match=r"strange\.xyz, frame 7 .*: Am is not known to the teacher chgnet-0\.3"
    ) as error:
        run(tmp_path / "out", {"train": strange, "valid": FILES["train"], "test": FILES["test"]})
    assert "1 more:\n  error [leakage]: " in str(error.value) and "the same structure as" in str(error.value)


def test_an_unknown_teacher() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'chgnet-0\.3'\?"):
        check_data({"train": FILES["train"]}, Check.Settings(teacher="chgnet-03"), 0)


def test_warnings_reach_the_user_and_do_not_stop(tmp_path: Path) -> None:
    frames = read_frames(FILES["train"])[0]
    energy = np.array(frames.energy)
    energy[3] += 100
    off = tmp_path / "off.xyz"
    write_frames(off, replace(frames, energy=energy))
    summary, job = run(tmp_path / "out", {**FILES, "train": off})
    assert len(job.warnings) == 1
    assert "off.xyz, frame 3 (counted from 0): energies are more than 1 eV" in job.warnings[0]
    assert summary["findings"][0].startswith("warning [mixed-levels]: ")


def test_one_file_for_the_command_line(tmp_path: Path) -> None:
    (first,) = check_file(FILES["test"])
    assert (first.severity, first.kind) == ("info", "read")
    assert (
        first.what == "60 structures, 960 atoms of Si; energy from 'energy', forces from 'forces', stress from 'stress'"
    )
    with pytest.raises(UserError, match="no such file"):
        check_file(tmp_path / "nowhere.xyz")


def test_files_of_a_recipe_for_the_command_line(tmp_path: Path) -> None:
    findings = check_data(FILES, Check.Settings(), 0)
    assert [finding.kind for finding in findings] == ["read"] * 3
    copy = shutil.copy(FILES["train"], tmp_path / "copy.xyz")
    findings = check_data({"train": FILES["train"], "test": Path(copy)}, Check.Settings(), 0)
    assert [finding.kind for finding in findings] == ["leakage", "read", "read"]
    findings = check_data({"train": FILES["train"]}, Check.Settings(n_train=1000), 0)
    assert [(f.severity, f.kind) for f in findings[:1]] == [("error", "cannot-draw")]


def test_n_shot(tmp_path: Path) -> None:
    """Drawn after the splits, seeded, nested, and said."""
    inputs = {"train": FILES["train"], "valid": None, "test": None}
    everything, _ = run(tmp_path / "all", inputs)
    chosen = {}
    for n in (1, 5):
        summary, job = run(tmp_path / str(n), inputs, n_train=n)
        assert summary["counts"] == {**everything["counts"], "train": n}
        assert summary["headline"].startswith(f"{n} of {summary['available']} train, ")
        assert f"{n} of {everything['counts']['train']} training structures are used (stratified)" in job.warnings[-1]
        chosen[n] = {tuple(f.positions[0]) for f in read_frames(tmp_path / str(n) / "train.xyz")[0]}
        for name in ("valid.xyz", "test.xyz"):
            assert (tmp_path / str(n) / name).read_text() == (tmp_path / "all" / name).read_text()
    assert chosen[1] < chosen[5]
    summary, _ = run(tmp_path / "far", {**FILES}, n_train=6, subset="farthest")
    assert summary["counts"] == {"train": 6, "valid": 5, "test": 60}
    with pytest.raises(UserError, match=r"26 training structures are asked for, and there are 25"):
        run(tmp_path / "many", dict(FILES), n_train=26)


def test_isolated_atoms_are_taken_out(tmp_path: Path) -> None:
    """The first frame of the file is an atom; frames are still counted as in the file."""
    frames = read_frames(FILES["train"])[0]
    atom = Frames(
        [1], [14], np.zeros((1, 3)), np.zeros((1, 3, 3)), np.zeros((1, 3)), [-0.8], np.zeros((1, 3)), None,
        ({"config_type": "IsolatedAtom"},),
    )  # fmt: skip
    energy = np.array(frames.energy)
    energy[3] += 100
    mixed = tmp_path / "mixed.xyz"
    write_frames(mixed, concatenate([atom, replace(frames, energy=energy)]))
    summary, job = run(tmp_path / "out", {**FILES, "train": mixed}, isolated_atoms={"O": -432.1})
    assert summary["counts"]["train"] == 25 and summary["elements"] == ["Si"]
    assert json.loads((tmp_path / "out" / "isolated_atoms.json").read_text()) == {"O": -432.1, "Si": -0.8}
    assert len(job.warnings) == 1
    assert "mixed.xyz, frame 4 (counted from 0): energies are more than 1 eV" in job.warnings[0]
    with pytest.raises(UserError, match="an isolated Si atom has the energies"):
        run(tmp_path / "bad", {**FILES, "train": mixed}, isolated_atoms={"Si": -7900.0})


def test_a_wrong_unit_stops_the_run(tmp_path: Path) -> None:
    frames = read_frames(FILES["train"])[0]
    wrong = tmp_path / "wrong.xyz"
    write_frames(wrong, replace(frames, forces=np.array(frames.forces) / 51.422))
    with pytest.raises(UserError, match=r"wrong\.xyz: forces are .* Hartree/Bohr.*Multiply the forces by 51\.42"):
        run(tmp_path / "out", {**FILES, "train": wrong})
    _, job = run(tmp_path / "accepted", {**FILES, "train": wrong}, accept=("force-unit",))
    assert any("Hartree/Bohr" in warning for warning in job.warnings)


def test_a_teacher_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are then not compared, which is said; nothing else is left out."""

    def closed(*arguments: Any) -> Any:
        raise UserError("the package 'x' is not installed", where="potential x", remedy="Run: pip install x")

    monkeypatch.setattr("distill.stages.check._zero_shot", closed)
    found = check_file(FILES["train"])
    assert [(f.severity, f.kind) for f in found] == [("info", "units-unchecked"), ("info", "read")]
    assert "pip install x" in found[0].what


@pytest.mark.parametrize(
    ("kind", "words"),
    [("force-units", "Did you mean 'force-unit'?"), ("unreadable", "cannot be accepted"), ("leakage", "")],
)
def test_kinds_that_are_accepted(kind: str, words: str) -> None:
    if not words:
        assert Data(train="a.xyz", accept=[kind]).accept == (kind,)  # type: ignore[arg-type]
        return
    with pytest.raises(ValidationError, match=re.escape(words)):
        Data(train="a.xyz", accept=[kind])  # type: ignore[arg-type]


def test_settings_hold_no_paths() -> None:
    """Moving a file must not change the hash of the task."""
    section = Check.section_type(None)(train="a.xyz", valid_fraction=0.3)
    assert isinstance(section, Data)
    chosen = Check.select(section, {})
    assert chosen["valid_fraction"] == 0.3 and chosen["keys"] == Keys()
    assert not {"train", "valid", "test", "teacher"} & set(chosen)
    assert set(Keys.model_fields) == set(LabelKeys.__dataclass_fields__)


def test_bad_input_is_found_within_seconds(tmp_path: Path) -> None:
    """An infinite force in the last frame of a file of 3000; about 1 s of one core."""
    block = FILES["test"].read_text()
    big = tmp_path / "big.xyz"
    head, tail = block.rsplit("\n", 2)[:2]
    last = " ".join([*tail.split()[:-1], "inf"])
    big.write_text(block * 49 + f"{head}\n{last}\n")
    start = time.process_time()
    with pytest.raises(UserError, match=r"big\.xyz, frame 2999 \(counted from 0\), line 54000, key 'forces'"):
        run(tmp_path / "out", {**FILES, "train": big})
    assert time.process_time() - start < 5


REPLAY = {"energy": (-3.0, 1.0, "replay-level"), "forces": (0.0, -1.0, "force-unit")}


@pytest.mark.parametrize("label", REPLAY)
def test_structures_to_replay_are_checked_before_anything_is_spent(label: str, tmp_path: Path) -> None:
    """Labelled by the teacher itself there is nothing to find; of another level of theory, or sign, there is."""
    row = POTENTIALS["chgnet-0.3"]
    right = row.build(row.Settings(), 0).evaluate(ordinary_materials("replay", (12, 8, 13, 11, 17)))
    by, factor, kind = REPLAY[label]
    assert right.energy is not None and right.forces is not None
    wrong = right.with_labels(right.energy + by * right.n_atoms, factor * right.forces, right.stress)
    found = {}
    for name, frames in (("right", right), ("wrong", wrong)):
        write_frames(tmp_path / f"{name}.xyz", frames)
        findings = check_data({**FILES, "replay": tmp_path / f"{name}.xyz"}, Check.Settings(), 0)
        found[name] = [f.kind for f in findings if f.severity == "error"]
    assert found == {"right": [], "wrong": [kind]}


def test_elements_that_would_not_be_learnt(tmp_path: Path) -> None:
    """In the test file alone it is an error; the draw of a few structures keeps one with each element."""
    frames = read_frames(FILES["train"])[0]
    numbers = np.array(frames.numbers)
    numbers[: 16 * 2 : 8] = 32
    mixed = replace(frames, numbers=numbers)
    write_frames(tmp_path / "mixed.xyz", mixed)
    findings = check_data({**FILES, "test": tmp_path / "mixed.xyz"}, Check.Settings(), 0)
    assert ("unseen-element", (0, 1)) in [(f.kind, f.frames) for f in findings if f.severity == "error"]
    summary, _ = run(tmp_path / "out", {**FILES, "train": tmp_path / "mixed.xyz"}, n_train=1, accept=("leakage",))
    assert summary["elements"] == ["Ge", "Si"]
    assert set(read_frames(tmp_path / "out" / "train.xyz")[0].numbers.tolist()) == {14, 32}


def test_a_split_without_any_energy_is_refused(tmp_path: Path) -> None:
    frames = read_frames(FILES["valid"])[0]
    write_frames(tmp_path / "valid.xyz", frames.with_labels(np.full(len(frames), np.nan), frames.forces, frames.stress))
    with pytest.raises(UserError, match="no energy is there in any of the 5 structures for valid"):
        run(tmp_path / "out", {**FILES, "valid": tmp_path / "valid.xyz"})
