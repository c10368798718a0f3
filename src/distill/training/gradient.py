"""Fit any differentiable potential to energies, forces and stresses with Lightning.

Fine-tuning a teacher and training a student are the same thing here. Training proceeds in *rounds* of a fixed number of
optimiser steps; each round ends with a validation and a checkpoint, and an interrupted run continues from the last one
with the batches, the optimiser, the learning rate and the averaged weights it would have had.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.utils.data import DataLoader

from distill.base.files import replacing
from distill.base.progress import Phase, Progress
from distill.potentials.graph import Batch
from distill.potentials.potential import Potential
from distill.structures.frames import Frames
from distill.training.loaders import FixedBatches, ShuffledBatches
from distill.training.losses import LossWeights, objective, residuals


@dataclass(frozen=True)
class Point:
    """One row of a learning curve; errors are mean absolute errors on the validation structures.

    Attributes:
        step: optimiser steps taken.
        train_loss: mean objective over the batches of the round.
        valid_loss: objective on the validation structures.
        valid_energy_mae: eV/atom. valid_forces_mae: eV/Å. valid_virial_mae: eV/atom, NaN without labels.
        learning_rate: at the end of the round.
    """

    step: int
    train_loss: float
    valid_loss: float
    valid_energy_mae: float
    valid_forces_mae: float
    valid_virial_mae: float
    learning_rate: float


@dataclass
class FitResult:
    """How a fit ended.

    Attributes:
        status: ``"finished"``, ``"stopped early"`` (no gain for ``patience`` rounds) or ``"diverged"``.
        curve: one :class:`Point` per round.
    """

    status: str = "finished"
    curve: list[Point] = field(default_factory=list)

    @property
    def best(self) -> Point | None:
        """The round whose weights were kept: the lowest finite validation loss."""
        finite = [p for p in self.curve if math.isfinite(p.valid_loss)]
        return min(finite, key=lambda p: p.valid_loss) if finite else None


def fit(
    potential: Potential,
    train: Frames,
    valid: Frames,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weights: LossWeights | None = None,
    steps_per_round: int = 50,
    warmup: float = 0.05,
    weight_decay: float = 0.0,
    average: float = 0.99,
    clip: float = 10.0,
    patience: int | None = None,
    seed: int = 0,
    work: Path,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FitResult:
    """Fit ``potential`` in place and leave it with the weights of the best round.

    Args:
        potential: the model; its trainable parameters are those that require gradients.
        train: structures to learn from.
        valid: structures that choose the best round.
        steps: optimiser steps at most, rounded up to whole rounds.
        batch_size: structures per step.
        learning_rate: the peak of a cosine schedule with linear warm-up.
        weights: weights of the objective.
        steps_per_round: steps between two validations.
        warmup: fraction of ``steps`` over which the learning rate rises.
        weight_decay: AdamW's decay of the weight matrices.
        average: decay of the exponential moving average of the weights; 0 uses the plain weights.
        clip: largest norm of the gradient; 0 does not clip.
        patience: rounds without gain after which to stop, or None.
        seed: of the order of the batches.
        work: folder for checkpoints; a fit that finds its own checkpoint there continues from it.
        device: torch device.
        progress: where to report.

    Returns:
        The learning curve and how it ended. A run whose loss is not finite is ``diverged``; the potential then has the
        best weights seen before, or its initial ones.
    """
    rounds = -(-steps // steps_per_round)
    module = FitModule(
        potential, weights or LossWeights(), learning_rate, weight_decay, total=rounds * steps_per_round, warmup=warmup
    )
    module.train()
    graphs = potential.prepare(train)
    batches = ShuffledBatches(
        graphs, potential.collate, batch_size, steps_per_round, lambda: module.current_epoch * steps_per_round, seed
    )
    validation: DataLoader[Batch] = DataLoader(
        FixedBatches(potential.prepare(valid), potential.collate), batch_size=None
    )
    keeper = Keeper(work, patience)
    with (progress or Progress()).phase("training", rounds * steps_per_round, "step") as phase, quiet_lightning():
        trainer = make_trainer(rounds, clip, device, [keeper, *averaging(average), Reporter(phase)])
        last = work / Keeper.LAST
        trainer.fit(module, batches, validation, ckpt_path=last if last.exists() else None, weights_only=True)
    keeper.restore_best(potential)
    potential.eval()
    return keeper.result


def make_trainer(rounds: int, clip: float, device: str, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return a Lightning trainer for one device that writes and prints nothing by itself."""
    kind = torch.device(device)
    return pl.Trainer(
        max_epochs=rounds,
        accelerator="gpu" if kind.type == "cuda" else "cpu",
        devices=[kind.index or 0] if kind.type == "cuda" else 1,
        gradient_clip_val=clip or None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
    )


