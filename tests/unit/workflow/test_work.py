"""The work folder of an interrupted task: continued by the same packages, made again by others."""

from __future__ import annotations

from pathlib import Path

from distill.base.files import read_json, write_json
from distill.workflow.work import _open_work


def test_the_same_packages_continue(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work)
    (work / "out" / "journal").write_text("half done")
    _open_work(work)
    assert (work / "out" / "journal").read_text() == "half done"


def test_other_packages_begin_again(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work)
    (work / "out" / "journal").write_text("half done")
    write_json(work / "versions.json", read_json(work / "versions.json") | {"torch": "0.1"})
    _open_work(work)
    assert (work / "out").is_dir()
    assert not (work / "out" / "journal").exists()
