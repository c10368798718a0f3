"""What a study returns: a tidy table and a figure, shown together in a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from distill.base.files import write_text
from distill.reporting.style import data_uri, png, save


@dataclass(frozen=True)
class Study:
    """A question that was asked of a sweep, and its answer.

    Attributes:
        name: what its files are called.
        title: the number that matters, as in the figure.
        caption: how to read the figure, and where its numbers come from.
        table: one row a group of models; its column ``unit`` is that of means and intervals.
        figure: the drawing.
        notes: what a reader has to know: failures, and what the numbers cannot tell.
    """

    name: str
    title: str
    caption: str
    table: pd.DataFrame = field(repr=False)
    figure: Figure = field(repr=False)
    notes: tuple[str, ...] = ()

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``<name>.png`` and ``<name>.csv`` and return their paths."""
        picture = save(self.figure, Path(folder) / f"{self.name}.png")
        table = Path(folder) / f"{self.name}.csv"
        write_text(table, self.table.to_csv(index=False))
        return picture, table

    def _repr_html_(self) -> str:
        """Return the picture, how to read it, and the table below."""
        notes = "".join(f"<br>{escape(note)}" for note in self.notes)
        image = f'<img src="{data_uri(png(self.figure))}" alt="{escape(self.title)}" style="max-width: 100%">'
        table = self.table.to_html(index=False, float_format=lambda value: f"{value:.4g}", na_rep="–", border=0)
        return f"<figure>{image}<figcaption>{escape(self.caption)}{notes}</figcaption></figure>{table}"
