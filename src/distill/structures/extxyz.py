"""The grammar of extended XYZ: a file as a sequence of blocks, each with a comment line of keys and a table of columns.

This module knows the format and no physics. It parses as ASE does, but names file, frame and line of whatever is wrong,
reads a stress of six values, and evaluates nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.formats import not_xyz
from distill.structures.textfile import Notes, read_lines
from distill.structures.words import advice, is_real, real

TOGETHER = 1000
"""Frames whose tables are parsed together at most."""

PLAIN = "species:S:1:pos:R:3"
"""Columns of a file that does not say which it has."""

_PAIR = re.compile(
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<key>[^\s="]+))      # key, quoted where it is unusual
        (?:\s*=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|\{(?P<curly>[^}]*)\}|\[(?P<square>[^\]]*)\]
        |(?P<bare>\S+)))?""",
    re.VERBOSE,
)
_WORDS = re.compile(r"[^\s,]+")
_BOOLEANS = {"T": True, "F": False, "true": True, "false": False, "True": True, "False": False}
_BOOLEANS |= {"TRUE": True, "FALSE": False}


_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]")
_SEVERAL = re.compile(r"lattice|pbc|stress|virial", re.IGNORECASE)
_UNQUOTED = re.compile(
    r"(?:^|\s)((?i:lattice|pbc|\w*(?:stress|virials?)))\s*=\s*([-+.\deEdD]+|[TF])\s+(?:[-+.\deEdD]+|[TF])(?=\s|$)"
)


@dataclass(frozen=True, slots=True)
class Block:
    """One frame as the file has it.

    Attributes:
        where: file and frame for messages.
        line: number of its first line, counted from 1.
        info: keys of the comment line, parsed.
        columns: per-atom columns by name, ``[n]`` or ``[n, columns]``.
    """

    where: str
    line: int
    info: dict[str, Any]
    columns: dict[str, Array]


def read_blocks(path: Path, notes: Notes | None = None) -> Iterator[Block]:
    """Yield the frames of an extended XYZ file; raises :class:`UserError` naming the frame and line that is wrong.

    ``notes`` receives what was read otherwise than it is written (:mod:`distill.structures.textfile`).
    """
    if path.is_dir():
        raise UserError("is a folder", str(path), "Name the extended XYZ file in it")
    if not path.exists():
        raise UserError("no such file", str(path), "Check the path; a recipe's paths are relative to the recipe")
    yield from _blocks(path, read_lines(path, {} if notes is None else notes))


@dataclass(frozen=True, slots=True)
class _Raw:
    """One frame whose table is not parsed yet; ``properties`` are the columns that it says it has, if it does."""

    where: str
    line: int
    info: dict[str, Any]
    properties: str | None
    rows: list[str]


def _blocks(path: Path, lines: Iterator[str]) -> Iterator[Block]:
    """Yield frames; the tables of those in a row that have the same columns are parsed together."""
    waiting: list[_Raw] = []
    try:
        for raw in _raw_frames(path, lines):
            if waiting and (len(waiting) >= TOGETHER or raw.properties != waiting[0].properties):
                yield from _parsed(waiting)
                waiting = []
            waiting.append(raw)
    except UserError:
        yield from _parsed(waiting)  # what is wrong in earlier frames comes first
        raise
    yield from _parsed(waiting)


def _raw_frames(path: Path, lines: Iterator[str]) -> Iterator[_Raw]:
    index, number = -1, 0
    for header in lines:
        number += 1
        if not header.strip():
            continue
        index += 1
        where = f"{path}, frame {index} (counted from 0)"
        n_atoms = _count(path, where, number, index, header, lines)
        comment = next(lines, "").strip()
        rows = list(islice(lines, n_atoms))
        if len(rows) < n_atoms:
            raise UserError(
                f"the file ends after {len(rows)} of {n_atoms} atoms",
                f"{where}, line {number + 1 + len(rows)}",
                "The file is truncated: copy it again"
                + (f", or keep its whole frames: head -n {number - 1} {path} > whole.xyz" if index else ""),
            )
        _refuse_unquoted(comment, f"{where}, line {number + 1}")
        info = parse_comment(comment)
        properties = _pop(info, "Properties", None)
        if properties is None:
            _refuse_columns(rows[0], f"{where}, key 'Properties'")
        yield _Raw(where, number, info, None if properties is None else str(properties), rows)
        number += 1 + n_atoms
    if index < 0:
        raise UserError("holds no structures", str(path), "Give an extended XYZ file with at least one frame")


