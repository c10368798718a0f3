"""Bad input ends a run with status 2 and one sentence that names file, frame and key, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.cli import main

SILICON = Path(__file__).parents[2] / "data" / "silicon"


def frames(name: str) -> list[list[str]]:
    """Return the lines of each frame of a silicon file."""
    lines = (SILICON / f"{name}.xyz").read_text().splitlines()
    return [lines[i : i + 18] for i in range(0, len(lines), 18)]


def without(key: str) -> Callable[[list[str]], list[str]]:
    """Return an edit that takes a key out of a frame's comment line."""
    return lambda frame: [frame[0], re.sub(rf'{key}=("[^"]*"|\S+) ?', "", frame[1]), *frame[2:]]


def without_forces(frame: list[str]) -> list[str]:
    return [frame[0], frame[1].replace(":forces:R:3", ""), *[" ".join(line.split()[:4]) for line in frame[2:]]]


def infinite_force(frame: list[str]) -> list[str]:
    return [*frame[:5], " ".join([*frame[5].split()[:4], "inf", "0.0", "0.0"]), *frame[6:]]


def flat_forces(frame: list[str]) -> list[str]:
    short = [" ".join(line.split()[:6]) for line in frame[2:]]
    return [frame[0], frame[1].replace(":forces:R:3", ":forces:R:2"), *short]


def americium(frame: list[str]) -> list[str]:
    return [*frame[:2], frame[2].replace("Si", "Am"), *frame[3:]]


EDITS = {
    "no energies": (without("energy"), ["train.xyz", "energy"]),
    "no forces": (without_forces, ["train.xyz", "forces"]),
    "an infinite force": (infinite_force, ["train.xyz", "frame 0", "forces"]),
    "forces of the wrong shape": (flat_forces, ["train.xyz", "forces"]),
    "an element that the teacher does not know": (americium, ["train.xyz", "Am", "chgnet-0.3"]),
}


def write(folder: Path, train: str, **changes: str) -> Path:
    """Write a recipe on an own training file and the test file of silicon."""
    (folder / "train.xyz").write_text(train)
    keys = {"test": f"{SILICON / 'test.xyz'}"} | changes
    data = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"name: bad\ndata:\n  train: train.xyz\n{data}students: {{painn: {{arch: painn}}}}\n")
    return recipe


def text(chosen: list[list[str]]) -> str:
    return "\n".join(line for frame in chosen for line in frame) + "\n"


def refused(recipe: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a recipe, check that it was refused before any training, and return the message."""
    runs = recipe.parent / "runs"
    status = main(["run", str(recipe), "--runs", str(runs), "--device", "cpu", *arguments])
    captured = capsys.readouterr()
    message = captured.err.strip().splitlines()[-1]
    assert status == 2, captured
    assert "Traceback" not in captured.err
    assert not list(runs.glob(".store/finetune/*")), "training began"
    return message


@pytest.mark.slow
@pytest.mark.parametrize("case", EDITS)
def test_bad_labels(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, words = EDITS[case]
    message = refused(write(tmp_path, text([edit(f) for f in frames("train")])), capsys)
    for word in words:
        assert word in message, message


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write(tmp_path, "")
    (tmp_path / "train.xyz").unlink()
    message = refused(recipe, capsys)
    assert "train.xyz" in message
    assert "data.train" in message


@pytest.mark.parametrize("content", ["", "not a structure\n", "\x00\x01\x02" * 50, "3\nonly one atom\nSi 0 0 0\n"])
def test_not_xyz(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "train.xyz" in refused(write(tmp_path, content), capsys)


@pytest.mark.slow
def test_same_structure_in_train_and_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaked = [*frames("train"), frames("test")[7]]
    message = refused(write(tmp_path, text(leaked)), capsys)
    assert "test.xyz" in message
    assert "25" in message, "the frame of the training file"
    assert "7" in message, "the frame of the test file"


def test_empty_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "valid.xyz").write_text("")
    assert "valid.xyz" in refused(write(tmp_path, text(frames("train")), valid="valid.xyz"), capsys)


@pytest.mark.slow
def test_too_few_structures_to_draw_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "valid" in refused(write(tmp_path, text(frames("train")[:1])), capsys)


BAD_KEYS = {
    "students.painn.cutof=4": ["students.painn.cutof", "cutoff"],
    "synthetic.temprature=300": ["synthetic.temprature", "temperature"],
    "teacher.finetune.stepss=3": ["teacher.finetune.stepss", "steps"],
    "students.painn.cutoff=large": ["students.painn.cutoff"],
    "students.painn.arch=pain": ["students.painn.arch", "painn"],
    "students.painn.arch=no_such_module:Net": ["students.painn.arch", "no_such_module"],
    "students.painn.preset=huge": ["students.painn.preset", "small"],
    "students.painn={arch: painn, channels: 16, start: pretrained}": [
        "students.painn: the pretrained weights",
        "channels: 32",
    ],
    "students.painn.loss.hessian=1": ["students.painn: loss.hessian", "synthetic.hessian: random"],
    "students.painn.loss.atomic_energy=1": ["students.painn: loss.atomic_energy", "synthetic.atomic_energies"],
    "trainer.loggers=[tensorbord]": ["trainer.loggers", "tensorboard"],
    "trainer.devices=0": ["trainer.devices"],
    "trainer.devices=1000": ["trainer.devices", "64"],
    "students.painn.seeds=1000000": ["students.painn.seeds", "100"],
    "teacher.environment=~nobody-is-called-so/python": ["teacher.environment", "nobody-is-called-so"],
    "students={" + ", ".join(f"s{i}: {{arch: painn}}" for i in range(300)) + "}": ["300 students", "at most 100"],
    "teacher.model=chgnet": ["teacher.model", "chgnet-0.3"],
    "synthetic.sigma=[0.4, 0.1]": ["sigma"],
    "data.train=7": ["data.train"],
    "sed=3": ["sed", "seed"],
    "synthetic.exploration=1.5": ["synthetic.exploration"],
    "simulate=[{kind: langevin, structure: {crystal: {name: Xx}}}]": ["simulate", "Xx"],
    "simulate=[{kind: langevin, structure: {}}]": ["simulate", "crystal"],
    "simulate=[{kind: melting}]": ["simulate", "langevin"],
}


@pytest.mark.parametrize("change", BAD_KEYS)
def test_bad_keys_and_values(change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(write(tmp_path, text(frames("train"))), capsys, "--set", change)
    for word in BAD_KEYS[change]:
        assert word in message, message