LIGHTNING_LOGGERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")
"""Where Lightning's advice comes from; its two packages share one logger, whichever was imported last."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice about loaders and hardware; errors still appear."""
    names = [name + part for name in LIGHTNING_LOGGERS for part in ("", ".utilities.rank_zero")]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


class FitModule(pl.LightningModule):
    """The Lightning module of every fit: AdamW with warm-up and cosine decay on the objective of ``losses.py``."""

    def __init__(
        self,
        potential: Potential,
        weights: LossWeights,
        learning_rate: float,
        weight_decay: float,
        total: int,
        warmup: float,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.weights = weights
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.total = total
        self.warmup_steps = max(1, round(warmup * total))
        self.round_losses: list[torch.Tensor] = []
        self.validation: list[dict[str, torch.Tensor]] = []

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, which decays matrices only, and its schedule by step."""
        trainable = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.relative_rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def relative_rate(self, step: int) -> float:
        """Return the learning rate at ``step`` relative to its peak: linear rise, cosine fall to one hundredth."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.total - self.warmup_steps)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to the device."""
        return batch.to(device)

    def _errors(self, batch: Batch) -> dict[str, torch.Tensor]:
        wants_stress = batch.stress is not None and self.potential.predicts_stress and self.weights.virial > 0
        return residuals(self.potential(batch, stress=wants_stress), batch)

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the last round."""
        self.round_losses.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the objective on one batch."""
        loss = objective(self._errors(batch), self.weights)
        self.round_losses.append(loss.detach())
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the residuals of the last validation."""
        self.validation.clear()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the residuals of one validation batch; forces need gradients even here."""
        with torch.enable_grad():
            errors = self._errors(batch)
        self.validation.append({name: error.detach() for name, error in errors.items()})

    def point(self, step: int) -> Point:
        """Return the row of the learning curve for the round that has just been validated."""
        errors = {name: torch.cat([v[name] for v in self.validation]) for name in self.validation[0]}
        mae = {name: float(error.abs().mean()) if error.numel() else math.nan for name, error in errors.items()}
        return Point(
            step=step,
            train_loss=float(torch.stack(self.round_losses).mean()) if self.round_losses else math.nan,
            valid_loss=float(objective(errors, self.weights)),
            valid_energy_mae=mae.get("energy", math.nan),
            valid_forces_mae=mae.get("forces", math.nan),
            valid_virial_mae=mae.get("virial", math.nan),
            learning_rate=float(self.trainer.optimizers[0].param_groups[0]["lr"]),
        )


def averaging(decay: float) -> list[pl.Callback]:
    """Return the callback that averages the weights exponentially, or none for a decay of 0.

    The decay rises with the number of averaged steps, so that the initial weights are forgotten quickly.
    """
    if not decay:
        return []

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new.to(old.dtype), 1 - keep)

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

    def __init__(self, work: Path, patience: int | None) -> None:
        self.work = work
        self.patience = patience
        self.result = FitResult()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know of the rounds before."""
        return {"status": self.result.status, "curve": [asdict(p) for p in self.result.curve]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rounds of the interrupted run."""
        self.result = FitResult(state_dict["status"], [Point(**p) for p in state_dict["curve"]])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the initial weights of a new run, and do not go on where an interrupted one had come to its end."""
        if not (self.work / self.BEST).exists():
            self._keep(pl_module)
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row to the curve, keep the weights if they are the best so far, and decide whether to go on."""
        assert isinstance(pl_module, FitModule)  # noqa: S101 - this callback serves no other module
        self.result.curve.append(pl_module.point(trainer.global_step))
        newest, best = self.result.curve[-1], self.result.best
        if newest is best:
            self._keep(pl_module)
        if not (math.isfinite(newest.valid_loss) and math.isfinite(newest.train_loss)):
            self.result.status = "diverged"
        elif self.patience is not None and best is not None and self._rounds_since(best) >= self.patience:
            self.result.status = "stopped early"
        trainer.should_stop = trainer.should_stop or self.result.status != "finished"

    def _keep(self, module: pl.LightningModule) -> None:
        with replacing(self.work / self.BEST) as temporary:
            torch.save(module.potential.state_dict(), temporary)

    def _rounds_since(self, best: Point) -> int:
        return len(self.result.curve) - 1 - self.result.curve.index(best)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state to resume from."""
        with replacing(self.work / self.LAST) as temporary:
            trainer.save_checkpoint(temporary)

    def restore_best(self, potential: Potential) -> None:
        """Load the best weights into ``potential``: its initial ones where no round was finite."""
        potential.load_state_dict(torch.load(self.work / self.BEST, map_location="cpu", weights_only=True))
