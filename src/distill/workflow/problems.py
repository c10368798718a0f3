"""Validation errors as sentences: the dotted key, what was expected, what was found, and the nearest right answer."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from distill.base.errors import nearest
from distill.workflow.yaml_text import Place

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "none_required": "null",
}


class Problem:
    """One thing that is wrong: where (a dotted key), what, and what to do."""

    def __init__(self, place: Place, what: str, remedy: str | None = None) -> None:
        self.place = place
        self.what = what
        self.remedy = remedy

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.place)


def problems(error: ValidationError, schema: Any, raw: object) -> list[Problem]:
    """Return what is wrong, one entry per place, in the order of the recipe's schema.

    Args:
        error: pydantic's report.
        schema: the type that ``raw`` was validated with.
        raw: the value that was refused.
    """
    grouped: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_place(detail["loc"], detail["type"], raw), []).append(detail)
    deepest = [p for p in grouped if not any(len(q) > len(p) and q[: len(p)] == p for q in grouped)]
    return [_problem(place, grouped[place], schema, raw) for place in deepest]


def _place(location: tuple[int | str, ...], kind: str, raw: object) -> Place:
    """Return the keys of a pydantic location: the branches of unions, which it also names, are left out."""
    place: list[str] = []
    for depth, part in enumerate(location):
        if isinstance(raw, Mapping) and str(part) in raw:
            raw = raw[str(part)]
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        elif not (kind == "missing" and depth == len(location) - 1):
            continue
        place.append(str(part))
    return tuple(place)


def _problem(place: Place, details: list[ErrorDetails], schema: Any, raw: object) -> Problem:
    first = details[0]
    kind, context = first["type"], first.get("ctx", {})
    key = ".".join(place) or "the recipe"
    if kind == "missing":
        return Problem(place, f"{key} is missing")
    if kind == "extra_forbidden":
        known = known_keys(schema, place[:-1], raw)
        return Problem(place, f"{key} is not a known key", nearest(place[-1], known) if known else "It takes no keys")
    if kind == "union_tag_not_found":
        return Problem(place, f"{key}.{context['discriminator'].strip(chr(39))} is missing")
    if kind == "union_tag_invalid":
        what = f"{key}.{context['discriminator'].strip(chr(39))} is {context['tag']!r}, which is not known"
        return Problem(place, what, _nearest_of(context["tag"], context["expected_tags"]))
    if kind in ("value_error", "assertion_error"):
        what = first["msg"].partition(", ")[2]
        return Problem(place, f"{key}: {what}" if place else what)
    expected = " or ".join(dict.fromkeys(_expected(d) for d in details))
    got = first["input"]
    remedy = _nearest_of(got, context["expected"]) if kind == "literal_error" and len(details) == 1 else None
    return Problem(place, f"{key} must be {expected}, got {_short(got)}", remedy)


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] in _EXPECTED:
        return _EXPECTED[detail["type"]]
    if detail["type"] == "literal_error":
        return str(detail["ctx"]["expected"])
    text = re.sub(r"^(Input|String|List|Tuple|Value) should (be )?", "", detail["msg"])
    return text[:1].lower() + text[1:]


def _nearest_of(word: object, quoted: str) -> str | None:
    known = re.findall(r"'([^']*)'", quoted)
    return nearest(word, known) if known and isinstance(word, str) else None


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def known_keys(schema: Any, place: Place, raw: object) -> list[str]:
    """Return the keys that ``schema`` has at ``place``; a union's branches are chosen by their literal fields."""
    those = branches(schema, raw)
    if not place:
        return sorted({name for b in those if _is_model(b) for name in b.model_fields})
    found: set[str] = set()
    for branch in those:
        inner = inside(branch, place[0])
        if inner is not None:
            value = raw.get(place[0]) if isinstance(raw, Mapping) else _entry(raw, place[0])
            found.update(known_keys(inner, place[1:], value))
    return sorted(found)


def _entry(raw: object, index: str) -> Any:
    return raw[int(index)] if isinstance(raw, list) and index.isdigit() and int(index) < len(raw) else None


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def branches(annotation: Any, raw: object) -> list[Any]:
    """Return the members of a union that ``raw`` could be; any other type is its own only member."""
    members = list(_members(annotation))
    if len(members) == 1:
        return members
    fitting = [m for m in members if not _is_model(m) or _literals_fit(m, raw)]
    return fitting or members


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif hasattr(annotation, "__metadata__"):
        yield from _members(get_args(annotation)[0])
    else:
        yield annotation


def _literals_fit(model: type[BaseModel], raw: object) -> bool:
    if not isinstance(raw, Mapping):
        return True
    return all(raw[name] in values for name, values in _literals(model).items() if name in raw)


@lru_cache(maxsize=512)
def _literals(model: type[BaseModel]) -> dict[str, tuple[object, ...]]:
    """Return what each literal field of a model may be."""
    return {n: get_args(f.annotation) for n, f in model.model_fields.items() if get_origin(f.annotation) is Literal}


def inside(annotation: Any, key: str) -> Any:
    """Return the type of what lies under ``key``, or None where nothing does."""
    if _is_model(annotation):
        field = annotation.model_fields.get(key)
        return field.annotation if field else None
    arguments = get_args(annotation)
    if get_origin(annotation) is dict or get_origin(annotation) is Mapping:
        return arguments[1]
    if get_origin(annotation) in (list, tuple) and arguments:
        return arguments[0]
    return None
