"""Former names of a recipe's keys: understood for one version, and said to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.base.errors import UserError
from distill.base.settings import Settings
from distill.workflow.problems import branches, inside
from distill.workflow.yaml_text import Place

UNTIL = "0.3"
"""The version in which former names are refused."""


def with_present_names(schema: Any, raw: Any, place: Place = ()) -> tuple[Any, dict[Place, str]]:
    """Return ``raw`` with present names only, and for the place of each former one the name that it has now.

    Args:
        schema: the type that ``raw`` is going to be validated with.
        raw: the recipe as read, or the part of it at ``place``.
        place: its keys.

    Raises:
        UserError: a key is given by both of its names.
    """
    found: dict[Place, str] = {}

    def inner(key: Any, value: Any, name: str) -> Any:
        """Return a value under present names, and note what was found in it."""
        if not isinstance(value, Mapping | list):
            return value
        present, deeper = with_present_names(_type_at(types, name), value, (*place, str(key)))
        found.update(deeper)
        return present

    types = branches(schema, raw)
    if isinstance(raw, list):
        return [inner(k, one, str(k)) for k, one in enumerate(raw)], found
    if not isinstance(raw, Mapping):
        return raw, found
    former = _former_names(types)
    renamed = {}
    for key, value in raw.items():
        name: str = former.get(key) or key
        if name != key:
            found[*place, str(key)] = name
            if name in raw:
                what = f"{key} is the former name of {name}"
                raise UserError(what, where=".".join(place), remedy=f"Give {name} alone")
        renamed[name] = inner(key, value, name)
    return renamed, found


def note(place: Place, name: str) -> str:
    """Return the warning about a key that was given by its former name."""
    return f"{'.'.join(place)} is now called {name}; the old name works until version {UNTIL}"


def _former_names(types: Sequence[Any]) -> dict[str, str]:
    """Return the former names of the keys that the types have, with the present ones."""
    found: dict[str, str] = {}
    for one in types:
        if isinstance(one, type) and issubclass(one, Settings):
            found |= one.former_names()
    return found


def _type_at(types: Sequence[Any], key: str) -> Any:
    """Return the type of what lies under ``key`` in one of the types, or None where nothing is known of it."""
    return next((found for one in types if (found := inside(one, key)) is not None), None)
