"""Errors that reach the user as one sentence, and the exit codes they end in.

Raise :class:`UserError` where the fact is known: it names what is wrong, where (file, frame, key) and what to do.
Anything else that goes wrong at work is a :class:`WorkError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class DistillError(Exception):
    """Base of the errors that are shown without a traceback.

    Args:
        what: what is wrong, one clause without a final full stop.
        where: the file, frame, key or stage it was found in.
        remedy: what the user can do about it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        if not self.remedy:
            return f"{place}{self.what}"
        end = "" if self.remedy.endswith(("?", ".", "!")) else "."
        return f"{place}{self.what}. {self.remedy}{end}"

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


class UserError(DistillError):
    """Bad input: refused before anything expensive starts (exit status 2)."""

    exit_code = EXIT_BAD_INPUT


class WorkError(DistillError):
    """A failure at work: the input was fine, the computation was not (exit status 1)."""


INTERRUPTED = "Interrupted. Nothing is lost: the same command continues where this one stood."


class Interrupted(KeyboardInterrupt):
    """The user stopped a run; a notebook shows one line."""

    def __init__(self) -> None:
        super().__init__(INTERRUPTED)

    def _render_traceback_(self) -> list[str]:
        return [INTERRUPTED]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy that names the known word nearest to ``name``, or lists them all."""
    known = sorted(known)
    match = get_close_matches(name, known, n=1, cutoff=0.6)
    if match:
        return f"Did you mean {match[0]!r}?"
    return f"Known: {', '.join(known)}"
