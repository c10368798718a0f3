"""Which of the grown structures a student learns from, as the recipe says it, and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from distill.base.settings import Settings

if TYPE_CHECKING:
    from distill.structures.frames import Frames
    from distill.training.targets import Targets


class DrawSettings(Settings):
    """A draw from the grown structures; students that say nothing of it depend on nothing more."""

    structures: int | None = Field(None, ge=1, exclude_if=lambda structures: structures is None)
    """Grown structures to learn from, drawn from all that have grown for training; larger draws contain smaller ones.
    Seeds, dimers, compressions and validation structures stay as they are. null: all."""
    draw: Literal["stratified", "trees"] = Field("stratified", exclude_if=lambda draw: draw == "stratified")
    """How they are drawn. stratified: equally many from every tree; trees: one whole tree after the other."""

    @model_validator(mode="after")
    def _something_is_drawn(self) -> Self:
        if self.draw != "stratified" and self.structures is None:
            raise ValueError("draw says how structures are drawn: say how many as structures")
        return self


def learnt_from(
    structures: Path, targets: Path | None, settings: DrawSettings, seed: int, name: str
) -> tuple[Frames, Targets | None]:
    """Return the synthetic structures that a student learns from, and their further labels.

    Args:
        structures: the file of all that were grown for training, and of what is learnt besides.
        targets: further labels of these, or None.
        settings: what is drawn.
        seed: of the recipe.
        name: of the student.

    Raises:
        UserError: fewer structures have grown than are to be drawn.
    """
    from distill.structures.draw import draw_grown
    from distill.structures.read import read_frames
    from distill.training.targets import Targets

    frames = read_frames(structures)[0]
    labels = None if targets is None else Targets.load(targets)
    if settings.structures is None:
        return frames, labels
    chosen = draw_grown(frames, settings.structures, settings.draw, seed, f"students.{name}.structures")
    return frames[chosen], labels and labels.of(frames, chosen)
