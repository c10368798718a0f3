"""Values of a recipe that are replaced: given as ``KEY=VALUE`` texts or as a mapping, put into a copy of the recipe.

A key is dotted, entries of lists are numbers, and ``*`` stands for every name at its place: ``students.*.cutoff``. What
is replaced names the run that comes of it, as in ``cutoff-4.5_structures-100``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.base.errors import UserError
from distill.base.files import SHOWN
from distill.workflow.yaml_text import Place, parse_document

Values = Mapping[str, Any]
"""Dotted keys and what is put there."""

Overrides = str | Iterable[str] | Values
"""``KEY=VALUE`` texts (the value is YAML), one such text, or a mapping of dotted keys to values."""

EVERY = "*"
"""In a dotted key: every name at its place."""
LONGEST = 80
"""Characters of a name; what is longer ends with a hash of what it says."""


def as_values(overrides: Overrides) -> dict[str, Any]:
    """Return overrides as a mapping of dotted keys to plain values; of a key that is given twice the last one counts.

    Raises:
        UserError: a text is not ``KEY=VALUE``, or a value is none that YAML could hold.
    """
    if isinstance(overrides, Mapping):
        return {_key(key): plain_value(value, str(key)) for key, value in overrides.items()}
    if isinstance(overrides, str):
        overrides = [overrides]
    if not isinstance(overrides, Iterable):
        raise UserError(f"overrides cannot be {overrides!r}", remedy='Give texts "key=value", or {"key": value}')
    return dict(_parsed(one) for one in overrides)


def _key(key: object) -> str:
    if not isinstance(key, str) or not all(key.split(".")):
        raise UserError(f"{key!r} is no dotted key", "overrides", 'For example {"students.painn.cutoff": 4.5}')
    return key


def _parsed(text: object) -> tuple[str, Any]:
    if not isinstance(text, str):
        raise UserError(f"{text!r} is no override", "overrides", 'Give texts "key=value", or {"key": value}')
    key, equals, value = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError("must be KEY=VALUE", shown(text), "For example --set synthetic.structures=200")
    return key.strip(), parse_document(value, shown(text)).value


def shown(override: str) -> str:
    """Return what messages call a replaced value."""
    return f"--set {override if len(override) <= SHOWN else override[:SHOWN] + '...'}"


def plain_value(value: object, key: str) -> Any:
    """Return a value from Python as YAML would have it: numbers of NumPy, tuples and paths are understood.

    Raises:
        UserError: it is something else, or not finite; ``key`` is where it was given.
    """
    if hasattr(value, "item") and hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain_value(inner, key) for name, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain_value(inner, key) for inner in value]
    raise UserError(f"a recipe cannot hold {value!r}", key, "Give numbers, texts, true or false, lists or mappings")


def replaced(raw: Mapping[str, Any], values: Values, where: str = "") -> tuple[dict[str, Any], dict[Place, str]]:
    """Return a copy of a recipe with other values, and for the place of each how messages call it.

    Args:
        raw: the recipe as it was read; it stays as it is.
        values: what is replaced.
        where: what messages call all of them; each by its own key and value where it is empty.

    Raises:
        UserError: a place cannot be in this recipe.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    origins: dict[Place, str] = {}
    for key, value in values.items():
        name = where or shown(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
        for place in _places(changed, tuple(key.split(".")), name):
            _put(changed, place, copy.deepcopy(value), name)
            origins[place] = name
    return changed, origins


def _places(raw: Any, key: Place, where: str) -> list[Place]:
    """Return the places that a key with ``*`` means."""
    if EVERY not in key:
        return [key]
    before, after = key[: key.index(EVERY)], key[key.index(EVERY) + 1 :]
    inner: Any = raw
    for part in before:
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not inner:
        what = f"there is nothing in {'.'.join(before)} that * could stand for"
        raise UserError(what, where, "Name the key in full")
    return [(*before, name, *rest) for name in inner for rest in _places(inner[name], after, where)]


def _put(raw: dict[str, Any], place: Place, value: Any, where: str) -> None:
    """Set one value; mappings on the way are made."""
    inner: Any = raw
    for depth, part in enumerate(place):
        last = depth == len(place) - 1
        position: Any
        if isinstance(inner, list):
            if not part.isdigit() or int(part) >= len(inner):
                raise UserError(f"{'.'.join(place[:depth])} has entries 0 to {len(inner) - 1}", where=where)
            position = int(part)
        elif isinstance(inner, dict):
            position = part
            if not last and inner.get(part) is None:
                inner[part] = {}
        else:
            raise UserError(f"{'.'.join(place[:depth])} is a single value, not a mapping", where=where)
        if last:
            inner[position] = value
        else:
            inner = inner[position]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each dotted key its shortest end that no other one has: ``cutoff`` of ``students.painn.cutoff``."""
    parts = {key: [part for part in key.split(".") if part != EVERY] or ["every"] for key in keys}
    names = {}
    for key, own in parts.items():
        others = [other for name, other in parts.items() if name != key]
        length = next((n for n in range(1, len(own)) if not any(other[-n:] == own[-n:] for other in others)), len(own))
        names[key] = ".".join(own[-length:])
    return names


def name_of(values: Values, keys: Iterable[str] | None = None) -> str:
    """Return what a run is called in which values are replaced, such as ``cutoff-4.5_structures-100``.

    Args:
        values: what is replaced, in this order.
        keys: all keys among which the short ones have to be unique; those of ``values`` if None.
    """
    short = short_names(values if keys is None else keys)
    return folder_name("_".join(f"{short[key]}-{_word(value)}" for key, value in values.items()))


def folder_name(text: str) -> str:
    """Return ``text`` as the name of a folder: other characters become -, and what is too long ends with a hash."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.")
    if len(name) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST - len(digest) - 1]}-{digest}"
    return name


def name_of_run(base: str, values: Values) -> Any:
    """Return what the run of a recipe called ``base`` is called in which values are replaced.

    A name among the values is taken as it is, for the recipe to judge. Where tasks run changes no result and no name.
    """
    telling = {key: value for key, value in values.items() if key.split(".")[0] != "executor"}
    if "name" in values or not telling:
        return values.get("name", base)
    return folder_name(f"{base}+{name_of(telling)}")


def _word(value: object) -> str:
    if isinstance(value, Mapping):
        return "-".join(f"{name}-{_word(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return "-".join(map(_word, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