def _parsed(frames: list[_Raw]) -> Iterator[Block]:
    """Yield frames that have the same columns; where the tables cannot be parsed together, each one is by itself."""
    if not frames:
        return
    properties = _properties(frames[0].properties or PLAIN, frames[0].where)
    together = _regular_table([row for frame in frames for row in frame.rows], properties)
    end = 0
    for frame in frames:
        begin, end = end, end + len(frame.rows)
        if together is not None:
            columns = {name: column[begin:end] for name, column in together.items()}
        else:
            columns = _table(frame.rows, properties, frame.where, frame.line + 2)
        yield Block(frame.where, frame.line, frame.info, columns)


def _count(path: Path, where: str, number: int, index: int, header: str, rest: Iterator[str]) -> int:
    """Return the number of atoms that the first line of a frame says; ``rest`` are the lines after it."""
    if not re.fullmatch(r"\s*\d{1,12}\s*", header):
        shown = header.strip()[:40]
        if index == 0:
            why = f"its first line should be a number of atoms, and is {shown!r}"
            raise not_xyz(path, why, "".join([header, *islice(rest, 40)]).encode("latin-1", "replace"))
        raise UserError(
            f"a number of atoms should stand here, not {shown!r}",
            f"{where}, line {number}",
            f"Frame {index - 1} may have more atoms than its first line says",
        )
    if int(header) == 0:
        raise UserError("has no atoms", f"{where}, line {number}", "Remove the frame")
    return int(header)


def _refuse_unquoted(comment: str, where: str) -> None:
    """Raise for a key of several numbers without quotes, of which only the first would be read."""
    found = _UNQUOTED.search(_QUOTED.sub("", comment)) if _SEVERAL.search(comment) else None
    if found:
        what = f"the values of {found[1]!r} are not in quotes, so that only the first belongs to it"
        raise UserError(what, f"{where}, key {found[1]!r}", f'Write {found[1]}="{found[2]} ..."')


def _refuse_columns(row: str, where: str) -> None:
    """Raise for a frame without Properties whose atoms have more columns than a symbol and a position."""
    n = len(row.split())
    if n <= 4:
        return
    example = f"{PLAIN}:forces:R:3" + (f":more:R:{n - 7}" if n > 7 else "")
    what = f"no Properties in the comment line, which say what the {n} columns of the atoms are"
    raise UserError(what, where, f"Add for instance Properties={example}, if that is what they are" if n > 6 else None)


def _pop(info: dict[str, Any], name: str, default: Any) -> Any:
    """Take a key of the format out of ``info``, whatever its case."""
    found = next((key for key in info if key == name or key.lower() == name.lower()), None)
    return default if found is None else info.pop(found)


def cell_and_pbc(block: Block) -> tuple[Any, Any]:
    """Take ``Lattice`` and ``pbc`` out of a block's ``info``; None where it has none."""
    return _pop(block.info, "Lattice", None), _pop(block.info, "pbc", None)


def parse_comment(line: str) -> dict[str, Any]:
    """Return the keys of a comment line with their values; a key without a value is True."""
    info: dict[str, Any] = {}
    for match in _PAIR.finditer(line):
        parts = match.groupdict()
        key = parts["key"] if parts["key"] is not None else _unescape(parts["quoted"])
        if parts["double"] is not None:
            text = _unescape(parts["double"])
        else:
            text = next((parts[n] for n in ("single", "curly", "square", "bare") if parts[n] is not None), "T")
        info[key] = parse_value(text)
    return info


def parse_value(text: str) -> Any:
    """Return a value as the format means it: the narrowest of integers, numbers, booleans, JSON and text that fits."""
    if text.startswith("_JSON "):
        try:
            return json.loads(text[6:])
        except (ValueError, RecursionError):
            return text
    if ":" in text or "_" in text:  # neither is in a number or a boolean
        return text
    words = _WORDS.findall(text)
    if not words:
        return text
    for convert in (int, float, _BOOLEANS.__getitem__):
        try:
            values = [convert(word) for word in words]
        except (ValueError, KeyError):
            continue
        return values[0] if len(values) == 1 else values
    return text


def format_comment(info: Mapping[str, Any]) -> str:
    """Return a comment line that :func:`parse_comment` reads back; arrays come back as lists."""
    return " ".join(f"{_quoted(str(key))}={_format_value(value)}" for key, value in info.items())


