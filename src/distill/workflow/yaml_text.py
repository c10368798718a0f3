"""YAML as data: one document of plain values, with the line of every key.

The scalars are those of YAML 1.2's core schema, so ``1e-3`` is a number and ``No`` is nobelium; tags, duplicate keys,
endless nesting and numbers that are not finite are refused.

The loader is PyYAML's. ruamel.yaml gives lines too, but lets tags through, puts merged keys last, gives numbers types
of its own, and takes twice the time for a recipe.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from distill.base.errors import UserError

LARGEST_BYTES = 1 << 20
MOST_VALUES = 100_000
DEEPEST = 40
MOST_DIGITS = 400
"""Digits of a number: the largest there is in double precision has 309."""
MOST_MERGED = 100
"""Mappings that one ``<<`` merges."""

Place = tuple[str, ...]
"""A dotted key, taken apart: ``("data", "train")``."""


@dataclass
class Document:
    """One YAML document.

    Attributes:
        value: plain mappings, lists, texts, numbers, booleans and None.
        lines: for each key and list entry, its line, counted from one.
    """

    value: Any
    lines: dict[Place, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's core scalars, without tags and duplicate keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._merged = 0

    def flatten_mapping(self, node: Any) -> None:
        """Merge mappings (``<<``), but not those that multiply each other beyond all measure."""
        for key, value in node.value:
            if key.tag.endswith(":merge") and isinstance(value, yaml.SequenceNode) and len(value.value) > MOST_MERGED:
                raise yaml.MarkedYAMLError(problem="merges too many mappings", problem_mark=key.start_mark)
        super().flatten_mapping(node)
        self._merged += len(node.value)
        if self._merged > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem="has too many values", problem_mark=node.start_mark)

    def construct_yaml_int(self, node: Any) -> int:
        """Return a whole number, unless nobody could mean it."""
        if len(node.value) > MOST_DIGITS:
            raise yaml.MarkedYAMLError(problem=f"a number has {len(node.value)} digits", problem_mark=node.start_mark)
        return int(super().construct_yaml_int(node))

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tags such as {event.tag!r} are refused", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            line = key.start_mark.line + 1
            if key.value in seen:
                problem = f"{key.value!r} is given twice, first on line {seen[key.value]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen[key.value] = line
        return node


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_FLOAT = r"""^[-+]?(?:(?:[0-9][0-9_]*)?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*\.(?:[eE][-+]?[0-9]+)?
    |[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF|nan|NaN|NAN))$"""
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern, re.VERBOSE), _first)


def read_document(path: Path) -> Document:
    """Read one YAML file; raises :class:`UserError` with the line of what is wrong."""
    try:
        if path.is_dir():
            raise UserError("is a folder, not a recipe", where=str(path))
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError("is too large for a recipe", where=str(path), remedy="A recipe is at most 1 MiB of YAML")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("there is no such recipe", where=str(path)) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"is not a text file in UTF-8 (byte 0x{error.object[error.start]:02x} on line {line})"
        raise UserError(what, where=str(path), remedy="Save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """Parse YAML text; ``name`` stands for its file in messages."""
    value, lines = _parsed(text, name)
    return Document(_plain(value, name, (), [0]), dict(lines))


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    """Return the values as YAML has them, and their lines; shared by all who parse the text, so never changed."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        what = ", ".join(filter(None, [error.context, error.problem])) or "is not YAML"
        raise UserError(what, where=f"{name}{line}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError("is not YAML", where=name, remedy=str(error).splitlines()[0]) from None
    _plain(value, name, (), [0])  # refuses what aliases multiply beyond all measure, before it is walked again
    lines: dict[Place, int] = {}
    _collect_lines(node, (), lines)
    return value, lines


def _plain(value: Any, name: str, place: Place, count: list[int]) -> Any:
    """Return ``value`` as JSON has it; counts values, because aliases can multiply them."""
    count[0] += 1
    if count[0] > MOST_VALUES or len(place) > DEEPEST:
        raise UserError("is nested too deeply or has too many values", where=name)
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise UserError(f"{key!r} cannot be a key", where=_where(name, place), remedy="Put quotes around it")
        return {str(k): _plain(v, name, (*place, str(k)), count) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v, name, (*place, str(i)), count) for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{value} is not a number that can be used here", where=_where(name, place))
    return value.isoformat() if isinstance(value, datetime.date) else value


def _where(name: str, place: Place) -> str:
    return f"{name}: {'.'.join(place)}" if place else name


def _collect_lines(node: Any, place: Place, lines: dict[Place, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*place, str(index))
            lines[inner] = value.start_mark.line + 1
            _collect_lines(value, inner, lines)
