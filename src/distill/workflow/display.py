"""What a run shows: bars on a terminal, plain lines elsewhere, nothing where nothing is wanted.

Tasks report into ``progress.json`` of their work folders, wherever they run; a display only reads those.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from distill.base.artifact import Manifest
from distill.base.errors import DistillError
from distill.base.progress import Record, duration, read_record
from distill.base.streams import say, tolerant_errors
from distill.workflow.plan import Task
from distill.workflow.store import Store


class Display:
    """Shows nothing; the base of the others.

    Args:
        store: where the tasks' work folders are.
        total: tasks of the plan.
        done: tasks that were finished before the run.
    """

    def __init__(self, store: Store, total: int, done: int) -> None:
        self.store = store
        self.total = total
        self.done = done

    def started(self, task: Task) -> None:
        """A task was given to a worker."""

    def refresh(self) -> None:
        """Time has passed; called several times a second."""

    def finished(self, task: Task, manifest: Manifest) -> None:
        """A task is done."""

    def failed(self, task: Task, error: DistillError) -> None:
        """A task failed."""

    def close(self) -> None:
        """The run is over."""

    def _record(self, task: Task) -> Record:
        record = read_record(self.store.work(task) / "progress.json") or Record(phase="starting")
        record.note = " ".join(filter(None, [record.note, self.store.foreign_holder(task)]))
        return record


class LineDisplay(Display):
    """One line when a task starts, every 15 seconds, and when it ends."""

    interval_s = 15.0

    def __init__(self, store: Store, total: int, done: int) -> None:
        super().__init__(store, total, done)
        self._shown: dict[str, tuple[Task, float]] = {}
        if done:
            self.say(f"{done} of {total} tasks are cached")

    def say(self, text: str) -> None:
        """Write one line to the error stream, at once; one that is closed or full is no reason to stop."""
        say(text)

    def started(self, task: Task) -> None:
        """Say that the task starts, or that it continues."""
        self._shown[task.id] = (task, time.monotonic())
        self.say(f"{task.id}: {'continues' if self.store.is_interrupted(task) else 'starts'}")

    def refresh(self) -> None:
        """Say how far each task is whose last line is long ago."""
        for task, when in list(self._shown.values()):
            if time.monotonic() - when >= self.interval_s:
                self._shown[task.id] = (task, time.monotonic())
                self.say(f"{task.id}: {self._record(task).text()}")

    def finished(self, task: Task, manifest: Manifest) -> None:
        """Say how long it took, its headline and its warnings."""
        self._shown.pop(task.id, None)
        self.done += 1
        headline = manifest["summary"].get("headline")
        tail = f": {headline}" if headline else ""
        self.say(f"[{self.done}/{self.total}] {task.id} done in {duration(manifest['wall_s'])}{tail}")
        for warning in manifest["warnings"]:
            self.say(f"warning: {task.id}: {warning}")

    def failed(self, task: Task, error: DistillError) -> None:
        """Say in short what went wrong; the error that ends the run says the rest."""
        self._shown.pop(task.id, None)
        self.say(f"{task.id} failed: {error.what}")


class BarDisplay(LineDisplay):
    """A bar for each running task and one for the run, redrawn in place; ended tasks leave their line above."""

    def __init__(self, store: Store, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
        self._progress = Progress(
            *columns, console=Console(file=tolerant_errors(), highlight=False), auto_refresh=False
        )
        self._progress.start()
        super().__init__(store, total, done)
        self._all = self._progress.add_task("tasks", total=total, completed=done, text=f"{done}/{total}")
        self._bars: dict[str, tuple[Task, Any]] = {}

    def say(self, text: str) -> None:
        """Write one line above the bars."""
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def started(self, task: Task) -> None:
        """Add the task's bar."""
        self._bars[task.id] = (task, self._progress.add_task(_escaped(task.id), total=None, text="starting"))

    def refresh(self) -> None:
        """Redraw the bars."""
        for task, bar in self._bars.values():
            record = self._record(task)
            text = _escaped(record.text())
            self._progress.update(bar, total=record.total or None, completed=record.done, text=text)
        self._progress.update(self._all, completed=self.done, text=f"{self.done}/{self.total}")
        self._progress.refresh()

    def finished(self, task: Task, manifest: Manifest) -> None:
        """Replace the bar by a line."""
        self._drop(task)
        super().finished(task, manifest)

    def failed(self, task: Task, error: DistillError) -> None:
        """Replace the bar by the message."""
        self._drop(task)
        super().failed(task, error)

    def close(self) -> None:
        """Draw the last state and leave the terminal as it was."""
        self.refresh()
        self._progress.stop()

    def _drop(self, task: Task) -> None:
        _, bar = self._bars.pop(task.id, (task, None))
        if bar is not None:
            self._progress.remove_task(bar)


def _escaped(text: str) -> str:
    """Return text whose brackets rich does not take for markup."""
    return text.replace("[", r"\[")


def warn(progress: bool, texts: Iterable[str]) -> None:
    """Say on the error stream what has to be said before anything is done; nothing unless ``progress``."""
    for text in texts if progress else ():
        print(f"warning: {text}", file=sys.stderr, flush=True)


def make_display(progress: bool, store: Store, total: int, done: int) -> Display:
    """Return the display that suits the error stream; one that shows nothing unless ``progress``."""
    if not progress or sys.stderr is None:
        return Display(store, total, done)
    return (BarDisplay if sys.stderr.isatty() else LineDisplay)(store, total, done)
