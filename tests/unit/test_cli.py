"""The command line: help at once, one sentence for bad input, exit codes, tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distill.cli import main

VERBS = ["run", "plan", "check", "evaluate", "status", "models", "doctor"]


def distill(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distill", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_costs_no_import(verb: str) -> None:
    """The modules loaded are counted, because time on a busy machine is noise."""
    code = (
        "import sys; from distill.cli import main\n"
        f"try: main({[verb, '--help'] if verb else ['--help']!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'yaml', 'rich', 'numpy', 'torch', 'ase'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"usage: distill{' ' + verb if verb else ''}" in done.stdout


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    for option in ("--set", "--runs", "--store", "--device", "--force", "--debug", "--quiet", "RECIPE"):
        line = text[text.rindex(f"  {option}") :]
        assert len(line.split("\n\n")[0].split()) > 3


@pytest.mark.parametrize("verb", ["run", "plan", "check"])
def test_a_missing_recipe_is_one_sentence(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "gone.yaml"]) == 2
    assert capsys.readouterr().err == "distill: gone.yaml: there is no such recipe\n"


def test_what_is_not_a_recipe_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.yaml").write_text("a: b: c")
    (tmp_path / "data.xyz").write_bytes(bytes(range(256)))
    for path in (tmp_path, tmp_path / "words.yaml", tmp_path / "data.xyz"):
        assert main(["run", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"distill: {path}") and err.count("\n") == 1


def test_debug_shows_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_run_has_no_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "gone", "--runs", str(tmp_path)]) == 2
    assert "there is no such run" in capsys.readouterr().err


def test_no_command_is_bad_input() -> None:
    assert distill().returncode == 2


def test_models_lists_every_potential(capsys: pytest.CaptureFixture[str]) -> None:
    from distill.potentials import POTENTIALS

    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [row.arch or name for name, row in POTENTIALS.items()]


def test_doctor_tells_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("python", "cores", "memory", "torch", "devices", "potential painn", "store"):
        assert f"\n{word}" in f"\n{text}"