def _format_value(value: Any) -> str:
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list | tuple) and len(value) > 1 and all(type(v) in (int, float, bool) for v in value):
        text = " ".join(_scalar(v) for v in value)
    elif isinstance(value, bool | int | float):
        text = _scalar(value)
    elif isinstance(value, str):
        text = value
    else:
        text = "_JSON " + json.dumps(value, default=_plain)
    same = parse_value(text)
    if isinstance(value, str) and (same != value or not isinstance(same, str) or not value.isprintable()):
        text = "_JSON " + json.dumps(value)
    return _quoted(text)


def _plain(value: Any) -> Any:
    """Return an array inside of a value, such as ASE's surface builders leave, as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _scalar(value: float) -> str:
    return ("T" if value else "F") if isinstance(value, bool) else repr(value)


def _quoted(text: str) -> str:
    if text and re.fullmatch(r"[^\s\"'=\\{}\[\],]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _properties(text: str, where: str) -> list[tuple[str, str, int]]:
    """Return name, type and number of columns of each property."""
    words = text.split(":")
    triples = [(words[i], words[i + 1], words[i + 2]) for i in range(0, len(words) - 2, 3)]
    good = all(kind in "RISL" and n.isdigit() and 0 < int(n) < 1000 for _, kind, n in triples)
    names = [name for name, _, _ in triples]
    if len(words) % 3 or not good or len(set(names)) < len(names):
        raise UserError(
            f"{text!r} is not a list of name:type:columns", f"{where}, key 'Properties'", f"Write for instance {PLAIN}"
        )
    return [(name, kind, int(n)) for name, kind, n in triples]


def _regular_table(rows: list[str], properties: list[tuple[str, str, int]]) -> dict[str, Array] | None:
    """Return the atom lines as one array a property, or None where any of them needs a closer look."""
    cells = [row.split() for row in rows]
    width = sum(n for _, _, n in properties)
    if any(len(row) != width for row in cells):
        return None
    by_column, start, columns = list(zip(*cells, strict=True)), 0, {}
    try:
        for name, kind, n in properties:
            array = _array(by_column[start : start + n], kind)
            columns[name] = array[0] if n == 1 else np.ascontiguousarray(array.T)
            start += n
    except (ValueError, KeyError, OverflowError):
        return None
    return columns


def _table(rows: list[str], properties: list[tuple[str, str, int]], where: str, line: int) -> dict[str, Array]:
    """Parse the atom lines, of which the first has number ``line``, into one array a property."""
    cells = [row.split() for row in rows]
    width = sum(n for _, _, n in properties)
    for i, row in enumerate(cells):
        if len(row) != width:
            raise _wrong_width(row, properties, f"{where}, line {line + i}")
    by_column = list(zip(*cells, strict=True))
    columns, start = {}, 0
    for name, kind, n in properties:
        words = by_column[start : start + n]
        try:
            array = _array(words, kind)
        except (ValueError, KeyError, OverflowError):
            if kind != "R" or not all(is_real(word) for column in words for word in column):
                raise _wrong_word(words, name, kind, where, line) from None
            array = np.array([[real(word) for word in column] for column in words])
        columns[name] = array[0] if n == 1 else array.T
        start += n
    return columns


def _array(words: Iterable[tuple[str, ...]], kind: str) -> Array:
    return np.array([[_CONVERT[kind](word) for word in column] for column in words], dtype=_DTYPE[kind])


_CONVERT: dict[str, Any] = {"R": float, "I": int, "S": str, "L": _BOOLEANS.__getitem__}
_DTYPE: dict[str, Any] = {"R": np.float64, "I": np.int64, "S": object, "L": np.bool_}


def _wrong_width(row: list[str], properties: list[tuple[str, str, int]], where: str) -> UserError:
    width, last = 0, properties[-1][0]
    for name, _, n in properties:
        width += n
        if width > len(row):
            last = name
            break
    promised = ":".join(f"{name}:{kind}:{n}" for name, kind, n in properties)
    total = sum(n for _, _, n in properties)
    return UserError(
        f"{len(row)} columns where Properties={promised} promises {total}",
        f"{where}, key {last!r}",
        "Every atom line needs as many columns as Properties says, and a frame as many lines as its first line says",
    )


def _wrong_word(words: Iterable[tuple[str, ...]], name: str, kind: str, where: str, line: int) -> UserError:
    meant = {"R": "a number", "I": "an integer", "L": "T or F"}[kind]
    for column in words:
        for i, word in enumerate(column):
            try:
                np.array((real if kind == "R" else _CONVERT[kind])(word), dtype=_DTYPE[kind])
            except (ValueError, KeyError, OverflowError):
                return UserError(f"{word!r} is not {meant}", f"{where}, line {line + i}, key {name!r}", advice(word))
    raise AssertionError("unreachable: some word failed to convert")
