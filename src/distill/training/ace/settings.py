"""How ACE is fitted, as the recipe and the fit both know it: the two phases, and what is passed on to pacemaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.base.settings import Settings

LADDER = ("ladder_step", "ladder_type")
REFUSED = {"fit": ("callbacks", "loss"), "backend": ("evaluator",)}
"""Parts of pacemaker's input that run code, or that are said elsewhere."""


class Batches(Settings):
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


class BFGS(Settings):
    """BFGS on all structures together."""

    iterations: int = Field(50, ge=1)
    """At most."""
    kappa: float = Field(0.01, ge=0, le=1)
    """Share of the forces in the loss."""


class PacemakerFit(Settings):
    """How ACE is fitted."""

    arch: str
    """Architecture; ``distill models`` lists them."""
    batches: Batches | None = Batches()
    """The first phase; null leaves it out."""
    bfgs: BFGS | None = BFGS()
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
