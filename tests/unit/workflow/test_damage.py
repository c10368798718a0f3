"""Damaged files of a finished run: they are found when they are read, said, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_folder import Toy

from distill.api import explain
from distill.base.errors import WorkError
from distill.workflow.plan import make_plan
from distill.workflow.runner import RunResult, run_recipe
from distill.workflow.status import run_status
from distill.workflow.store import Store
from distill.workflow.work import execute, make_submission


def run(toy: Toy) -> RunResult:
    return run_recipe(toy.load(), runs=toy.runs)


def artifact(toy: Toy, task: str) -> Path:
    return Store(toy.runs / ".store").artifact(make_plan(toy.load())[task])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_is_made_again_and_that_is_said(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    run(toy)
    table = artifact(toy, "total") / "table.csv"
    before = table.read_text()
    damage(table)
    capsys.readouterr()
    assert run(toy).ran == ("total",)
    assert f"warning: total: table.csv of {table.parent} is damaged; it is made again" in capsys.readouterr().err
    assert table.read_text() == before


def test_a_damaged_log_is_said_and_costs_nothing(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    run(toy)
    damage(artifact(toy, "read") / "log.txt")
    assert run(toy).ran == ()
    assert "log.txt" in (said := capsys.readouterr().err) and "no result depends on it" in said


def test_long_work_continues_from_what_of_it_is_sound(toy: Toy) -> None:
    run(toy)
    toy.trace()
    result = artifact(toy, "count") / "result.txt"
    before = result.read_text()
    damage(result)
    assert run(toy).ran == ("count",)
    assert toy.trace() == ["count"] and result.read_text() == before  # no step of it was done again


def test_an_input_that_is_damaged_meanwhile_is_not_read(toy: Toy) -> None:
    """The run has looked at it before, and a worker looks again."""
    run(toy)
    plan, store = make_plan(toy.load()), Store(toy.runs / ".store")
    store.discard(plan["total"])
    toy.trace()
    error = artifact(toy, "judge[big,distilled,0]") / "error.txt"
    damage(error)
    with pytest.raises(WorkError, match=r"is damaged: it is not as it was written\. The same command makes it again"):
        execute(make_submission(plan, plan["total"], store, "cpu", 1))
    assert toy.trace() == []
    assert set(run(toy).ran) == {"judge[big,distilled,0]", "total"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"null", b'{"files": {}}', b'{"tasks": {"read": 1}}'])
def test_nonsense_in_place_of_what_a_run_wrote_stops_no_command(toy: Toy, content: bytes) -> None:
    run(toy)
    folder = toy.runs / "toy"
    for path in (folder / "plan.json", folder / "summary.json", artifact(toy, "read") / "manifest.json"):
        path.write_bytes(content)
    assert [task for task, verdict in explain(toy.load(), runs=toy.runs).items() if not verdict.cached] == ["read"]
    assert [one.id for one in run_status("toy", toy.runs) if one.state != "done"] == ["read"]
    assert run(toy).ran == ("read",)
    assert len(json.loads((folder / "plan.json").read_text())["tasks"]) == 12


def test_without_any_plan_old_links_go_and_files_of_the_user_stay(toy: Toy) -> None:
    run(toy)
    folder = toy.runs / "toy"
    (folder / "notes.txt").write_text("mine")
    (folder / "mine").symlink_to(toy.folder / "numbers.txt")
    for name in ("plan.json", ".plan.json"):
        (folder / name).write_bytes(b"{")
    recipe = toy.load("students={only: {cutoff: 5.0}}")
    run_recipe(recipe, runs=toy.runs, progress=False)
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["only"]
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "mine").is_symlink()


def test_an_attempt_of_which_nothing_can_be_told_is_begun_anew(toy: Toy) -> None:
    plan, store = make_plan(toy.load()), Store(toy.runs / ".store")
    work = store.work(plan["read"])
    (work / "out").mkdir(parents=True)
    for name in ("origin.json", "progress.json", "failed.json"):
        (work / name).write_bytes(b"\xff")
    assert "read" in run(toy).ran
