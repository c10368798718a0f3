"""Progress of work in this process: a bar on a terminal, now and then a line elsewhere.

It shows the records that runs show too; the difference is that nothing travels through files.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from distill.base.progress import Progress, Record
from distill.base.streams import say, tolerant_errors


class Bar(Progress):
    """Shows the newest record on the error stream, to be used in a ``with``.

    Args:
        interval_s: seconds between two lines where the stream is not a terminal.
    """

    def __init__(self, interval_s: float = 15.0) -> None:
        self.interval_s = interval_s
        self._last = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            columns = (BarColumn(bar_width=24), TextColumn("{task.fields[text]}", markup=False))
            self._bar = RichProgress(*columns, console=Console(file=tolerant_errors(), highlight=False), transient=True)
            self._bar.add_task("", total=None, text="starting")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def publish(self, record: Record, force: bool = False) -> None:
        """Show the record: on a terminal at the next drawing, elsewhere once ``interval_s`` has passed."""
        if self._bar is not None:
            self._bar.update(0, total=record.total or None, completed=record.done, text=record.text())
        elif time.monotonic() - self._last >= self.interval_s:
            self._last = time.monotonic()
            say(record.text())
