"""What processor this is, and how much of it others leave."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")


def seconds_in_queue() -> float:
    """Return for how long threads of this process could have worked and had no core, s; 0 where Linux does not say."""
    waited = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # a thread has ended
            waited += int(path.read_text(encoding="utf-8").split()[1])
    return waited / 1e9
