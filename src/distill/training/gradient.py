"""Fit any differentiable potential to energies, forces and stresses with Lightning.

Fine-tuning a teacher and training a student are the same thing here. Training proceeds in *rounds* of a fixed number of
optimiser steps; each round ends with a validation and a checkpoint, and an interrupted run continues from the last one
with the batches, the optimiser, the learning rate and the averaged weights it would have had.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from distill.base.progress import Progress
from distill.potentials.graph import Batch
from distill.potentials.potential import Potential
from distill.structures.frames import Frames
from distill.training.callbacks import Keeper, Reporter, averaging
from distill.training.curve import FitResult
from distill.training.loaders import FixedBatches, ShuffledBatches
from distill.training.losses import LossWeights
from distill.training.module import FitModule
from distill.training.schedule import Cosine, Plateau


def fit(
    potential: Potential,
    train: Frames,
    valid: Frames,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weights: LossWeights | None = None,
    steps_per_round: int | None = 50,
    optimiser: Literal["adamw", "muon"] = "adamw",
    schedule: Literal["cosine", "plateau"] = "cosine",
    decay: float = 0.8,
    decay_patience: int = 25,
    weight_decay: float = 0.0,
    average: float = 0.99,
    clip: float = 10.0,
    patience: int | None = None,
    max_time: float | None = None,
    replay: Frames | None = None,
    replay_share: float = 0.0,
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
        learning_rate: its peak.
        weights: weights of the objective.
        steps_per_round: steps between two validations; None: one pass over the structures.
        optimiser: ``"adamw"``, or ``"muon"`` for the weight matrices.
        schedule: ``"cosine"`` with a linear warm-up over 5 % of the steps, or ``"plateau"``.
        decay: what a plateau of the validation loss multiplies the learning rate by ...
        decay_patience: ... after this many validations without gain.
        weight_decay: AdamW's decay of the weight matrices.
        average: decay of the exponential moving average of the weights; 0 uses the plain weights.
        clip: largest norm of the gradient; 0 does not clip.
        patience: rounds without gain after which to stop, or None.
        max_time: minutes after which to stop at the end of a round, or None; the result then depends on the machine.
        replay: labelled structures of other materials that are mixed in, so that they are not forgotten.
        replay_share: their share of all structures that are learnt from.
        seed: of the order of the batches.
        work: folder for checkpoints; a fit that finds its own checkpoint there continues from it.
        device: torch device.
        progress: where to report.

    Returns:
        The learning curve and how it ended. A run whose loss is not finite is ``diverged``; the potential then has the
        best weights seen before, or its initial ones.
    """
    graphs = potential.prepare(train)
    others = potential.prepare(replay) if replay is not None and replay_share else []
    batches = ShuffledBatches(
        graphs,
        potential.collate,
        batch_size,
        seed,
        per_round=steps_per_round,
        first_step=lambda: module.current_epoch * batches.per_round,
        others=others,
        share=replay_share,
    )
    rounds = -(-steps // batches.per_round)
    total = rounds * batches.per_round
    following = Cosine(total) if schedule == "cosine" else Plateau(decay, decay_patience)
    module = FitModule(potential, weights or LossWeights(), learning_rate, weight_decay, following, optimiser)
    module.train()
    validation: DataLoader[Batch] = DataLoader(
        FixedBatches(potential.prepare(valid), potential.collate), batch_size=None
    )
    keeper = Keeper(work, patience, None if max_time is None else 60 * max_time)
    with (progress or Progress()).phase("training", total, "step") as phase, quiet_lightning():
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
