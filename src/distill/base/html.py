"""Small tables for notebooks: what is written is escaped, and long tables say how many rows they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

MOST = 20
"""Rows of a table."""


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], most: int = MOST) -> str:
    """Return a title and a table below it, as HTML; of more than ``most`` rows the others are counted."""
    lines = [_line("th", head), *(_line("td", row) for row in rows[:most])]
    more = f"<br>... and {len(rows) - most} more" if len(rows) > most else ""
    return f"<b>{escape(title)}</b><table>{''.join(lines)}</table>{more}"


def _line(cell: str, texts: Sequence[Any]) -> str:
    style = ' style="text-align: left"'
    return f"<tr>{''.join(f'<{cell}{style}>{escape(str(text))}</{cell}>' for text in texts)}</tr>"
