"""The standard streams, which may be closed, full, or read by somebody who has gone: no work ends for that.

``head -1`` closes the pipe that it reads from, a terminal goes with its window, a disk is full: whoever shows something
goes on without being seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Tolerant:
    """A stream that takes whatever is written, and writes as long as it can.

    Args:
        stream: where it goes.

    Attributes:
        error: why something could not be written, or None.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Write, and forget the text where that is not possible."""
        self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hand over what is still kept."""
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _attempt(self, act: Any, *arguments: str) -> None:
        if self.error is None:
            try:
                act(*arguments)
            except (OSError, ValueError) as error:  # ValueError: it was closed by this process
                self.error = error
                self._let_go()

    def _let_go(self) -> None:
        """Lead the stream nowhere: Python tries once more to write what is left when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def tolerant_errors() -> TextIO:
    """Return the error stream as a :class:`Tolerant`, for those who want a stream of text."""
    return cast(TextIO, Tolerant(sys.stderr))


def say(text: str) -> None:
    """Write one line to the error stream, at once, if it can be written."""
    if sys.stderr is not None:
        print(text, file=Tolerant(sys.stderr), flush=True)


@contextmanager
def tolerant_streams() -> Iterator[Tolerant]:
    """Let nothing that is written to the standard streams end the work inside; yields the output stream.

    What the terminal's alphabet lacks is written as a question mark.
    """
    _open_missing()
    kept = sys.stdout, sys.stderr
    output, errors = Tolerant(kept[0]), Tolerant(kept[1])
    with suppress(AttributeError, ValueError):
        output.reconfigure(errors="replace")
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = kept


def _open_missing() -> None:
    """Lead standard streams that are closed nowhere, lest the next file that is opened takes their place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", closefd=False))
