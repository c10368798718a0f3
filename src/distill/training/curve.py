"""A learning curve as a CSV file."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path

from distill.base.files import replacing
from distill.training.gradient import Point


def write_curve(path: Path, curve: list[Point]) -> None:
    """Write one row per round of training; the columns are the fields of :class:`~distill.training.gradient.Point`."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[f.name for f in fields(Point)])
        writer.writeheader()
        writer.writerows(asdict(point) for point in curve)
