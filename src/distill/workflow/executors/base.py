"""What an executor is: it takes submissions and gives back outcomes. It decides nothing and knows no plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from distill.base.artifact import Manifest
from distill.base.errors import DistillError
from distill.base.settings import Settings
from distill.workflow.work import Submission


class ExecutorSettings(Settings):
    """Base of the settings of every executor; each adds ``kind`` as a literal with its name."""


@dataclass(frozen=True)
class Outcome:
    """How a submitted task ended: with the artifact's manifest, or with an error.

    Attributes:
        id: the task's id.
        manifest: the artifact's manifest, None after a failure.
        error: what went wrong, None after a success.
    """

    id: str
    manifest: Manifest | None = None
    error: DistillError | None = None


class Executor(ABC):
    """Runs submissions somewhere. Used as ``start``, then ``submit`` and ``wait`` in turn, then ``stop``.

    Once all submissions have ended it may be started again, for other work.

    Attributes:
        workers: how many tasks are executed at once; known after ``start``.
    """

    Settings: ClassVar[type[ExecutorSettings]] = ExecutorSettings
    workers: int = 1

    @abstractmethod
    def start(self, device: str, width: int) -> str:
        """Get ready for at most ``width`` tasks at once and return the device that ``device`` (maybe "auto") means."""

    @abstractmethod
    def submit(self, submission: Submission) -> None:
        """Begin a submission; the caller keeps at most ``workers`` submissions open."""

    @abstractmethod
    def wait(self, timeout_s: float) -> Outcome | None:
        """Return the next outcome, or None when ``timeout_s`` passed without one."""

    @abstractmethod
    def stop(self) -> None:
        """End all work at once; what is unfinished can be resumed."""
