"""How far a run is, read from its folder and the store while it runs, or after it ended in whatever way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distill.base.errors import UserError
from distill.base.files import read_json
from distill.base.progress import duration, read_record
from distill.workflow.rundir import PLAN, read_plan
from distill.workflow.store import Store

SILENT_S = 60.0
"""Seconds without a report after which that is said."""


@dataclass(frozen=True)
class TaskStatus:
    """The state of one task.

    Attributes:
        id: the task's id.
        state: ``done``, ``running``, ``failed``, ``interrupted`` or ``waiting``.
        text: its headline and duration, its progress, its error, or what it waits for.
    """

    id: str
    state: Literal["done", "running", "failed", "interrupted", "waiting"]
    text: str


@dataclass(frozen=True)
class _Key:
    stage: str
    hash: str


def run_status(run: str | Path, runs: str | Path = "runs") -> list[TaskStatus]:
    """Return the state of each task of a run.

    Args:
        run: the run's folder, or its name below ``runs``.
        runs: the folder of the folders of runs.

    Raises:
        UserError: there is no such run.
    """
    folder = Path(run) if read_plan(Path(run)) else Path(runs) / run
    plan = read_plan(folder)
    if plan is None:
        known = sorted(p.parent.name for p in Path(runs).glob(f"*/{PLAN}"))
        remedy = f"Runs here: {', '.join(known)}" if known else f"No run was started below {Path(runs).absolute()}"
        raise UserError("there is no such run", where=str(folder), remedy=remedy)
    store = Store(folder / plan["store"])
    keys = {task_id: _Key(entry["stage"], entry["hash"]) for task_id, entry in plan["tasks"].items()}
    return [_status(task_id, entry, keys, store) for task_id, entry in plan["tasks"].items()]


def _status(task_id: str, entry: Mapping[str, Any], keys: Mapping[str, _Key], store: Store) -> TaskStatus:
    key = keys[task_id]
    manifest = store.manifest(key)
    if manifest is not None:
        headline = manifest["summary"].get("headline")
        return TaskStatus(task_id, "done", ", ".join(filter(None, [headline, duration(manifest["wall_s"])])))
    record = read_record(store.work(key) / "progress.json")
    progress = record.text() if record else ""
    if store.is_running(key):
        parts = [progress or "starting", store.foreign_holder(key), _silence(store.work(key) / "progress.json")]
        return TaskStatus(task_id, "running", " ".join(filter(None, parts)))
    failure = _failure(store.work(key) / "failed.json")
    if failure:
        return TaskStatus(task_id, "failed", failure)
    if store.is_interrupted(key):
        return TaskStatus(task_id, "interrupted", progress or "continues with the next run")
    needs = [need for need in entry["needs"] if not store.has(keys[need])]
    return TaskStatus(task_id, "waiting", f"for {', '.join(needs)}" if needs else "ready")


def _silence(path: Path) -> str:
    """Return for how long a task has reported nothing, where that is long: on another machine it may be dead."""
    with suppress(OSError):
        silent = time.time() - path.stat().st_mtime
        return f"(no word for {duration(silent)})" if silent > SILENT_S else ""
    return ""


def _failure(path: Path) -> str:
    try:
        data = read_json(path)
        return str(UserError(data["what"], where=data["where"], remedy=data["remedy"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
