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

from distill.base.progress import Progress
from distill.potentials.dataset import Dataset
from distill.potentials.potential import Potential
from distill.potentials.targets import Targets
from distill.structures.frames import Frames, concatenate
from distill.training.callbacks import Keeper, Reporter, averaging
from distill.training.curve import FitResult
from distill.training.loaders import FixedBatches, ShuffledBatches
from distill.training.losses import LossWeights
from distill.training.module import FitModule, attach_targets
from distill.training.schedule import Cosine, Plateau

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
    targets: tuple[Targets | None, Targets | None] = (None, None),
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
        batch_size: structures per step, on average: batches are cut so that they cost the same.
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
        targets: further labels of the training and of the validation structures; not together with ``replay``.
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
    others = replay if replay is not None and replay_share else Frames.empty()
    train_set, valid_set = (
        place(attach_targets(potential.prepare(structures), further), device)
        for structures, further in zip((concatenate([train, others]), valid), targets, strict=True)
    )
    batches = ShuffledBatches(
        train_set.costs,
        batch_size,
        seed,
        per_round=steps_per_round,
        first_step=lambda: module.current_epoch * batches.per_round,
        others=len(others),
        share=replay_share,
    )
    rounds = -(-steps // batches.per_round)
    total = rounds * batches.per_round
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
    )
    module.train()
    validation = FixedBatches(valid_set.costs, max(SMALL_BATCH, 2 * batch_size * train_set.costs.mean()))
    keeper = Keeper(work, patience, None if max_time is None else 60 * max_time)
    with (progress or Progress()).phase("training", total, "step") as phase, quiet_lightning():
        trainer = make_trainer(rounds, device, [keeper, *averaging(average), Reporter(phase)])
        last = work / Keeper.LAST
        trainer.fit(module, batches, validation, ckpt_path=last if last.exists() else None, weights_only=True)
    keeper.restore_best(potential)
    potential.eval()
    return keeper.result


def place(dataset: Dataset, device: str) -> Dataset:
    """Return the dataset on the device where it takes a small share of the free memory, else where it is."""
    if (
        torch.device(device).type == "cuda"
        and dataset.nbytes > SHARE * torch.cuda.mem_get_info(torch.device(device))[0]
    ):
        return dataset
    return dataset.to(device)


def make_trainer(rounds: int, device: str, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return a Lightning trainer for one device that writes and prints nothing by itself."""
    kind = torch.device(device)
    return pl.Trainer(
        max_epochs=rounds,
        accelerator="gpu" if kind.type == "cuda" else "cpu",
        devices=[kind.index or 0] if kind.type == "cuda" else 1,
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
