"""How a distilled student is fitted once more, to the DFT structures, as the recipe says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from distill.base.settings import Settings


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


class RefinedNetwork(Settings):
    """What the recipe says of refining a network."""

    refine: RefineByGradients | None = None
    """Fit the distilled student once more, to the DFT structures: a student ``refined`` beside the others."""


class RefinedExpansion(Settings):
    """What the recipe says of refining ACE."""

    refine: RefineInBatches | None = None
    """Fit the distilled student once more, to the DFT structures: a student ``refined`` beside the others."""
