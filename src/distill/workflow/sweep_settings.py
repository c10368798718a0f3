"""What a recipe says of a sweep: which of its values are varied, and how the variants are combined."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from distill.base.errors import UserError
from distill.base.settings import Settings, refuse_name

Axis = Annotated[list[Any], Field(min_length=1)]
"""The values that a key takes one after another."""


class SweepSettings(Settings):
    """Which values of the recipe are varied."""

    grid: dict[str, Axis] = {}
    """Dotted keys and the values of each, as in {students.painn.cutoff: [4, 5]}; keys are multiplied with each other,
    and * is every name at its place, as in students.*.cutoff."""
    zip: list[dict[str, Axis]] = []
    """Keys that go together: of each entry, the first values of all keys are one variant, the second ones the next."""
    variants: dict[str, dict[str, Any]] = {}
    """Names and the values that each stands for, as in {small: {students.painn.channels: 32}}."""
    exclude: list[dict[str, Any]] = []
    """Combinations that are left out: those that have all values of one entry."""
    seeds: int | None = Field(None, ge=1)
    """Seeds of every student: how far fits to the same structures lie apart."""
    repeat: int = Field(1, ge=1)
    """How often the whole chain is done, each time with another seed: fine-tuning, growth and fits anew."""
    until: str = "evaluate"
    """The stage that variants are done up to; report gives each a report of its own."""

    @field_validator("zip")
    @classmethod
    def _equally_long(cls, entries: list[dict[str, list[Any]]]) -> list[dict[str, list[Any]]]:
        for entry in entries:
            lengths = {key: len(values) for key, values in entry.items()}
            if len(set(lengths.values())) != 1:
                said = ", ".join(f"{key} has {n}" for key, n in lengths.items()) or "an entry is empty"
                raise ValueError(f"keys that go together have equally many values: {said}")
        return entries

    @field_validator("variants")
    @classmethod
    def _named(cls, variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in variants:
            try:
                refuse_name(name, "variant", "variants")
            except UserError as error:
                raise ValueError(f"{error.what}: {error.remedy}") from None
        return variants
