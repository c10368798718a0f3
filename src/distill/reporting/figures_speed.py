"""The figure of speed: milliseconds a step against atoms, what was measured here beside what the user's table says."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from distill.reporting.data import Speeds
from distill.reporting.models import Model
from distill.reporting.style import COLOURS, GREY, MARKERS, Look, new_figure, styled

TITLE = 100
"""Characters of a line of the title."""

SHORT = 2000
"""Ratio of the ends of an axis up to which powers of ten alone are too few numbers."""


@styled
def speed(speeds: Speeds, look_of: Mapping[Model, Look]) -> Figure | None:
    """Return the time of a step against the number of atoms, both logarithmic; None where there is none.

    What was measured here has full markers and full lines, what the user's table says hollow markers and dashes.
    """
    measured = [one for one in speeds.measured if len(one.atoms)]
    if not measured and not speeds.given:
        return None
    figure = new_figure(8.4, 5.0)
    axes = figure.subplots()
    for one in measured:
        style = look_of[one.of]
        axes.plot(one.atoms, one.ms_per_step, color=style.color, marker=style.marker, label=one.of.label)
    used = {look_of[one.of].color for one in measured}
    free = [color for color in COLOURS if color not in used] or list(COLOURS)
    for k, given in enumerate(speeds.given):
        color, marker = free[k % len(free)], MARKERS[-1 - k % len(MARKERS)]
        name = f"{given.name} ({speeds.given_on or 'given'})"
        axes.plot(given.atoms, given.ms_per_step, "--", color=color, marker=marker, mfc="white", lw=1.1, label=name)
    _scales(axes)
    axes.set_xlabel("atoms (count)")
    axes.set_ylabel("time of a step (ms)")
    axes.set_title(_title(speeds))
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def _scales(axes: Axes) -> None:
    """Make both axes logarithmic, with plain numbers, and with more than powers of ten where the range is short."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if high < SHORT * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace(",", " ")))
    axes.grid(which="minor", color=GREY, alpha=0.12, lw=0.5)


def _title(speeds: Speeds) -> str:
    """Return how much faster the students are, the number that matters."""
    said = []
    for one in speeds.measured:
        found = speeds.faster(one.of) if one.of.model != "teacher" else None
        if found is not None:
            said.append(f"{one.of.model} {found[1]:.3g} × at {found[0]} atoms")
    title = f"faster than the teacher: {', '.join(said)}" if said else "time of a step of molecular dynamics"
    return "\n".join(wrap(title, TITLE))
