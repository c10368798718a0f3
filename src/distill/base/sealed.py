"""JSON files that tell when they were damaged: the last key, ``seal``, is the SHA-256 of the file without it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.base.files import write_text

_BEFORE, _AFTER = '"seal": "', '"\n}\n'
_DIGITS = 64


class DamagedError(ValueError):
    """A sealed file is not as it was written."""


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON with its seal, atomically; not-a-number is refused."""
    text = json.dumps({**value, "seal": ""}, indent=2, allow_nan=False) + "\n"
    write_text(path, text.removesuffix(_AFTER) + _digest(text.encode()) + _AFTER)


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what :func:`write_sealed` wrote, without the seal.

    Raises:
        OSError: the file cannot be read.
        DamagedError: a bit of it is not as it was written, or it was written without a seal.
    """
    content = path.read_bytes()
    end = max(_DIGITS, len(content) - len(_AFTER))
    body, seal, after = content[: end - _DIGITS], content[end - _DIGITS : end], content[end:]
    if not body.endswith(_BEFORE.encode()) or after != _AFTER.encode() or seal != _digest(body + after).encode():
        raise DamagedError(f"{path} is not as it was written")
    value: dict[str, Any] = json.loads(content)
    value.pop("seal")
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
