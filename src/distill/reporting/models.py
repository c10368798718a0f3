"""Which model something in a report belongs to."""

from __future__ import annotations

from dataclasses import dataclass

VARIANTS = {
    "zero_shot": "zero-shot",
    "finetuned": "fine-tuned",
    "distilled": "distilled",
    "refined": "refined",
    "direct": "direct",
}
"""The five ways in which a model came to be, in the order of every table and figure, and how they are written."""


@dataclass(frozen=True, order=True)
class Model:
    """Which model something belongs to.

    Attributes:
        model: ``"teacher"`` or a student's name.
        variant: a key of :data:`VARIANTS`.
    """

    model: str
    variant: str

    @property
    def label(self) -> str:
        """The model as people read it, e.g. ``painn, distilled``."""
        return f"{self.model}, {VARIANTS.get(self.variant, self.variant)}"
