"""The base of every settings class: strict, documented, immutable.

A field's docstring is its documentation; its annotation validates it; its default is what an absent key means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, create_model

from distill.base.errors import UserError
from distill.base.files import Json


class Settings(BaseModel):
    """Settings read from a recipe: unknown keys and silent type changes are refused.

    Class attributes:
        renamed: former names of keys and the present ones; recipes may have them for one version, saved files for ever.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, validate_default=True
    )

    @classmethod
    def former_names(cls) -> dict[str, str]:
        """Return the former names of the keys of this class and of its bases, and the present ones."""
        return {old: new for base in cls.__mro__ for old, new in vars(base).get("renamed", {}).items()}

    @classmethod
    def by_present_names(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given, for instance by an earlier version, with the present names of its keys."""
        former = cls.former_names()
        return {former.get(key, key): value for key, value in given.items()}


LONGEST_NAME = 80
"""Characters of a name in a recipe, which is part of names of files."""


def refuse_name(name: object, what: str, where: str) -> None:
    """Raise :class:`UserError` where something cannot be called so, before anything is done with the name.

    Args:
        name: what a recipe names it; it becomes a key of settings and a part of names of files.
        what: what is named, for instance ``student``.
        where: the key of the recipe that has the name.
    """
    remedy = "Begin with a letter or a digit, and use letters, digits, - and _"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UserError(f"{str(name)[:LONGEST_NAME]!r} cannot name a {what}", where, remedy)
    if len(name) > LONGEST_NAME:
        raise UserError(f"{name[:20]!r}... has {len(name)} characters", where, f"Use at most {LONGEST_NAME}")
    if hasattr(BaseModel, name) or name.startswith(("model_dump", "model_validate")):
        raise UserError(f"{name!r} cannot name a {what}: the word is taken", where, f"For example my-{name}")


def as_data(value: object) -> Json:
    """Return settings as JSON has them, with the fields that hashes and manifests leave out."""
    if isinstance(value, BaseModel):
        return {name: as_data(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): as_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(inner) for inner in value]
    return cast(Json, value)


@lru_cache(maxsize=512)
def compose(name: str, *bases: type[Settings], **fields: object) -> type[Settings]:
    """Return the model called ``name`` with the fields of all ``bases`` and, besides, required ones.

    Making a model takes milliseconds, so equal arguments give the same class: the key is the classes themselves, and a
    name that has come to mean another class makes another model. It has no source, in which pydantic would look for
    docstrings of its fields; those of ``bases`` are documented already.

    Args:
        name: the name of the class.
        bases: as of a class statement.
        fields: name to type, which must be hashable.
    """
    required: dict[str, Any] = {field: (annotation, ...) for field, annotation in fields.items()}
    return create_model(name, __base__=bases, __cls_kwargs__={"use_attribute_docstrings": False}, **required)
