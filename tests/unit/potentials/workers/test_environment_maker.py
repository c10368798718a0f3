"""Environments are made whole or not at all; nothing is fetched: pip installs small packages made here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from distill import doctor
from distill.base.errors import UserError, WorkError
from distill.cli import main
from distill.potentials import POTENTIALS
from distill.potentials.workers import environment_maker, environments
from distill.potentials.workers.environment_maker import make_environment
from distill.potentials.workers.environments import is_whole

ROW = POTENTIALS["sevennet-0"]


def wheel(folder: Path, name: str, version: str) -> None:
    """Write the smallest package that pip installs, with a program of its name."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    print('hello')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-program = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without environments, and pip that finds packages in a folder alone."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    versions = dict(
        line.split("==")
        for line in Path(environment_maker.__file__)
        .with_name("versions")
        .joinpath("sevennet.txt")
        .read_text()
        .splitlines()
        if "==" in line
    )
    for name in ("sevenn", "ase", "msgpack"):
        wheel(shelf, name, versions[name])
    wheel(shelf, "ase", "99.0")  # newer than what was tested
    monkeypatch.setattr(environments, "_torch", lambda: "")
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


def folders(home: Path) -> list[str]:
    return sorted(path.name for path in (home / ".distill" / "envs").glob("*"))


def test_what_was_begun_by_hand_is_neither_whole_nor_removed(home: Path) -> None:
    python = home / ".distill" / "envs" / "sevennet" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert dict(doctor.diagnose())["environment sevennet"].startswith("not made")
    with pytest.raises(UserError, match=r"sevenn==0\.13\.0 is not in it\. Run: .* -m pip install"):
        make_environment("sevennet", lambda _: None)
    assert python.exists()
    with pytest.raises(UserError, match=r"no environment 'sevenet'.* Did you mean 'sevennet'"):
        make_environment("sevenet", lambda _: None)


@pytest.mark.slow
def test_whole_or_not_at_all(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed, then without what it needs, then made, and then there."""
    command: list[Any] = [sys.executable, "-m", "distill.cli", "doctor", "--make", "sevennet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "pip install" not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=120)
    (left,) = folders(home)
    assert left.startswith(".making-")

    (needed,) = (home / "shelf").glob("msgpack*")
    needed.rename(home / needed.name)
    with pytest.raises(WorkError, match=r"no package index that has what is needed .*msgpack.* Connect to the network"):
        make_environment("sevennet", lambda _: None)
    assert folders(home) == [], "nothing is left of either"
    (home / needed.name).rename(needed)

    assert main(["doctor", "--make", "sevennet"]) == 0
    said = capsys.readouterr()
    assert said.out == "teacher: {model: sevennet-0, environment: ~/.distill/envs/sevennet}\n"
    assert "-m venv" in said.err and "pip install" in said.err and "sevenn==0.13.0" in said.err
    place = home / ".distill" / "envs" / "sevennet"
    assert is_whole(place, ROW) and folders(home) == ["sevennet"]
    done = subprocess.run([place / "bin" / "sevenn-program"], capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n", "programs know where they are"
    assert list(place.glob("lib/*/site-packages/ase-3*.dist-info")), "the version that was tested, not the newest"
    assert dict(doctor.diagnose())["environment sevennet"].startswith("made: ")

    before = place.stat().st_mtime_ns
    assert main(["doctor", "--make", "sevennet"]) == 0
    assert "is there already" in capsys.readouterr().err and place.stat().st_mtime_ns == before
