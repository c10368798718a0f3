"""What a run shows: lines that tell what was done, bars on a terminal, nothing where nothing is wanted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from toy_folder import Toy

from distill.base.errors import WorkError
from distill.base.progress import FileProgress
from distill.workflow.display import BarDisplay, CellDisplay, Display, LineDisplay, make_display
from distill.workflow.plan import make_plan
from distill.workflow.store import Store
from distill.workflow.tasks import Task

MANIFEST: dict[str, Any] = {"summary": {"headline": "3 numbers"}, "wall_s": 75.0, "warnings": ["only a toy"]}


@pytest.fixture
def store(toy: Toy) -> Store:
    return Store(toy.runs / ".store")


@pytest.fixture
def task(toy: Toy) -> Task:
    return make_plan(toy.load())["count"]


def report(store: Store, task: Task, done: int) -> None:
    """Write what a worker reports of a task that is under way."""
    folder: Path = store.work(task)
    folder.mkdir(parents=True, exist_ok=True)
    with FileProgress(folder / "progress.json").phase("counting", 10, "step") as phase:
        phase.update(done, "so far")


def test_lines_tell_start_and_end(store: Store, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay(store, total=12, done=4)
    display.started(task)
    display.finished(task, MANIFEST)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "4 of 12 tasks are cached",
        "count: starts",
        "[5/12] count done in 1 min 15 s: 3 numbers",
        "warning: count: only a toy",
    ]


def test_a_failure_is_told_in_short(store: Store, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay(store, total=1, done=0)
    display.started(task)
    display.failed(task, WorkError("it broke", where="somewhere", remedy="mend it"))
    assert capsys.readouterr().err.splitlines() == ["count: starts", "count failed: it broke"]


def test_how_far_a_task_is_is_told_once_an_interval(
    store: Store, task: Task, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("distill.workflow.display.time.monotonic", lambda: now)
    display = LineDisplay(store, total=1, done=0)
    display.started(task)
    report(store, task, 4)
    capsys.readouterr()
    for now in (100.0, 114.0, 115.0, 116.0, 131.0):  # noqa: B007 - what the display sees
        display.refresh()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("count: counting 4/10 step") for line in lines)
    display.finished(task, MANIFEST)
    capsys.readouterr()
    now = 500.0
    display.refresh()
    assert capsys.readouterr().err == "", "a task that has ended is not told of"


def test_bars_are_replaced_by_lines(store: Store, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    display = BarDisplay(store, total=2, done=0)
    display.started(task)
    report(store, task, 4)
    display.refresh()
    (bar,) = [one for one in display._progress.tasks if one.description == "count"]
    assert (bar.completed, bar.total) == (4, 10) and "counting" in bar.fields["text"]
    display.finished(task, MANIFEST)
    display.close()
    assert [one.description for one in display._progress.tasks] == ["tasks"]
    assert display._progress.tasks[0].completed == 1
    assert "[1/2] count done in 1 min 15 s: 3 numbers" in capsys.readouterr().err


def test_brackets_in_the_name_of_a_task_are_no_markup(store: Store, toy: Toy) -> None:
    several = [task for task in make_plan(toy.load()) if "[" in task.id]
    display = BarDisplay(store, total=2, done=0)
    display.started(several[0])
    with display._progress.console.capture() as captured:
        display._progress.console.print(display._progress.get_renderable())
    display.close()
    assert several[0].id in captured.get()


def test_the_display_suits_the_stream(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_display(False, store, 1, 0)) is Display
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(make_display(True, store, 1, 0)) is LineDisplay
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    display = make_display(True, store, 1, 0)
    display.close()
    assert type(display) is BarDisplay


def test_a_cell_counts_what_it_has_no_room_for(
    store: Store, task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("distill.workflow.display.time.monotonic", lambda: now)
    display = CellDisplay(store, total=200, done=40)
    capsys.readouterr()  # outside of notebooks IPython prints what is shown
    for _ in range(50):
        display.started(task)
        display.finished(task, MANIFEST)
    display.started(task)
    report(store, task, 4)
    now = 100.9
    display.refresh()
    assert capsys.readouterr().out == "", "it is drawn once a second"
    now = 165.0
    display.refresh()
    drawn = display._drawing()
    lines = drawn["text/plain"].splitlines()
    assert lines[0] == "90 of 200 tasks are done, 40 of them before; 1 min 05 s"
    assert lines[1] == "... and 42 more warnings and failures" and lines[2] == "warning: count: only a toy"
    assert lines[10] == "... and 46 more" and lines[11] == "count done in 1 min 15 s: 3 numbers"
    assert lines[-1].startswith("count: counting 4/10 step") and len(lines) == 1 + 9 + 5 + 1
    assert '<progress value="90" max="200">' in drawn["text/html"]
    display.failed(task, WorkError("<it> broke"))
    display.close()
    drawn = display._drawing()
    assert "count failed: &lt;it&gt; broke" in drawn["text/html"] and "10 step" not in drawn["text/plain"]


def test_nothing_is_shown_where_nothing_is_wanted(store: Store, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    display = make_display(False, store, 1, 0)
    display.started(task)
    display.refresh()
    display.finished(task, MANIFEST)
    display.failed(task, WorkError("it broke"))
    display.close()
    assert capsys.readouterr() == ("", "")
