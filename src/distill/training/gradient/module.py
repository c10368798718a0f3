"""The Lightning module of every fit, of teachers and students alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, distributed, nn

from distill.base.arrays import Array
from distill.base.errors import WorkError
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.batch_size import out_of_memory
from distill.potentials.interface.dataset import Dataset
from distill.potentials.interface.potential import Potential
from distill.training.curve import Point
from distill.training.gradient.loaders import cut
from distill.training.gradient.losses import (
    TERMS,
    LossWeights,
    combine,
    micro_batch_terms,
    residuals,
    weights_of_labels,
)
from distill.training.gradient.optimiser import Optimiser, make_optimiser
from distill.training.gradient.proximal import pull_to_start
from distill.training.gradient.schedule import Schedule
from distill.training.gradient.sums import ValidationSums
from distill.training.targets import STEP, Targets

MEMORY = 0.99
"""Decay of the running means that terms are balanced by."""


class FitModule(pl.LightningModule):
    """The Lightning module of every fit: an optimiser with a schedule on the objective of ``losses.py``.

    A batch is the indices of its structures in a dataset. Where memory does not suffice for it, gradients are
    accumulated over micro-batches from then on. Several processes each take a share of every batch and of the
    validation structures.

    Args:
        potential: what is fitted.
        train: structures to learn from.
        valid: structures to judge by.
        weights: of the objective.
        total: optimiser steps of the whole fit.
        learning_rate: its peak.
        weight_decay: AdamW's decay of the weight matrices.
        schedule: of the learning rate.
        optimiser: ``"adamw"``, ``"muon"`` or ``"soap"``.
        clip: largest norm of the gradient; 0 does not clip.
        pull: decay towards the present weights, see ``proximal.py``; 0 leaves it out.

    Attributes:
        losses: the validation losses so far, which a schedule may follow.
        micro_batches: over how many micro-batches the gradient of a batch is accumulated.
        means: running means of the terms, which balance them, ``[3]``; zero before the first step.
    """

    means: Tensor

    def __init__(
        self,
        potential: Potential,
        train: Dataset,
        valid: Dataset,
        weights: LossWeights,
        *,
        total: int,
        learning_rate: float,
        schedule: Schedule,
        weight_decay: float = 0.0,
        optimiser: Optimiser = "adamw",
        clip: float = 0.0,
        pull: float = 0.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.potential = potential
        self.train_set = train
        self.valid_set = valid
        self.weights = weights
        self.total = total
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.optimiser = optimiser
        self.clip = clip
        self.pull = pull
        self.start = [p.detach().clone() for p in self._trainable] if pull else []
        self.micro_batches = 1
        self.losses: list[float] = []
        self.interval_losses: list[Tensor] = []
        self.sums = ValidationSums(weights)
        self.register_buffer("means", torch.zeros(len(TERMS)))

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimiser and its schedule by step."""
        optimiser = make_optimiser(self.optimiser, self._trainable, self.learning_rate, self.weight_decay)
        if self.pull:
            pull_to_start(optimiser, self._trainable, self.start, self.pull)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.schedule.rate(step, self.losses))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    @property
    def _trainable(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def transfer_batch_to_device(self, batch: Array, device: torch.device, dataloader_idx: int) -> Array:
        """Leave the indices of structures where they are: their data are gathered on the device."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the number of micro-batches, on which the rounding of sums depends."""
        checkpoint["micro_batches"] = self.micro_batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Accumulate over as many micro-batches as the interrupted fit did."""
        self.micro_batches = checkpoint["micro_batches"]

    def on_train_epoch_start(self) -> None:
        """Forget the losses before the last validation."""
        self.interval_losses.clear()

    def training_step(self, chosen: Array, batch_idx: int) -> None:
        """Take one step on a batch."""
        optimiser, rates = self.optimizers(), self.lr_schedulers()
        weights = self.weights.at(self.global_step / self.total)
        while True:
            optimiser.zero_grad()
            try:
                terms = self.accumulate(chosen, weights)
                break
            except RuntimeError as error:
                self._make_room(error, len(chosen))
        if self.clip:
            self.clip_gradients(optimiser, gradient_clip_val=self.clip, gradient_clip_algorithm="norm")
        optimiser.step()
        rates.step()
        self.interval_losses.append(combine(terms, weights, balance=self.weights.balance))
        self._remember(terms)

    def accumulate(self, chosen: Array, weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Add the gradient of the objective on a batch to that of the parameters; return its terms, detached.

        Several processes each take a share of the batch; they have the gradient and the terms of the whole batch then.
        """
        whole = self.train_set.counts(chosen)
        share, times = self._share(chosen)
        sums: dict[str, Tensor] = {}
        for micro_batch in cut(share, self.train_set.costs[share], self.micro_batches):
            batch = self.train_set.select(micro_batch, self.device)
            counts = self.train_set.counts(micro_batch)
            errors = self._errors(batch)
            terms = micro_batch_terms(errors, self.weights, counts, whole, weights_of_labels(batch))
            found = self._of_all(terms if times else {}, [name for name in errors if whole[name]])
            for name, term in found.items():
                sums[name] = sums.get(name, 0.0) + term
            if self.weights.balance:
                of = counts if self._processes == 1 else whole
                terms = {
                    name: t / self._mean(name, found[name] * (whole[name] / of[name])) for name, t in terms.items()
                }
            wanted = any(weights[name] > 0 for name in terms)
            # Without a label the loss is zero, and still depends on the parameters: every process goes back once.
            loss = combine(terms, weights) if wanted else 0.0 * sum(error.sum() for error in errors.values())
            self.manual_backward(loss if times == 1 else times * loss)
        return sums

    @property
    def _processes(self) -> int:
        """How many processes train together."""
        return distributed.get_world_size() if distributed.is_initialized() else 1

    def _share(self, chosen: Array) -> tuple[Array, int]:
        """Return the structures of a batch that this process takes, and how many times their gradient counts.

        DDP averages the gradients of the processes; hence the factor makes it their sum. All have to take part: where
        there are fewer structures than processes, some take one that counts nothing.
        """
        shares = cut(chosen, self.train_set.costs[chosen], self._processes)
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        return (shares[rank], self._processes) if rank < len(shares) else (chosen[:1], 0)

    def _of_all(self, terms: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Return the terms of so many names, detached and summed over all processes, of which some may lack one."""
        if self._processes == 1:
            return {name: term.detach() for name, term in terms.items()}
        absent = torch.zeros((), device=self.device)
        summed = torch.stack([terms[name].detach() if name in terms else absent for name in names])
        distributed.all_reduce(summed)
        return dict(zip(names, summed, strict=True))

    def _errors(self, batch: Batch) -> dict[str, Tensor]:
        wants_stress = batch.stress is not None and self.potential.predicts_stress and self.weights.wants("virial")
        prediction, atomic = self.potential.with_atomic_energies(batch, stress=wants_stress)
        errors = residuals(prediction, batch)
        if "atomic_energy" in batch.extra and self.weights.wants("atomic_energy"):
            errors["atomic_energy"] = atomic - batch.extra["atomic_energy"]
        if "probe" in batch.extra and self.weights.wants("hessian"):
            errors["hessian"] = self._response(batch) - batch.extra["hessian"]
        return errors

    def _response(self, batch: Batch) -> Tensor:
        """Return minus the change of the forces along the batch's probes, by the differences that made its targets."""
        by = STEP * batch.extra["probe"]
        ahead, back = (
            self.potential(replace(batch, positions=batch.positions + sign * by), stress=False).forces
            for sign in (1.0, -1.0)
        )
        return (back - ahead) / (2 * STEP)

    def _mean(self, name: str, term: Tensor) -> Tensor:
        """Return the running mean of a term; before the first step, its present value."""
        mean = self.means[TERMS.index(name)]
        return torch.where(mean > 0, mean, term.detach() + 1e-12)

    def _remember(self, terms: Mapping[str, Tensor]) -> None:
        """Let the running means follow the terms of a batch."""
        if not self.weights.balance:
            return
        for name, term in terms.items():
            mean = self.means[TERMS.index(name)]
            mean.copy_(torch.where(mean > 0, MEMORY * mean + (1 - MEMORY) * term, term))

    def _make_room(self, error: RuntimeError, size: int) -> None:
        """Double the number of micro-batches, where memory did not suffice for the last one."""
        size = -(-size // (self._processes * self.micro_batches))
        self._refuse(error, size)
        if self._processes > 1:
            raise WorkError(
                f"the memory of {self.device} does not suffice for {size} structures a step",
                where=f"potential {self.potential.architecture}",
                remedy="Lower batch_size; several processes do not accumulate gradients over micro-batches as one does",
            ) from error
        self.micro_batches *= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _refuse(self, error: RuntimeError, size: int) -> None:
        """Raise ``error`` again where it is not about the memory of ``size`` structures, or where they are one."""
        if not out_of_memory(error):
            raise error
        if size == 1:
            raise WorkError(
                f"the memory of {self.device} does not suffice to train on one structure at a time",
                where=f"potential {self.potential.architecture}",
                remedy="Use a smaller network, smaller structures or a device with more memory",
            ) from error

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.sums = ValidationSums(self.weights)

    def validation_step(self, chosen: Array, batch_idx: int) -> None:
        """Add up the residuals of one validation batch, which may be empty; forces need gradients even here."""
        waiting = [chosen] if len(chosen) else []
        while waiting:
            micro_batch = waiting.pop()
            try:
                with torch.enable_grad():
                    errors = self._errors(self.valid_set.select(micro_batch, self.device))
            except RuntimeError as error:
                self._refuse(error, len(micro_batch))
                waiting += cut(micro_batch, self.valid_set.costs[micro_batch], 2)
                continue
            self.sums.add({name: error.detach() for name, error in errors.items()}, self.valid_set.counts(micro_batch))

    @property
    def train_loss(self) -> float:
        """Mean objective over the batches since the last validation, NaN before the first."""
        return float(torch.stack(self.interval_losses).mean()) if self.interval_losses else math.nan

    def point(self, step: int, seconds: float) -> Point:
        """Return the row of the learning curve of the validation that just ended, ``seconds`` after the start.

        Where several processes train, all have to call this.
        """
        if self._processes > 1:
            self.sums.add_up(self.device)
        errors = self.sums.mean_absolute()
        return Point(
            step=step,
            train_loss=self.train_loss,
            valid_loss=self.sums.objective(),
            valid_energy_mae=errors.get("energy", math.nan),
            valid_forces_mae=errors.get("forces", math.nan),
            valid_virial_mae=errors.get("virial", math.nan),
            learning_rate=float(self.trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=seconds,
        )


def attach_targets(dataset: Dataset, targets: Targets | None) -> Dataset:
    """Add the further labels of a teacher to its structures, as far as there are any, and return the dataset."""
    if targets is not None and targets.atomic_energy is not None:
        dataset.attach("atomic_energy", targets.atomic_energy, dataset.n_atoms)
    if targets is not None and targets.probe is not None and targets.response is not None:
        dataset.attach("probe", targets.probe)
        dataset.attach("hessian", targets.response, 3 * dataset.n_atoms)
    if targets is not None and targets.energy_weight is not None and targets.forces_weight is not None:
        dataset.weigh(targets.energy_weight, targets.forces_weight)
    return dataset
