"""Which students there are, how those are fitted that are not networks, and how any of them is refined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.base.settings import Settings
from distill.stages.base import StageSettings

VARIANTS = ("distilled", "refined", "direct")
"""How a student comes to be: from the synthetic structures, then the DFT structures too, or from these alone."""

LADDER = ("ladder_step", "ladder_type")
REFUSED = {"fit": ("callbacks", "loss"), "backend": ("evaluator",)}
"""Parts of pacemaker's input that run code, or that are said elsewhere."""


class BatchesSettings(Settings):
    """AdamW in small batches."""

    epochs: int = Field(60, ge=1)
    """Passes over the structures at most."""
    batch_size: int = Field(32, ge=1)
    """Structures of a step; memory is that of one batch."""
    learning_rate: float = Field(0.02, gt=0)
    """Peak of the learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: a rise over 20 steps, then a fall to 1 %."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    kappa: float = Field(0.75, ge=0, le=1)
    """Share of the forces in the loss."""
    rotate: bool = True
    """Work along the eigenvectors of the gradients' second moments, not along single coefficients as AdamW itself."""
    patience: int = Field(50, ge=1)
    """Epochs without gain after which the phase ends."""
    min_gain: float = Field(1e-5, ge=0)
    """Fall of the validation loss that counts as gain."""


class BFGSSettings(Settings):
    """BFGS on all structures together."""

    iterations: int = Field(50, ge=1)
    """At most."""
    kappa: float = Field(0.01, ge=0, le=1)
    """Share of the forces in the loss."""


class RefineSettings(Settings):
    """A last fit of the distilled student to the DFT structures; all else is as in the first."""

    synthetic: float = Field(0.25, ge=0, lt=1)
    """Share of the synthetic structures among those that are learnt from, so that they are not forgotten."""


class RefineByGradients(RefineSettings):
    """Of networks."""

    renamed: ClassVar[Mapping[str, str]] = {"steps_per_round": "validation_interval"}

    steps: int = Field(400, ge=1)
    """Optimisation steps at most."""
    learning_rate: float = Field(5e-3, gt=0)
    """Peak of the learning rate."""
    validation_interval: int | None = Field(50, ge=1)
    """Steps between two validations; null: one pass over the structures."""


class RefineInBatches(RefineSettings):
    """Of ACE, by AdamW."""

    epochs: int = Field(20, ge=1)
    """Passes over all structures at most."""
    learning_rate: float = Field(5e-3, gt=0)
    """Peak of the learning rate."""
    kappa: float = Field(0.5, ge=0, le=1)
    """Share of the forces in the loss."""


class RefinedNetwork(StageSettings):
    """What the recipe says of refining a network."""

    refine: RefineByGradients | None = None
    """Fit the distilled student once more, to the DFT structures: a student ``refined`` beside the others."""


class RefinedExpansion(StageSettings):
    """What the recipe says of refining ACE."""

    refine: RefineInBatches | None = None
    """Fit the distilled student once more, to the DFT structures: a student ``refined`` beside the others."""


class PacemakerFit(StageSettings):
    """How ACE is fitted."""

    arch: str
    """Architecture; ``distill models`` lists them."""
    batches: BatchesSettings | None = BatchesSettings()
    """The first phase; null leaves it out."""
    bfgs: BFGSSettings | None = BFGSSettings()
    """The second phase; null leaves it out."""
    l1: float = Field(1e-8, ge=0)
    """Weight of the absolute values of the coefficients."""
    l2: float = Field(1e-8, ge=0)
    """Weight of their squares."""
    force_scale: float | None = Field(3.0, gt=0)
    """An atom with a force of this size, eV/Å, counts half, larger ones less; null: all the same."""
    max_time: float | None = Field(None, gt=0)
    """Minutes after which the phases end; results then depend on the speed of the machine."""
    pacemaker: dict[str, dict[str, Any]] | None = None
    """Sections ``fit`` and ``backend`` of pacemaker's input, for instance ladder fitting; pacemaker itself then does
    the second phase."""

    @field_validator("pacemaker")
    @classmethod
    def _can_be_passed_on(cls, sections: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
        for name, section in (sections or {}).items():
            if name not in REFUSED:
                raise ValueError(f"{name!r} is not a section that is passed on: fit, backend")
            if taken := [key for key in REFUSED[name] if key in section]:
                raise ValueError(f"{name}.{taken[0]} cannot be given here")
            weighting = section.get("weighting")
            if isinstance(weighting, Mapping) and "filename" in weighting:
                raise ValueError(f"{name}.weighting cannot name a file")
        return sections

    @model_validator(mode="after")
    def _has_phases(self) -> Self:
        if self.batches is None and self.bfgs is None:
            raise ValueError("at least one of batches and bfgs must not be null")
        if self.pacemaker is not None and self.bfgs is None:
            raise ValueError("pacemaker does the second phase: bfgs must not be null")
        ladder = [key for key in LADDER if key in (self.pacemaker or {}).get("fit", {})]
        if ladder and self.batches is not None:
            raise ValueError(f"{ladder[0]} begins with an empty expansion: write batches: null")
        return self


def trained(students: Any) -> list[dict[str, Any]]:
    """Return the labels of each student, variant and seed that the recipe's ``students`` section asks for."""
    return [
        {"student": name, "variant": variant, "seed": seed}
        for name in type(students).model_fields
        for variant in _variants(getattr(students, name))
        for seed in range(getattr(students, name).seeds)
    ]


def _variants(student: Any) -> list[str]:
    wanted = {"distilled": True, "refined": student.refine is not None, "direct": student.direct}
    return [variant for variant in VARIANTS if wanted[variant]]
