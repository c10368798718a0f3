"""Where the course of a fit is written besides its learning curve: TensorBoard and Weights & Biases.

A log has the rows of the learning curve, one per validation. What was logged is remembered beside it, so that a resumed
fit continues the same log, adds what is missing and repeats nothing.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from distill.base.errors import UserError
from distill.base.files import read_json, write_json
from distill.training.curve import FitResult, Point
from distill.training.gradient.callbacks import Checkpoint

WITHOUT_TENSORFLOW = "tensorboard.compat.notf"
"""A module whose presence tells TensorBoard to do without TensorFlow."""

PROJECT = "mlip-distill"
"""Project at Weights & Biases unless WANDB_PROJECT names another."""


@dataclass(frozen=True)
class Logs:
    """What logs are wanted.

    Attributes:
        folder: where they lie.
        kinds: ``"tensorboard"``, ``"wandb"``.
        name: what to call the fit.
    """

    folder: Path = Path("logs")
    kinds: tuple[str, ...] = ()
    name: str = ""


class _Memory:
    """What is known of a log between two attempts: its id, and the last step that it has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        known = read_json(path) if path.exists() else {}
        self.id: str = known["id"] if known else secrets.token_hex(4)
        self.step: int = known["step"] if known else 0

    def keep(self, step: int) -> None:
        """Remember that the log has all up to ``step``."""
        self.step = step
        write_json(self.path, {"id": self.id, "step": step})


class LogWriter(pl.Callback):
    """Writes every row of the learning curve that a log does not have yet.

    It stands behind the :class:`~distill.training.gradient.callbacks.Checkpoint`, whose curve it reads.

    Args:
        logs: Lightning's loggers and what is known of each.
        per_pass: batches in a pass over the data, an epoch.
    """

    def __init__(self, logs: Sequence[tuple[Logger, _Memory]], per_pass: int) -> None:
        self.logs = logs
        self.per_pass = per_pass

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add what an interrupted attempt could not."""
        self._write(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the newest row."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        checkpoint = next(c for c in trainer.callbacks if isinstance(c, Checkpoint))
        add_rows(self.logs, checkpoint.result.curve, self.per_pass)


def add_rows(logs: Sequence[tuple[Logger, _Memory]], curve: Sequence[Point], per_pass: int) -> None:
    """Write to every log the rows of a curve that it does not have yet."""
    for logger, memory in logs:
        missing = [number for number, point in enumerate(curve) if point.step > memory.step]
        for number in missing:
            logger.log_metrics(_metrics(curve, number, per_pass), step=curve[number].step)
        if missing:
            logger.save()
            memory.keep(curve[-1].step)


def _metrics(curve: Sequence[Point], number: int, per_pass: int) -> dict[str, float]:
    """Return the numbers of a validation; errors are mean absolute ones in eV/atom and eV/Å."""
    point = curve[number]
    before_step, before_s = (curve[number - 1].step, curve[number - 1].seconds) if number else (0, 0.0)
    taken_s = point.seconds - before_s
    metrics = {
        "train/loss": point.train_loss,
        "valid/loss": point.valid_loss,
        "valid/energy_mae": point.valid_energy_mae,
        "valid/forces_mae": point.valid_forces_mae,
        "valid/virial_mae": point.valid_virial_mae,
        "learning_rate": point.learning_rate,
        "steps_per_second": (point.step - before_step) / taken_s if taken_s > 0 else math.nan,
        "epoch": point.step / per_pass,
        "round": number + 1,
    }
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


@contextmanager
def curve_writer(logs: Logs, per_pass: int) -> Iterator[Callable[[FitResult], None]]:
    """Yield what writes new rows of a fit's curve to the logs, for fits that are not Lightning's."""
    with opened(logs) as found:
        yield lambda result: add_rows(found, result.curve, per_pass)


@contextmanager
def opened(logs: Logs) -> Iterator[list[tuple[Logger, Any]]]:
    """Yield Lightning's loggers, each with what is known of its log, and close them in the end.

    Raises:
        UserError: Weights & Biases refuses, for instance without an account.
    """
    found: list[tuple[Logger, Any]] = []
    try:
        for kind in logs.kinds:
            memory = _Memory(logs.folder / f"{kind}.json")
            found.append((_wandb(logs, memory) if kind == "wandb" else _tensorboard(logs), memory))
        yield found
    finally:
        for logger, _ in found:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()
                _tidy(Path(logger.save_dir or "."))


def _tidy(folder: Path) -> None:
    """Remove what the W&B client notes about itself: links to its cache, and files that it may still be writing."""
    for notes in folder.glob("wandb/*run-*/logs"):
        shutil.rmtree(notes, ignore_errors=True)


def _tensorboard(logs: Logs) -> Logger:
    """Return the logger that writes event files into ``tensorboard``.

    Where TensorFlow is installed, for ACE, TensorBoard would import it just to open a file, which takes ten seconds.
    """
    sys.modules.setdefault(WITHOUT_TENSORFLOW, ModuleType(WITHOUT_TENSORFLOW))
    return TensorBoardLogger(logs.folder, name="tensorboard", version="", default_hp_metric=False)


def _wandb(logs: Logs, memory: _Memory) -> Logger:
    """Return the logger of a run that WANDB_MODE and the like may keep offline; its files lie in ``wandb``."""
    import wandb

    logs.folder.mkdir(parents=True, exist_ok=True)
    quiet = wandb.Settings(console="off", symlink=False)  # links would not survive the move of the finished folder
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=logs.name or None,
            id=memory.id,
            resume="allow",
            dir=logs.folder,
            reinit="create_new",
            settings=quiet,
        )
    except wandb.errors.Error as error:
        raise UserError(
            f"Weights & Biases: {str(error).strip().splitlines()[0].rstrip('.')}",
            where="trainer.loggers",
            remedy="Run wandb login, or set WANDB_MODE=offline",
        ) from error
    memory.keep(memory.step)  # the id, too, is the same when this attempt is interrupted early
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step")
    return WandbLogger(experiment=run, save_dir=logs.folder)
