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
from lightning.pytorch.plugins.io import TorchCheckpointIO

from distill.base.files import is_whole_zip, replacing
from distill.base.progress import Phase
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.tensors import read_tensors
from distill.training.curve import FitResult, Point, began_anew, write_curve
from distill.training.gradient.module import FitModule

FAR = 10.0
"""A validation loss so many times the best one is far above it ..."""

FAR_FOR = 20
"""... and a fit diverges when it has been so for this many validations."""


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
    """Passes the steps done, the losses and the latest validation errors on to a progress phase.

    The training loss is that since the last validation; asking for it waits for the device, so it is asked for rarely.

    Args:
        phase: where to report.
        per_pass: batches in a pass over the data, an epoch.
        interval: seconds between two looks at the training loss.
    """

    def __init__(self, phase: Phase, per_pass: int, interval: float = 5.0) -> None:
        self.phase = phase
        self.per_pass = per_pass
        self.interval = interval
        self._looked = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count where a resumed run continues."""
        self.phase.resume(trainer.global_step)
        self._show(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count one step."""
        if time.monotonic() - self._looked >= self.interval:
            self._show(trainer, pl_module)
        else:
            self.phase.update(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the newest validation errors."""
        self._show(trainer, pl_module)

    def _show(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        checkpoint = next(c for c in trainer.callbacks if isinstance(c, Checkpoint))
        curve, step = checkpoint.result.curve, trainer.global_step
        interval = min(len(curve) + 1, trainer.max_epochs)
        parts = [f"epoch {step / self.per_pass:.1f}, validation interval {interval}/{trainer.max_epochs}"]
        loss = module.train_loss
        if not math.isnan(loss):
            parts.append(f"loss {loss:.3g}")
        if curve:
            energy, forces = 1000 * curve[-1].valid_energy_mae, 1000 * curve[-1].valid_forces_mae
            parts.append(f"validation {energy:.1f} meV/atom, {forces:.0f} meV/Å")
        parts.append(f"learning rate {trainer.optimizers[0].param_groups[0]['lr']:.2g}")
        self.phase.update(step, ", ".join(parts))
        self._looked = time.monotonic()


class Checkpoint(pl.Callback):
    """Keeps the learning curve, the best weights and the last state to resume from; stops a fit that should stop.

    It stands before the callback that averages weights, so that the weights it sees after a validation are the
    averaged ones that were validated. The best weights are a part of the state, so that there is never one without the
    other. Where several processes train, the first one's clock counts and it alone writes.
    """

    LAST = "last.ckpt"
    CURVE = "curve.csv"

    def __init__(self, work: Path, patience: int | None, max_time: float | None = None) -> None:
        self.work = work
        self.patience = patience
        self.max_time = max_time
        self.result = FitResult()
        self.best: dict[str, Any] = {}
        self._start, self._earlier = time.monotonic(), 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know of the validations before."""
        return {
            "status": self.result.status,
            "curve": [asdict(p) for p in self.result.curve],
            "warnings": self.result.warnings,
            "best": self.best,
        }

    @property
    def _seconds(self) -> float:
        """Seconds of training so far, those of interrupted attempts included up to their last validation."""
        return self._earlier + time.monotonic() - self._start

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the validations of the interrupted run."""
        curve = [Point(**p) for p in state_dict["curve"]]
        self.result = FitResult(state_dict["status"], curve, warnings=state_dict["warnings"])
        self.best = state_dict["best"]

    def find(self) -> None:
        """Look at what an interrupted run left; it is not continued where it is damaged or lacks the best weights."""
        last = self.work / self.LAST
        if last.exists() and not (is_whole_zip(last) and self._left().get("best")):
            last.unlink()
            self.result.warnings.append(began_anew(last))

    def _left(self) -> dict[str, Any]:
        """Return what the last state on disk says of this callback; nothing where it is not all numbers and texts."""
        try:
            state = read_tensors(self.work / self.LAST)
        except ValueError:
            return {}
        own: dict[str, Any] = state.get("callbacks", {}).get(self.state_key, {})
        return own

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the initial weights of a new run, and do not go on where an interrupted one had come to its end."""
        if not self.best:
            self._keep(pl_module)
        self._start, self._earlier = time.monotonic(), self.result.curve[-1].seconds if self.result.curve else 0.0
        self._follow(pl_module)
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row to the curve, keep the weights if they are the best so far, and decide whether to go on."""
        assert isinstance(pl_module, FitModule)  # noqa: S101 - this callback serves no other module
        point = pl_module.point(trainer.global_step, self._seconds)
        self.result.curve.append(trainer.strategy.broadcast(point))
        self._follow(pl_module)
        newest, best = self.result.curve[-1], self.result.best
        if newest is best:
            self._keep(pl_module)
        if self._has_diverged():
            self.result.status = "diverged"
        elif self.patience is not None and best is not None and self._validations_since(best) >= self.patience:
            self.result.status = "stopped early"
        elif self.max_time is not None and newest.seconds >= self.max_time:
            self.result.status = "out of time"
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def _follow(self, module: pl.LightningModule) -> None:
        """Let the learning rate know the validation losses so far."""
        module.losses = [point.valid_loss for point in self.result.curve]

    def _keep(self, module: pl.LightningModule) -> None:
        self.best = {
            name: value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
            for name, value in module.potential.state_dict().items()
        }

    def _has_diverged(self) -> bool:
        """Whether a loss is not finite, or has been far above the best for many validations."""
        curve, best = self.result.curve, self.result.best
        if best is None or not (math.isfinite(curve[-1].valid_loss) and math.isfinite(curve[-1].train_loss)):
            return True
        recent = curve[-FAR_FOR:]
        return len(recent) == FAR_FOR and all(point.valid_loss > FAR * best.valid_loss for point in recent)

    def _validations_since(self, best: Point) -> int:
        return len(self.result.curve) - 1 - self.result.curve.index(best)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the curve so far and the state to resume from."""
        if trainer.is_global_zero:
            write_curve(self.work / self.CURVE, self.result.curve)
        trainer.save_checkpoint(self.work / self.LAST)  # all processes take part, the first one writes

    def take_up(self) -> None:
        """Learn how the fit went that other processes did in the same folder."""
        self.load_state_dict(self._left())

    def restore_best(self, potential: Potential) -> None:
        """Load the best weights into ``potential``: its initial ones where no validation was finite."""
        potential.load_state_dict(self.best)


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints beside their place, as all files are; Lightning would leave copies in the temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all."""
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
