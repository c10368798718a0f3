"""Progress of long work: one small record that a terminal, a notebook, a log and ``distill status`` all show.

Work reports to a :class:`Progress`; it does not know who looks. A :class:`FileProgress` keeps the newest record of a
task in ``progress.json`` of its working folder, from where the runner draws bars, even across processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Record:
    """The newest state of one task.

    Attributes:
        phase: what is being done, e.g. ``"fine-tuning"``.
        done: units finished, of ``total``.
        unit: what is counted, e.g. ``"epoch"``.
        rate: units per second since the phase began (or was resumed).
        note: a short free text, e.g. the latest loss.
        elapsed: seconds of work, earlier interrupted attempts included.
    """

    phase: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""
    rate: float = 0.0
    note: str = ""
    elapsed: float = 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds left in this phase, or None while unknown."""
        if self.rate <= 0 or not self.total:
            return None
        return max(self.total - self.done, 0) / self.rate

    def text(self) -> str:
        """Return the record as one line, e.g. ``fine-tuning 12/30 epochs, 2.1 s per epoch, 38 s left, loss 0.12``."""
        parts = [f"{self.phase} {self.done:g}/{self.total:g} {self.unit}s"] if self.total else [self.phase]
        if self.rate > 0:
            slow = self.rate < 1
            parts.append(f"{1 / self.rate:.3g} s per {self.unit}" if slow else f"{self.rate:.3g} {self.unit}s/s")
        if self.remaining is not None:
            parts.append(f"{duration(self.remaining)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a length of time for people: ``8.1 s``, ``2 min 05 s``, ``3 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Receives the progress of one task; this base class shows nothing and is the default everywhere."""

    @contextmanager
    def phase(self, name: str, total: float, unit: str, done: float = 0) -> Iterator[Phase]:
        """Yield a :class:`Phase` to advance; ``done`` units were finished by an earlier, interrupted attempt."""
        phase = Phase(self, Record(phase=name, total=total, unit=unit, done=done))
        self.publish(phase.record, force=True)
        yield phase
        self.publish(phase.record, force=True)

    def publish(self, record: Record, force: bool = False) -> None:
        """Show ``record``; unforced calls may be dropped to keep the display cheap."""


class Phase:
    """A part of a task whose units are counted."""

    def __init__(self, progress: Progress, record: Record) -> None:
        self.progress = progress
        self.record = record
        self._start = time.monotonic()
        self._already = record.done

    def resume(self, done: float) -> None:
        """Begin to count at ``done`` units, which an earlier attempt finished."""
        self.record.done = self._already = done
        self._start = time.monotonic()
        self.progress.publish(self.record)

    def advance(self, units: float = 1, note: str | None = None) -> None:
        """Count ``units`` more as done and replace the note."""
        self.update(self.record.done + units, note)

    def update(self, done: float, note: str | None = None) -> None:
        """Set how many units are done and replace the note."""
        self.record.done = done
        self.record.rate = (done - self._already) / max(time.monotonic() - self._start, 1e-9)
        if note is not None:
            self.record.note = note
        self.progress.publish(self.record)


class FileProgress(Progress):
    """Keeps the newest record in a file, at most every ``interval`` seconds.

    The seconds worked are carried on from a file that an interrupted attempt left. Only the process that made this
    writes, none that was forked from it.
    """

    def __init__(self, path: Path, interval: float = 0.4) -> None:
        self.path = path
        self.interval = interval
        earlier = read_record(path)
        self._before = earlier.elapsed if earlier else 0.0
        self._start = time.monotonic()
        self._last = -interval
        self._process = os.getpid()

    @property
    def elapsed(self) -> float:
        """Seconds of work so far, earlier attempts included."""
        return self._before + time.monotonic() - self._start

    def publish(self, record: Record, force: bool = False) -> None:
        """Write the record by rename, so that a reader never sees half of it."""
        now = time.monotonic()
        if os.getpid() != self._process or (not force and now - self._last < self.interval):
            return
        self._last = now
        record.elapsed = self.elapsed
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        temporary.replace(self.path)


def read_record(path: Path) -> Record | None:
    """Read the record that a :class:`FileProgress` keeps, or None where there is none."""
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
