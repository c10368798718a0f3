"""What a check returns, and what it is given: a finding, and the structures of a file with their places in it.

Structures may have been taken out of a file (isolated atoms) before it is checked; findings still count frames as the
file does, because :class:`FileFrames` knows each structure's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import DistillError
from distill.structures.checks.kinds import KINDS
from distill.structures.frames import Frames

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Attributes:
        severity: ``"error"`` stops a run, ``"warning"`` is shown, ``"info"`` is for the record.
        kind: its code, one of :data:`distill.structures.checks.kinds.KINDS`; it does not change between versions.
        what: what was found, one clause.
        where: the file or set.
        remedy: what to do about it.
        frames: the frames concerned, counted from 0 as in the file.
    """

    severity: Severity
    kind: str
    what: str
    where: str
    remedy: str = ""
    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not a kind of finding")

    @property
    def place(self) -> str:
        """The file and its first frames, for instance ``train.xyz, frames 3, 7 (counted from 0)``."""
        return f"{self.where}, {frames_text(self.frames)}" if self.frames else self.where

    @property
    def sentence(self) -> str:
        """Place, what was found, and the remedy."""
        remedy = f". {self.remedy.rstrip('.')}." if self.remedy else ""
        return f"{self.place}: {self.what}{remedy}"

    def text(self) -> str:
        """Return the finding as one line that begins with severity and kind."""
        return f"{self.severity} [{self.kind}]: {self.sentence}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return asdict(self) | {"frames": list(self.frames)}

    @classmethod
    def of_error(cls, error: DistillError, kind: str, where: str = "") -> Finding:
        """Return an error that was raised as a finding."""
        return cls("error", kind, error.what, error.where or where, error.remedy or "")


@dataclass(frozen=True)
class FileFrames:
    """Structures of a file.

    Attributes:
        frames: the structures.
        name: the file, as messages call it.
        numbers: the place of each structure in the file, ``[B]`` from 0; None where nothing was taken out.
    """

    frames: Frames
    name: str
    numbers: Array | None = None

    def place(self, indices: Array | Sequence[int]) -> Array:
        """Return the places in the file, of the shape of ``indices``."""
        chosen: Array = np.asarray(indices, dtype=np.int64)
        return chosen if self.numbers is None else self.numbers[chosen]

    def finding(self, severity: Severity, kind: str, what: str, remedy: str = "", chosen: Any = ()) -> Finding:
        """Return a finding on the structures ``chosen``, given as indices or as a mask."""
        chosen = np.asarray(chosen)
        indices = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.unique(chosen)
        return Finding(severity, kind, what, self.name, remedy, tuple(self.place(indices).tolist()))

    def pairs_text(self, pairs: Array, most: int = 5) -> str:
        """Return for instance ``1 and 5, 3 and 6``."""
        shown = ", ".join(f"{a} and {b}" for a, b in self.place(pairs[:most]).tolist())
        return shown + (", ..." if len(pairs) > most else "")

    def without(self, chosen: Array) -> FileFrames:
        """Return the file without the structures ``chosen``, a mask ``[B]``."""
        kept = np.flatnonzero(~chosen)
        return FileFrames(self.frames[kept], self.name, self.place(kept))


def frames_text(frames: Sequence[int] | Array, most: int = 8) -> str:
    """Return for instance ``frames 3, 7 (counted from 0)``."""
    shown = ", ".join(str(int(i)) for i in frames[:most])
    more = f", ... ({len(frames)} in all)" if len(frames) > most else ""
    return f"frame{'s' if len(frames) > 1 else ''} {shown}{more} (counted from 0)"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors first, then warnings, then the rest, otherwise in their order."""
    return sorted(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity))
