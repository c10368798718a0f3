"""The base of every settings class: strict, documented, immutable.

A field's docstring is its documentation; its annotation validates it; its default is what an absent key means.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model


class Settings(BaseModel):
    """Settings read from a recipe: unknown keys and silent type changes are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, validate_default=True
    )


@lru_cache(maxsize=512)
def compose(name: str, *bases: type[Settings], **fields: object) -> type[Settings]:
    """Return the model called ``name`` with the fields of all ``bases`` and, besides, required ones.

    Making a model takes milliseconds, so equal arguments give the same class: the key is the classes themselves, and a
    name that has come to mean another class makes another model.

    Args:
        name: the name of the class.
        bases: as of a class statement.
        fields: name to type, which must be hashable.
    """
    required: dict[str, Any] = {field: (annotation, ...) for field, annotation in fields.items()}
    return create_model(name, __base__=bases, **required)
