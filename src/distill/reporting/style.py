"""The look of every figure: one colour, marker and line for each model, told apart without colour as well.

Figures are made as objects, so drawing needs no display, keeps no global state and leaks nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from distill.base.files import replacing
from distill.reporting.data import in_order
from distill.reporting.models import Model

P = ParamSpec("P")
R = TypeVar("R")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette (Color Universal Design, 2008) without its yellow, which is too pale for lines on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", "-.", ":")
GREY = "#666666"
DPI = 160


@dataclass(frozen=True)
class Look:
    """How one thing is drawn everywhere in a report."""

    color: str
    marker: str
    linestyle: str


def look(index: int) -> Look:
    """Return the ``index``-th look; colour, marker and line repeat with different periods."""
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], LINES[index % len(LINES)])


def looks(models: Sequence[Model]) -> dict[Model, Look]:
    """Return the look of each model, by its place in the order of the report."""
    return {model: look(i) for i, model in enumerate(in_order(models))}


def grid(panels: int) -> tuple[int, int]:
    """Return columns and rows for a number of panels that stay legible across a page."""
    columns = min(panels, 3) if panels != 4 else 2
    return columns, -(-panels // columns)


def new_figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches whose layout keeps labels apart.

    ``"compressed"`` does so for panels of equal aspect as well.
    """
    figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.constrained_layout.h_pad": 0.09,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    # Names come from files: a dollar sign in one is a dollar sign, not mathematics.
    "text.parse_math": False,
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run ``draw`` with the report's fonts, grid and spines; nothing is left behind in matplotlib's settings."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@styled
def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = BytesIO()
    # zlib's level 3 is three times as fast as its default and gives files a tenth larger.
    figure.savefig(buffer, dpi=DPI, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """Return a PNG as the address of an image, so that a page needs no file beside it."""
    return f"data:image/png;base64,{b64encode(picture).decode()}"


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and return the path."""
    with replacing(path) as temporary:
        temporary.write_bytes(png(figure))
    return path
