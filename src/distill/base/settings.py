"""The base of every settings class: strict, documented, immutable.

A field's docstring is its documentation; its annotation validates it; its default is what an absent key means.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings read from a recipe: unknown keys and silent type changes are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, validate_default=True
    )
