"""What a run shows: bars on a terminal, one output of a notebook's cell, plain lines elsewhere, or nothing.

Tasks report into ``progress.json`` of their work folders, wherever they run; a display only reads those.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from html import escape
from typing import Any

from distill.base.artifact import Manifest
from distill.base.errors import DistillError
from distill.base.progress import Record, duration, read_record
from distill.base.streams import say, tolerant_errors
from distill.workflow.store import Store
from distill.workflow.tasks import Task


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


class CellDisplay(Display):
    """One output of a notebook's cell, drawn anew once a second: what went wrong, what ended last, and what runs."""

    interval_s = 1.0
    recent = 4
    """Ended tasks that are shown; the others are counted."""
    most = 8
    """Warnings and failures that are shown; the others are counted."""

    def __init__(self, store: Store, total: int, done: int) -> None:
        from IPython.display import DisplayHandle

        super().__init__(store, total, done)
        self._cached = done
        self._running: dict[str, Task] = {}
        self._ended: list[str] = []
        self._wrong: list[str] = []
        self._began = self._drawn = time.monotonic()
        self._output = DisplayHandle()
        self._output.display(self._drawing(), raw=True)

    def started(self, task: Task) -> None:
        """Add the task to those that run."""
        self._running[task.id] = task

    def refresh(self) -> None:
        """Draw anew where the last drawing is a second old."""
        if time.monotonic() - self._drawn >= self.interval_s:
            self._draw()

    def finished(self, task: Task, manifest: Manifest) -> None:
        """Keep how long it took, its headline and its warnings."""
        self._running.pop(task.id, None)
        self.done += 1
        headline = manifest["summary"].get("headline")
        tail = f": {headline}" if headline else ""
        self._ended.append(f"{task.id} done in {duration(manifest['wall_s'])}{tail}")
        self._wrong += [f"warning: {task.id}: {warning}" for warning in manifest["warnings"]]

    def failed(self, task: Task, error: DistillError) -> None:
        """Keep in short what went wrong; the error that ends the run says the rest."""
        self._running.pop(task.id, None)
        self._wrong.append(f"{task.id} failed: {error.what}")

    def close(self) -> None:
        """Draw the last state; what still ran is no longer under way."""
        self._running.clear()
        self._ended.clear()
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._output.update(self._drawing(), raw=True)

    def _drawing(self) -> dict[str, str]:
        """Return what is shown, as a page and as text."""
        cached = f", {self._cached} of them before" if self._cached else ""
        head = f"{self.done} of {self.total} tasks are done{cached}; {duration(self._drawn - self._began)}"
        lines = [
            *_last(self._wrong, self.most, "more warnings and failures"),
            *_last(self._ended, self.recent, "more"),
            *(f"{name}: {self._record(task).text()}" for name, task in self._running.items()),
        ]
        bar = f'<progress value="{self.done}" max="{max(self.total, 1)}"></progress> {escape(head)}'
        rest = "<br>".join(map(escape, lines))
        page = f'<div>{bar}<div style="font-size: smaller">{rest}</div></div>'
        return {"text/html": page, "text/plain": "\n".join([head, *lines])}


def _last(lines: list[str], number: int, of_what: str) -> list[str]:
    """Return the last lines, after one that counts those before."""
    before = len(lines) - number
    return [f"... and {before} {of_what}", *lines[-number:]] if before > 0 else lines


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not imported for the question."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _escaped(text: str) -> str:
    """Return text whose brackets rich does not take for markup."""
    return text.replace("[", r"\[")


def warn(progress: bool, texts: Iterable[str]) -> None:
    """Say on the error stream what has to be said before anything is done; nothing unless ``progress``."""
    for text in texts if progress else ():
        print(f"warning: {text}", file=sys.stderr, flush=True)


def make_display(progress: bool, store: Store, total: int, done: int) -> Display:
    """Return the display that suits notebook or error stream; one that shows nothing unless ``progress``."""
    if not progress or sys.stderr is None:
        return Display(store, total, done)
    if in_notebook():
        return CellDisplay(store, total, done)
    return (BarDisplay if sys.stderr.isatty() else LineDisplay)(store, total, done)
