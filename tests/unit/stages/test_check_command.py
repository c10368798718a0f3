"""``distill check``: text or JSON on stdout, status 2 with an error and 0 without, for recipes and for files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill.cli import main

SILICON = Path(__file__).parents[3] / "data" / "silicon"


def recipe(folder: Path, **data: Any) -> Path:
    """Write a recipe on the shipped silicon data."""
    files = {name: str(SILICON / f"{name}.xyz") for name in ("train", "valid", "test")}
    path = folder / "some.yaml"
    path.write_text(json.dumps({"name": "some", "data": files | data, "students": {"painn": {"arch": "painn"}}}))
    return path


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """Run ``distill check --json`` and return status and findings; nothing else may be on stdout."""
    status = main(["check", *map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_sound_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = checked(capsys, recipe(tmp_path))
    assert status == 0 and [f["kind"] for f in found] == ["read"] * 3
    assert set(found[0]) == {"severity", "kind", "what", "where", "remedy", "frames"}
    assert main(["check", str(SILICON / "train.xyz")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("info [read]: ") and out.endswith("0 errors, 0 warnings.\n")


def test_errors_can_be_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, test=str(SILICON / "train.xyz"))
    status, found = checked(capsys, path)
    assert status == 2 and [f["severity"] for f in found[:1]] == ["error"]
    assert found[0]["kind"] == "leakage" and found[0]["frames"] == list(range(25)) and found[0]["remedy"]
    status, found = checked(capsys, path, "--set", "data.accept=[leakage]")
    assert status == 0 and (found[0]["severity"], found[0]["kind"]) == ("warning", "leakage")


def test_a_wrong_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(recipe(tmp_path, accept=["leakages"]))]) == 2
    assert "data.accept: 'leakages' is not a kind of finding. Did you mean 'leakage'?" in capsys.readouterr().err


def test_what_cannot_be_read_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.xyz"
    bad.write_text("2\nno lattice\nSi 0 0 0\n")
    status, found = checked(capsys, bad)
    assert status == 2 and [f["kind"] for f in found] == ["unreadable"] and "bad.xyz" in found[0]["where"]
    assert main(["check", str(bad)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("distill: ")


def test_more_training_structures_than_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = checked(capsys, recipe(tmp_path, n_train=30))
    assert status == 2 and found[0]["kind"] == "cannot-draw" and "30" in found[0]["what"] and "25" in found[0]["what"]
