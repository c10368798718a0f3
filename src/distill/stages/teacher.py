"""Which foundation model teaches, and how it is fine-tuned: the settings of the recipe's ``teacher`` section."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from distill.potentials.base import TeacherSource
from distill.stages.base import FitSettings, LossSettings, StageSettings
from distill.stages.students import MOST_SEEDS
from distill.training.methods import (
    COURSES,
    FEWEST_STEPS,
    METHODS,
    CrossValidation,
    Lora,
    Method,
    Proximal,
    Replay,
    short_steps,
)


class FinetuneSettings(FitSettings):
    """How the teacher is fine-tuned."""

    method: Literal["auto", "naive", "proximal", "lora", "replay"] | None = None
    """naive: all weights are free; proximal: they are pulled back to the published ones; lora: low-rank changes;
    replay: other materials are mixed in; auto: the one that cross-validation over the training structures finds best.
    null: naive, with what of lora, replay and proximal the recipe has."""
    steps: int = Field(1000, ge=1)
    """Optimisation steps at most."""
    batch_size: int = Field(2, ge=1)
    """Structures per step, for each of trainer.devices."""
    learning_rate: float | None = Field(None, gt=0)  # type: ignore[assignment]
    """Peak of the learning rate; null: 0.001, of lora 0.01, of replay 0.0001."""
    average: float | None = Field(None, ge=0, lt=1)  # type: ignore[assignment]
    """Decay of the exponential moving average of the weights, 0 uses the plain weights; null: 0.999, of lora 0.99."""
    clip: float | None = Field(None, ge=0)  # type: ignore[assignment]
    """Largest norm of the gradient, 0 does not clip; null: 1, of lora 10."""
    schedule: Literal["cosine", "plateau"] = "plateau"
    """cosine: a linear rise over 5 % of the steps, then a fall to 1 %; plateau: falls when validation stagnates."""
    validation_interval: int | None = Field(None, ge=1)
    """Steps between two validations; null: one pass over the structures."""
    loss: LossSettings = LossSettings(energy=1.0, huber=0.1)
    """Weights of energy, forces and virial."""
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()  # lists of a recipe arrive as lists here
    """Parts of the network that stay as they are, by name, for instance [elements, atom_layers.0]."""
    lora: Lora | None = None
    """Fit low-rank changes of the linear layers only."""
    replay: Replay | None = None
    """Mix in structures of other materials."""
    proximal: Proximal | None = None
    """Pull all weights back to the published ones."""
    selection: CrossValidation = CrossValidation()
    """How method: auto chooses."""
    precision: Literal["float32", "float64"] | None = None
    """Floating-point type of the weights, in fine-tuning and afterwards; null keeps that of the foundation model."""
    seeds: int = Field(1, ge=1, le=MOST_SEEDS, exclude=True)
    """How many times it is fine-tuned, each time with another random seed; several teach together as an ensemble."""

    @model_validator(mode="before")
    @classmethod
    def _give_its_section(cls, raw: Any) -> Any:
        """Complete a method that is named without the section that has its settings."""
        method = raw.get("method") if isinstance(raw, dict) else None
        if method in ("proximal", "lora", "replay") and raw.get(method) is None:
            return raw | {method: {}}
        return raw

    @model_validator(mode="after")
    def _naive_is_naive(self) -> Self:
        others = [name for name in METHODS if getattr(self, name, None) is not None]
        if self.method == "naive" and others:
            raise ValueError(f"method: naive frees all weights, and leaves {', '.join(others)} out: write only one")
        return self

    @model_validator(mode="after")
    def _short_fits_are_long_enough(self) -> Self:
        """Refuse a choice that would rest on nothing, before it is made."""
        fits, share = len(METHODS) * self.selection.folds, self.selection.share
        steps = short_steps(self.steps, share, fits)
        if self.method == "auto" and steps < FEWEST_STEPS:
            enough = math.ceil(10 * FEWEST_STEPS * fits / self.steps) / 10
            raise ValueError(
                f"method: auto makes {fits} short fits, to which selection.share: {share:g} gives {steps} steps each, "
                f"too few to tell methods apart: set selection.share: {enough:g}, or name a method"
            )
        return self

    def shortened(self, steps: int) -> FinetuneSettings:
        """Return the settings of a fit of so many steps, validated four times, that nothing else ends."""
        interval = max(1, steps // 4)
        whole = steps - steps % interval
        ends = {"steps": whole, "validation_interval": interval, "patience": None, "max_time": None}
        return self.model_copy(update=ends)

    def by(self, method: Method) -> FinetuneSettings:
        """Return the settings of one of the methods that ``auto`` chooses from."""
        others = {name: None for name in METHODS if name not in (method, "naive")}
        return FinetuneSettings.model_validate(dict(self) | others | {"method": method})

    def arguments(self) -> dict[str, Any]:
        """Return what the fit takes, with the numbers of the method where the recipe has none."""
        course = asdict(COURSES[self.method if self.method in METHODS else "naive"])
        given = super().arguments()
        pull = self.proximal.strength if self.proximal is not None else 0.0
        return given | {name: value for name, value in course.items() if given[name] is None} | {"pull": pull}


class TeacherSettings(StageSettings):
    """Which foundation model teaches, and how it is fine-tuned."""

    model: str = "chgnet-0.3"
    """Name of the foundation model, or mace:<file>, graph-pes:<file>, ase:<module:function>; see: distill models."""
    function: str = ""
    """Filled in from ase:<module:function>."""
    environment: str | None = None
    """Python interpreter in which the model runs, where its packages conflict with ours; see: distill doctor."""
    finetune: FinetuneSettings | None = FinetuneSettings()
    """How it is fine-tuned; null uses it as it is, with shifted reference energies."""
    holes: Literal["refuse", "warn", "skip"] = "refuse"
    """What becomes of a fine-tuned model that has holes, where atoms come too close, which it had not before: the run
    ends, or goes on with a warning; skip does not look for them."""


class Teacher(TeacherSettings):
    """The recipe's ``teacher`` section, which names a file; the results depend on what is in it."""

    file: str | None = None
    """Filled in from mace:<file> and the like."""

    @model_validator(mode="before")
    @classmethod
    def _take_apart(cls, raw: Any) -> Any:
        """Divide ``mace:my.model`` and ``ase:my_calculators.py:make`` into name, file and function."""
        if not isinstance(raw, dict) or not isinstance(raw.get("model", ""), str):
            return raw
        if ":" not in raw.get("model", ""):
            return raw
        source = TeacherSource.named(raw["model"])
        file = {} if source.file is None else {"file": str(source.file)}
        return raw | {"model": source.model, "function": source.function} | file


class LabelOnly(Teacher):
    """The section of a teacher that is used as it is."""

    finetune: FinetuneSettings | None = None
    """Not possible with this teacher."""
