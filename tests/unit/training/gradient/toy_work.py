"""Work for several processes: pieces one after another, and work that fails, refuses or does not end.

It is light, because every process imports it.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from torch import distributed

from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.training.gradient.distributed import Work


@dataclass(frozen=True)
class OneAfterAnother:
    """Pieces of work that the same processes do, so that they start once."""

    pieces: tuple[Work, ...]

    def run(self, progress: Progress) -> None:
        for piece in self.pieces:
            piece.run(progress)


class Dies:
    """One of the processes is killed while the other waits for it."""

    def run(self, progress: Progress) -> None:
        if distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.barrier()


class Refuses:
    """One of the processes refuses what the user wants."""

    def run(self, progress: Progress) -> None:
        if distributed.get_rank() == 1:
            raise UserError("not so", where="here", remedy="Do it otherwise")
        distributed.barrier()


class Waits:
    """Never ends."""

    def run(self, progress: Progress) -> None:
        with progress.phase("waiting", 1, "step"):
            time.sleep(600)
