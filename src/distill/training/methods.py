"""The ways to fine-tune a foundation model, and the settings that each is known to work with.

``naive`` frees all weights; ``proximal`` pulls them back to the published ones; ``lora`` learns low-rank changes of the
linear layers; ``replay`` mixes in other materials and learns slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from distill.base.settings import Settings

Method = Literal["naive", "proximal", "lora", "replay"]

METHODS: tuple[Method, ...] = ("naive", "proximal", "lora", "replay")


@dataclass(frozen=True)
class Course:
    """How a method is fitted where nothing else is said: settings of :func:`distill.training.gradient.fit.fit`."""

    learning_rate: float
    average: float
    clip: float


COURSES: Mapping[Method, Course] = {
    "naive": Course(1e-3, 0.999, 1.0),
    "proximal": Course(1e-3, 0.999, 1.0),
    "lora": Course(1e-2, 0.99, 10.0),
    "replay": Course(1e-4, 0.999, 1.0),
}


class Lora(Settings):
    """Low-rank changes of the linear layers instead of free weights."""

    rank: int = Field(4, ge=1)
    """Rank of the change of each weight matrix."""
    alpha: float = Field(8.0, gt=0)
    """The change is multiplied by alpha / rank."""


class Replay(Settings):
    """Structures of other materials, mixed in so that the model does not forget them."""

    share: float = Field(0.2, gt=0, lt=1)
    """Their share of the structures that are learnt from."""
    file: str | None = Field(None, exclude=True)
    """Extended XYZ file: labels, where it has any, are of the model's own level of theory, otherwise the model before
    fine-tuning gives them; absent: a built-in set of ordinary crystals and molecules."""


class Proximal(Settings):
    """A decay towards the published weights, as weight decay is one towards zero."""

    strength: float = Field(10.0, gt=0)
    """After every step all weights go this, times the learning rate, of their way back to the published ones."""


class CrossValidation(Settings):
    """How a method is chosen: by short fits to parts of the training structures, judged by the rest of them."""

    folds: int = Field(3, ge=2, le=20)
    """Parts that the training structures are divided into, near-duplicates and neighbours of a trajectory together."""
    share: float = Field(1.0, gt=0)
    """Steps of all short fits together, relative to the steps of the fine-tuning that follows; each gets as many."""


FEWEST_STEPS = 10
"""Steps of a short fit below which nothing is chosen by it: its learning rate has hardly risen and fallen again."""


def short_steps(steps: int, share: float, fits: int) -> int:
    """Return the steps of each of so many short fits, which together take ``share`` of ``steps``; at least one."""
    return max(1, int(share * steps / fits))
