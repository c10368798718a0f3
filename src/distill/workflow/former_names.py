"""Former names of a recipe's keys: understood for one version, and said to the user."""

from __future__ import annotations

from collections.abc import Mapping
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
    if isinstance(raw, list):
        entries = [
            with_present_names(_type_at(schema, raw, str(k)), one, (*place, str(k))) for k, one in enumerate(raw)
        ]
        for _, deeper in entries:
            found |= deeper
        return [value for value, _ in entries], found
    if not isinstance(raw, Mapping):
        return raw, found
    former = _former_names(schema, raw)
    renamed = {}
    for key, value in raw.items():
        name, at = key, (*place, str(key))
        if key in former:
            found[at] = name = former[key]
            if name in raw:
                what = f"{key} is the former name of {name}"
                raise UserError(what, where=".".join(place), remedy=f"Give {name} alone")
        renamed[name], deeper = with_present_names(_type_at(schema, raw, name), value, at)
        found |= deeper
    return renamed, found


def note(place: Place, name: str) -> str:
    """Return the warning about a key that was given by its former name."""
    return f"{'.'.join(place)} is now called {name}; the old name works until version {UNTIL}"


def _former_names(schema: Any, raw: Any) -> dict[str, str]:
    """Return the former names of the keys at hand, with the present ones."""
    found: dict[str, str] = {}
    for branch in branches(schema, raw):
        if isinstance(branch, type) and issubclass(branch, Settings):
            found |= branch.former_names()
    return found


def _type_at(schema: Any, raw: Any, key: Any) -> Any:
    """Return the type of what lies under ``key``, or None where nothing is known of it."""
    types = (inside(branch, key) for branch in branches(schema, raw))
    return next((one for one in types if one is not None), None)
