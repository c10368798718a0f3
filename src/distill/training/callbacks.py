"""What happens beside the steps of a fit: averaging of weights, reports of progress, checkpoints and early ends."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging

from distill.base.files import replacing
from distill.base.progress import Phase
from distill.potentials.potential import Potential
from distill.training.curve import FitResult, Point
from distill.training.module import FitModule

FAR = 10.0
"""A validation loss so many times the best one is far above it ..."""

FAR_FOR = 20
"""... and a fit diverges when it has been so for this many rounds."""


def averaging(decay: float) -> list[pl.Callback]:
    """Return the callback that averages the weights exponentially, or none for a decay of 0.

    The decay rises with the number of averaged steps, so that the initial weights are forgotten quickly.
    """
    if not decay:
        return []

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        keep = ((1 + count) / (10 + count)).clamp(max=decay)  # a tensor: no device is waited for
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new.to(old.dtype), (1 - keep).to(old.dtype))

    return [WeightAveraging(use_buffers=False, multi_avg_fn=update)]


class Reporter(pl.Callback):
    """Passes the steps done and the latest validation errors on to a progress phase."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count where a resumed run continues."""
        self.phase.resume(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Count one step."""
        self.phase.update(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the newest validation errors."""
        keeper = next(c for c in trainer.callbacks if isinstance(c, Keeper))
        point = keeper.result.curve[-1]
        note = f"validation {1000 * point.valid_energy_mae:.1f} meV/atom, {1000 * point.valid_forces_mae:.0f} meV/Å"
        self.phase.update(trainer.global_step, note)


class Keeper(pl.Callback):
    """Keeps the learning curve, the best weights and the last state to resume from; stops a fit that should stop.

    It stands before the callback that averages weights, so that the weights it sees after a validation are the
    averaged ones that were validated. The best weights are on disk before the state that mentions them.
    """

    LAST = "last.ckpt"
    BEST = "best.pt"

    def __init__(self, work: Path, patience: int | None, max_time: float | None = None) -> None:
        self.work = work
        self.patience = patience
        self.max_time = max_time
        self.result = FitResult()
        self._start, self._earlier = time.monotonic(), 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know of the rounds before."""
        return {"status": self.result.status, "curve": [asdict(p) for p in self.result.curve]}

    @property
    def _seconds(self) -> float:
        """Seconds of training so far, those of interrupted attempts included up to their last round."""
        return self._earlier + time.monotonic() - self._start

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rounds of the interrupted run."""
        self.result = FitResult(state_dict["status"], [Point(**p) for p in state_dict["curve"]])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the initial weights of a new run, and do not go on where an interrupted one had come to its end."""
        if not (self.work / self.BEST).exists():
            self._keep(pl_module)
        self._start, self._earlier = time.monotonic(), self.result.curve[-1].seconds if self.result.curve else 0.0
        self._follow(pl_module)
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row to the curve, keep the weights if they are the best so far, and decide whether to go on."""
        assert isinstance(pl_module, FitModule)  # noqa: S101 - this callback serves no other module
        self.result.curve.append(pl_module.point(trainer.global_step, self._seconds))
        self._follow(pl_module)
        newest, best = self.result.curve[-1], self.result.best
        if newest is best:
            self._keep(pl_module)
        if self._has_diverged():
            self.result.status = "diverged"
        elif self.patience is not None and best is not None and self._rounds_since(best) >= self.patience:
            self.result.status = "stopped early"
        elif self.max_time is not None and newest.seconds >= self.max_time:
            self.result.status = "out of time"
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def _follow(self, module: pl.LightningModule) -> None:
        """Let the learning rate know the validation losses so far."""
        module.losses = [point.valid_loss for point in self.result.curve]

    def _keep(self, module: pl.LightningModule) -> None:
        with replacing(self.work / self.BEST) as temporary:
            torch.save(module.potential.state_dict(), temporary)

    def _has_diverged(self) -> bool:
        """Whether a loss is not finite, or has been far above the best for many rounds."""
        curve, best = self.result.curve, self.result.best
        if best is None or not (math.isfinite(curve[-1].valid_loss) and math.isfinite(curve[-1].train_loss)):
            return True
        recent = curve[-FAR_FOR:]
        return len(recent) == FAR_FOR and all(point.valid_loss > FAR * best.valid_loss for point in recent)

    def _rounds_since(self, best: Point) -> int:
        return len(self.result.curve) - 1 - self.result.curve.index(best)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state to resume from."""
        with replacing(self.work / self.LAST) as temporary:
            trainer.save_checkpoint(temporary)

    def restore_best(self, potential: Potential) -> None:
        """Load the best weights into ``potential``: its initial ones where no round was finite."""
        potential.load_state_dict(torch.load(self.work / self.BEST, map_location="cpu", weights_only=True))
