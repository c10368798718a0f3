"""The work folder of an interrupted task: continued by the same packages, made again by others."""

from __future__ import annotations

from pathlib import Path

from distill.workflow.work import _open_work

ORIGIN = {"versions": {"torch": "2.1"}, "kin": ""}


def test_the_same_packages_continue(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work, ORIGIN)
    (work / "out" / "journal").write_text("half done")
    _open_work(work, ORIGIN)
    assert (work / "out" / "journal").read_text() == "half done"


def test_other_packages_begin_again(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work, ORIGIN)
    (work / "out" / "journal").write_text("half done")
    _open_work(work, ORIGIN | {"versions": {"torch": "2.2"}})
    assert (work / "out").is_dir()
    assert not (work / "out" / "journal").exists()
