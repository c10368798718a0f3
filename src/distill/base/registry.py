"""Tables of parts by name, imported on first use.

A table row is ``"name": "module:Class"``, so that listing the parts costs no import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from distill.base.errors import UserError, nearest


class Registry(Mapping[str, Any]):
    """A read-only mapping from a part's name to the part, imported when it is asked for.

    Args:
        kind: what the rows are, for messages ("potential", "stage", "executor").
        rows: name to ``"module:attribute"``.
    """

    def __init__(self, kind: str, rows: Mapping[str, str]) -> None:
        self.kind = kind
        self.rows = dict(rows)

    def __getitem__(self, name: str) -> Any:
        """Return the part called ``name``; raises :class:`UserError` with the nearest known name."""
        if name not in self.rows:
            raise UserError(f"unknown {self.kind} {name!r}", remedy=nearest(name, self.rows))
        module, _, attribute = self.rows[name].partition(":")
        return getattr(sys.modules.get(module) or import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self.rows
