"""Fit any differentiable potential to energies, forces and stresses with Lightning.

Fine-tuning a teacher and training a student are the same thing here. After each *validation
interval*, a fixed number of optimiser steps, come a validation and a checkpoint, and an interrupted run continues from
the last one with the batches, the optimiser, the learning rate and the averaged weights it would have had.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from distill.base.arrays import Array
from distill.base.progress import Progress
from distill.potentials.interface.dataset import Dataset
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames, concatenate
from distill.training.curve import FitResult
from distill.training.gradient.callbacks import Checkpoint, Reporter, WholeFiles, averaging
from distill.training.gradient.distributed import check_devices, together
from distill.training.gradient.loaders import FixedBatches, ShuffledBatches, cut
from distill.training.gradient.losses import LossWeights
from distill.training.gradient.module import FitModule, attach_targets
from distill.training.gradient.optimiser import Optimiser
from distill.training.gradient.schedule import Cosine, Plateau
from distill.training.loggers import Logs, LogWriter, opened
from distill.training.targets import Targets

Matmul = Literal["highest", "high", "medium"]

SMALL_BATCH = 20_000
"""Atoms and pairs that validation evaluates together at least; larger training batches make larger ones."""

SHARE = 0.3
"""Share of the free memory of a device that a dataset may take."""


def fit(
    potential: Potential,
    train: Frames,
    valid: Frames,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weights: LossWeights | None = None,
    validation_interval: int | None = 50,
    optimiser: Optimiser = "adamw",
    schedule: Literal["cosine", "plateau"] = "cosine",
    decay: float = 0.8,
    decay_patience: int = 25,
    weight_decay: float = 0.0,
    average: float = 0.99,
    clip: float = 10.0,
    pull: float = 0.0,
    patience: int | None = None,
    max_time: float | None = None,
    targets: tuple[Targets | None, Targets | None] = (None, None),
    replay: Frames | None = None,
    replay_share: float = 0.0,
    seed: int = 0,
    work: Path,
    device: str = "cpu",
    devices: int = 1,
    matmul: Matmul = "highest",
    compiled: bool = False,
    logs: Logs | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit ``potential`` in place and leave it with the weights of the best validation.

    Args:
        potential: the model; its trainable parameters are those that require gradients.
        train: structures to learn from.
        valid: structures that choose the weights that are kept.
        steps: optimiser steps at most, rounded up to whole validation intervals.
        batch_size: structures per step and device, on average: batches are cut so that they cost the same.
        learning_rate: its peak.
        weights: weights of the objective.
        validation_interval: steps between two validations; None: one pass over the structures.
        optimiser: ``"adamw"``, or ``"muon"`` or ``"soap"`` for the weight matrices.
        schedule: ``"cosine"`` with a linear warm-up over 5 % of the steps, or ``"plateau"``.
        decay: what a plateau of the validation loss multiplies the learning rate by ...
        decay_patience: ... after this many validations without gain.
        weight_decay: AdamW's decay of the weight matrices.
        average: decay of the exponential moving average of the weights; 0 uses the plain weights.
        clip: largest norm of the gradient; 0 does not clip.
        pull: decay towards the weights before the fit; a step goes this, times the learning rate, of the way back.
        patience: validations without gain after which to stop, or None.
        max_time: minutes after which to stop at the next validation, or None; the result then depends on the machine.
        targets: further labels of the training and of the validation structures; not together with ``replay``.
        replay: labelled structures of other materials that are mixed in, so that they are not forgotten.
        replay_share: their share of all structures that are learnt from.
        seed: of the order of the batches.
        work: folder for checkpoints; a fit that finds its own checkpoint there continues from it.
        device: torch device.
        devices: processes that train together, each on a GPU of its own, or on its share of this process's threads.
        matmul: precision of products of matrices in single precision, see ``torch.set_float32_matmul_precision``.
        compiled: compile the network first, see :meth:`distill.potentials.interface.potential.Potential.compile_for`.
        logs: what logs to write besides the learning curve.
        progress: where to report.

    Returns:
        The learning curve and how it ended. A run whose loss is not finite is ``diverged``; the potential then has the
        best weights seen before, or its initial ones.

    Raises:
        UserError: there are fewer GPUs than ``devices``, a log cannot be written, or the network cannot be compiled.
        WorkError: memory does not suffice, or one of several processes died.
    """
    check_devices(device, devices)
    home = potential.device
    if compiled:
        potential.compile_for("fit")
    others = replay if replay is not None and replay_share else Frames.empty()
    train_set, valid_set = (
        attach_targets(potential.prepare(structures), further)
        for structures, further in zip((concatenate([train, others]), valid), targets, strict=True)
    )
    batches = ShuffledBatches(
        train_set.costs,
        batch_size * devices,
        seed,
        per_interval=validation_interval,
        others=len(others),
        share=replay_share,
    )
    intervals = -(-steps // batches.per_interval)
    total = intervals * batches.per_interval
    module = FitModule(
        potential,
        train_set,
        valid_set,
        weights or LossWeights(),
        total=total,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=Cosine(total) if schedule == "cosine" else Plateau(decay, decay_patience),
        optimiser=optimiser,
        clip=clip,
        pull=pull,
    )
    batches.first_step = partial(_steps_before, module, batches.per_interval)
    checkpoint = Checkpoint(work, patience, None if max_time is None else 60 * max_time)
    checkpoint.find()
    valid_batch = max(SMALL_BATCH, 2 * batch_size * train_set.costs.mean())
    fitting = Fitting(
        module, batches, valid_batch, checkpoint, average, intervals, device, devices, matmul, logs or Logs()
    )
    if devices > 1:
        together(fitting, devices, device, work / "processes", progress or Progress())
        checkpoint.take_up()
    else:
        fitting.run(progress or Progress())
    checkpoint.restore_best(potential)
    potential.compiled = "no"
    potential.to(home).eval()  # Lightning leaves it on the processor
    return checkpoint.result


def _steps_before(module: FitModule, per_interval: int) -> int:
    """Return the steps before the running validation interval."""
    return int(module.current_epoch) * per_interval


@dataclass(frozen=True)
class Fitting:
    """A fit that is ready to run, in one process or as the share of one of several.

    Attributes:
        module: what is fitted, to which data.
        batches: the training batches.
        valid_batch: what a batch of validation structures may cost.
        checkpoint: keeps curve, weights and state.
        average: decay of the moving average of the weights.
        intervals: how many validation intervals.
        device: torch device; with several processes, that of the first.
        devices: processes.
        matmul: precision of products of matrices.
        logs: what to log.
    """

    module: FitModule
    batches: ShuffledBatches
    valid_batch: float
    checkpoint: Checkpoint
    average: float
    intervals: int
    device: str
    devices: int
    matmul: Matmul
    logs: Logs

    def run(self, progress: Progress) -> None:
        """Fit; what comes out lies in the folder of the checkpoint."""
        module, batches, per_pass = self.module, self.batches, self.batches.batches_per_pass
        rank = torch.distributed.get_rank() if self.devices > 1 else 0
        with (
            progress.phase("training", self.intervals * batches.per_interval, "step") as phase,
            quiet_lightning(),
            matmul_precision(self.matmul),
            opened(self.logs if rank == 0 else Logs()) as logs,
        ):
            reporters = [Reporter(phase, per_pass), LogWriter(logs, per_pass)]
            callbacks = [self.checkpoint, *averaging(self.average), *reporters]
            trainer = make_trainer(self.intervals, self.device, callbacks, self.devices, [logger for logger, _ in logs])
            device = str(trainer.strategy.root_device)
            module.train_set, module.valid_set = place(module.train_set, device), place(module.valid_set, device)
            validation = valid_batches(module.valid_set.costs, self.valid_batch, rank, self.devices)
            last = self.checkpoint.work / Checkpoint.LAST
            module.train()
            trainer.fit(module, batches, validation, ckpt_path=last if last.exists() else None, weights_only=True)


def valid_batches(costs: Array, most: float, rank: int, processes: int) -> FixedBatches:
    """Return the validation batches of one process; where it has no structure, an empty one, since all take part."""
    shares = cut(np.arange(len(costs)), costs, processes)
    share = shares[rank] if rank < len(shares) else np.arange(0)
    batches = FixedBatches(costs[share], most)
    batches.batches = [share[batch] for batch in batches] or [share]
    return batches


def place(dataset: Dataset, device: str) -> Dataset:
    """Return the dataset on the device where it takes a small share of the free memory, else where it is."""
    if (
        torch.device(device).type == "cuda"
        and dataset.nbytes > SHARE * torch.cuda.mem_get_info(torch.device(device))[0]
    ):
        return dataset
    return dataset.to(device)


def make_trainer(
    intervals: int, device: str, callbacks: list[pl.Callback], devices: int = 1, loggers: Sequence[Logger] = ()
) -> pl.Trainer:
    """Return a Lightning trainer that prints nothing by itself and writes only what ``loggers`` are given.

    For several devices it is that of one of as many processes, which are there already; see ``distributed.py``.
    """
    kind = torch.device(device)
    first = kind.index or 0
    return pl.Trainer(
        max_epochs=intervals,
        accelerator="gpu" if kind.type == "cuda" else "cpu",
        devices=list(range(first, first + devices)) if kind.type == "cuda" else devices,
        # not every step reaches all parameters; nothing in a buffer changes but the means, which all compute alike
        strategy=DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if devices > 1 else "auto",
        plugins=[LightningEnvironment(), WholeFiles()],
        callbacks=callbacks,
        logger=list(loggers) or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
    )


@contextmanager
def matmul_precision(precision: Matmul) -> Iterator[None]:
    """Multiply matrices of single precision in the given way."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
