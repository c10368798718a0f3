"""A surrogate relaxes in the teacher's place: a student that is trained on what has grown so far.

Growth then goes in stretches. The first ends with ``after`` structures, the next ones after ``every`` further; between
two stretches a surrogate is trained on all structures there are. The ends of stretches do not depend on how many
structures are wanted in the end, so that more of them extend the same trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from distill.base.errors import UserError
from distill.sampling.attempts import Predictor
from distill.structures.frames import Frames

Trainer = Callable[[Frames, int], Predictor]
"""Trains surrogate number 1, 2, … on labelled structures, or finds it as it was trained before."""


@dataclass(frozen=True)
class Surrogate:
    """When surrogates are trained, and how.

    Attributes:
        after: structures grown by the teacher alone; 0 trains the first on the seeds.
        every: structures grown with one surrogate before the next is trained.
        train: trains one.

    Raises:
        UserError: ``after`` is below 0 or ``every`` below 1.
    """

    after: int
    every: int
    train: Trainer

    def __post_init__(self) -> None:
        if self.after < 0 or self.every < 1:
            raise UserError("after must be at least 0, every at least 1", where="generation: surrogate")


def stretches(structures: int, surrogate: Surrogate | None) -> Iterator[int]:
    """Yield how many structures there are at the end of each stretch, the last being ``structures``."""
    if surrogate is not None:
        yield from range(min(surrogate.after, structures), structures, surrogate.every)
    yield structures
