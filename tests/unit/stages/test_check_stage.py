"""The stage writes what the files hold with standard keys, draws what is missing, and refuses what cannot be used."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.base.errors import UserError
from distill.stages.base import Job
from distill.stages.check import Check, Data, Keys, check_file, check_recipe_files
from distill.structures.frames import concatenate
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
    assert json.loads((tmp_path / "out" / "findings.json").read_text()) == []
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
    assert [(f["severity"], f["frames"]) for f in found] == [("error", [4, 11])]


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
    assert "1 more:\n  error: " in str(error.value) and "the same structure as" in str(error.value)


def test_an_unknown_teacher() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'chgnet-0\.3'\?"):
        check_recipe_files(FILES["train"], None, None, Keys(), "chgnet-03")


def test_warnings_reach_the_user_and_do_not_stop(tmp_path: Path) -> None:
    frames = read_frames(FILES["train"])[0]
    energy = np.array(frames.energy)
    energy[3] += 100
    off = tmp_path / "off.xyz"
    write_frames(off, replace(frames, energy=energy))
    summary, job = run(tmp_path / "out", {**FILES, "train": off})
    assert len(job.warnings) == 1 and "off.xyz, frame 3 (counted from 0): energy per atom is far" in job.warnings[0]
    assert summary["findings"][0].startswith("warning: ")


def test_one_file_for_the_command_line(tmp_path: Path) -> None:
    first, *rest = check_file(FILES["test"])
    assert first.severity == "info" and rest == []
    assert (
        first.what == "60 structures, 960 atoms of Si; energy from 'energy', forces from 'forces', stress from 'stress'"
    )
    with pytest.raises(UserError, match="no such file"):
        check_file(tmp_path / "nowhere.xyz")


def test_files_of_a_recipe_for_the_command_line(tmp_path: Path) -> None:
    findings = check_recipe_files(FILES["train"], FILES["valid"], FILES["test"], Keys(), "chgnet-0.3")
    assert [finding.severity for finding in findings] == ["info"] * 3
    copy = shutil.copy(FILES["train"], tmp_path / "copy.xyz")
    findings = check_recipe_files(FILES["train"], None, Path(copy), Keys(), "chgnet-0.3")
    assert [finding.severity for finding in findings] == ["info", "info", "error"]


def test_settings_hold_no_paths() -> None:
    """Moving a file must not change the hash of the task."""
    section = Check.section_type(None)(train="a.xyz", valid_fraction=0.3)
    assert isinstance(section, Data)
    assert Check.select(section, {}) == {"keys": Keys(), "valid_fraction": 0.3, "test_fraction": 0.2}
    assert set(Keys.model_fields) == set(LabelKeys.__dataclass_fields__)


def test_bad_input_is_found_within_seconds(tmp_path: Path) -> None:
    """A NaN in the last frame of a file of 3000; about 1 s of one core."""
    block = FILES["test"].read_text()
    big = tmp_path / "big.xyz"
    head, tail = block.rsplit("\n", 2)[:2]
    last = " ".join([*tail.split()[:-1], "nan"])
    big.write_text(block * 49 + f"{head}\n{last}\n")
    start = time.process_time()
    with pytest.raises(UserError, match=r"big\.xyz, frame 2999 \(counted from 0\), line 54000, key 'forces'"):
        run(tmp_path / "out", {**FILES, "train": big})
    assert time.process_time() - start < 5
