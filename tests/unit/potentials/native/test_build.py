"""Libraries of C++ are compiled once, whoever asks at the same time."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill.base.errors import WorkError
from distill.potentials.native.build import find_compiler, shared_library


def test_two_that_ask_at_once_compile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "counting"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec {shutil.which(find_compiler("g++"))} "$@"\n')
    compiler.chmod(0o755)
    (tmp_path / "nothing.cpp").write_text("int nothing() { return 0; }\n")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))

    def make(_: int) -> Path:
        return shared_library("libnothing.so", "test", tmp_path, str(compiler))

    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(make, range(3)))
    assert len(made) == 1 and made.pop().is_file()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum(" -c " in f" {call} " for call in calls) == 1


def test_what_does_not_compile_says_its_first_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.cpp").write_text("int nothing() { return missing; }\n")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    compiler = find_compiler("clang++" if sys.platform == "darwin" else "g++")
    for _ in range(2):
        with pytest.raises(WorkError, match="missing"):
            shared_library("libwrong.so", "test", tmp_path, compiler)
    assert not list((tmp_path / "cache").rglob("*.so"))
