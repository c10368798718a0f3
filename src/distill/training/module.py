"""The Lightning module of every fit, of teachers and students alike."""

from __future__ import annotations

import math
from typing import Any, Literal

import lightning.pytorch as pl
import torch

from distill.potentials.graph import Batch
from distill.potentials.potential import Potential
from distill.training.curve import Point
from distill.training.losses import LossWeights, objective, residuals
from distill.training.optimiser import make_optimiser
from distill.training.schedule import Schedule


class FitModule(pl.LightningModule):
    """The Lightning module of every fit: an optimiser with a schedule on the objective of ``losses.py``.

    Attributes:
        losses: the validation losses so far, which a schedule may follow.
    """

    def __init__(
        self,
        potential: Potential,
        weights: LossWeights,
        learning_rate: float,
        weight_decay: float,
        schedule: Schedule,
        optimiser: Literal["adamw", "muon"] = "adamw",
    ) -> None:
        super().__init__()
        self.potential = potential
        self.weights = weights
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.optimiser = optimiser
        self.losses: list[float] = []
        self.round_losses: list[torch.Tensor] = []
        self.validation: list[dict[str, torch.Tensor]] = []

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimiser and its schedule by step."""
        trainable = [p for p in self.parameters() if p.requires_grad]
        optimiser = make_optimiser(self.optimiser, trainable, self.learning_rate, self.weight_decay)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.schedule.rate(step, self.losses))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

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

    def point(self, step: int, seconds: float) -> Point:
        """Return the row of the learning curve for the round just validated, ``seconds`` after the start."""
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
            seconds=seconds,
        )
