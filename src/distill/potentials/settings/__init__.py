"""What a recipe says of a potential, without torch: the settings that all have in common, and the large ones in files.

Most architectures have their settings beside the row of the table that builds them. Those that a network, a worker and
a row read are here, so that each of them can name their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from distill.base.settings import Settings


class PotentialSettings(Settings):
    """Base of the settings of every architecture; an architecture without choices uses it as it is."""


class StudentSettings(PotentialSettings):
    """What the settings of all students have in common.

    Class attributes:
        sizes: by preset, the values of settings that the recipe does not give.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {}

    renamed: ClassVar[Mapping[str, str]] = {"core": "short_range_repulsion"}

    preset: Literal["small", "default", "large"] = "default"
    """The size of the network; what is given besides replaces a value of the preset."""
    cutoff: float = Field(default=5.0, gt=0)
    """Distance up to which atoms see each other directly, Å."""
    short_range_repulsion: bool = True
    """Whether nuclei repel each other at very short distances (the potential of Ziegler, Biersack and Littmark)."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """Fill in the values of the preset where there are none."""
        if not isinstance(given, Mapping):
            return given
        return {**cls.sizes.get(str(given.get("preset", "default")), {}), **given}

    def network_arguments(self) -> dict[str, Any]:
        """Return what the network is built from: all but the preset and the repulsion of nuclei."""
        return self.model_dump(exclude={"preset", "short_range_repulsion"})


class OfElements(StudentSettings):
    """Settings of a student whose network is made for certain elements."""

    elements: list[str] | None = None
    """Chemical symbols of the elements that it is made for; those of the training structures if null."""

    @field_validator("elements")
    @classmethod
    def _known(cls, elements: list[str] | None) -> list[str] | None:
        if elements is None:
            return None
        from ase.data import chemical_symbols

        unknown = [symbol for symbol in elements if symbol not in chemical_symbols[1:]]
        if unknown or len(set(elements)) < len(elements) or not elements:
            raise ValueError(f"{unknown[0]!r} is not an element" if unknown else "give each element once, at least one")
        return elements
