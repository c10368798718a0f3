"""Figures of the teacher's remaining error: its families, and the spread of several teachers against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from distill.analysis.families import FamilyShare
from distill.analysis.reliability import Reliability
from distill.reporting.models import Model
from distill.reporting.style import COLOURS, GREY, look, new_figure, styled
from distill.reporting.tables import QUANTITIES, ErrorTable, show

TEACHER = Model("teacher", "finetuned")


@styled
def remaining(shares: Sequence[FamilyShare], table: ErrorTable) -> Figure | None:
    """Return the teacher's force error in each family with its interval, and the family's share of the whole."""
    if len(shares) < 2:
        return None
    figure = new_figure(9.0, 0.5 * len(shares) + 1.5)
    left, right = figure.subplots(1, 2, sharey=True)
    places, names = range(len(shares)), [one.family for one in shares]
    for place, one in zip(places, shares, strict=True):
        cell, style = table.cell(TEACHER, "forces", config_type=one.family), look(place)
        value = 1000 * one.mae
        if cell is not None and cell.low is not None and cell.high is not None:
            ends = [[value - 1000 * cell.low], [1000 * cell.high - value]]
            left.errorbar(value, place, xerr=np.maximum(ends, 0), fmt=style.marker, color=style.color, capsize=4, ms=7)
        else:
            left.plot(value, place, style.marker, color=style.color, ms=7)
        left.annotate(
            show(cell, "forces"), (value, place), (0, 9), textcoords="offset points", ha="center", fontsize=8.5
        )
    left.set_yticks(places, names)
    left.set_ylim(len(shares) - 0.4, -0.7)
    left.set_xlim(0, 1.25 * max(1000 * one.mae for one in shares))
    left.set_xlabel("force MAE of the teacher (meV/Å)")
    left.set_title(f"{names[0]} has the largest error")
    right.barh(places, [100 * one.of_error for one in shares], 0.6, color=COLOURS[0], label="of the squared error")
    right.plot(
        [100 * one.of_components for one in shares], places, "|", color=GREY, ms=22, mew=2, label="of the forces"
    )
    right.set_xlabel("share of the family (%)")
    right.set_title(f"{names[0]}: {100 * shares[0].of_error:.0f} % of the squared error")
    right.legend(fontsize=8.5)
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    return figure


@styled
def reliability(found: Mapping[str, Reliability], families: Sequence[str]) -> Figure | None:
    """Return spread against error of every test structure, and the root mean squares of both in bins.

    ``families`` are those of the structures, used where there is one for each.
    """
    shown = [q for q in ("forces", "energy_per_atom") if q in found and found[q].ratio is not None]
    if not shown:
        return None
    figure = new_figure(9.0, 3.9 * len(shown))
    rows = figure.subplots(len(shown), 2, squeeze=False)
    for (left, right), quantity in zip(rows, shown, strict=True):
        of, unit = QUANTITIES[quantity], QUANTITIES[quantity].unit
        one = found[quantity]
        _structures(left, one, of.factor, families)
        _bins(right, one, of.factor)
        for axes in (left, right):
            axes.set_xlabel(f"spread of the teachers, {of.title} ({unit})")
        left.set_ylabel(f"error of their mean ({unit})")
        right.set_ylabel(f"root mean square error ({unit})")
    return figure


def _structures(axes: Axes, one: Reliability, factor: float, families: Sequence[str]) -> None:
    spread, error = factor * np.array(one.spread), factor * np.array(one.error)
    names = np.array(families if len(families) == len(spread) else [""] * len(spread), dtype=object)
    for k, name in enumerate(sorted(set(names))):
        chosen, style = names == name, look(k)
        axes.scatter(
            spread[chosen], error[chosen], s=22, c=style.color, marker=style.marker, alpha=0.75, lw=0, label=name
        )
    _logarithmic(axes, spread, error)
    text = "no rank correlation" if one.spearman is None else f"Spearman {one.spearman:.2f}"
    if one.low is not None and one.high is not None:
        text += f" [{one.low:.2f}–{one.high:.2f}]"
    axes.set_title(f"{text}, {len(spread)} test structures")
    if len(set(names)) > 1:
        axes.legend(fontsize=8.5)


def _bins(axes: Axes, one: Reliability, factor: float) -> None:
    spread = factor * np.array([part.spread for part in one.bins])
    error = factor * np.array([part.error for part in one.bins])
    low = factor * np.array([part.error if part.low is None else part.low for part in one.bins])
    high = factor * np.array([part.error if part.high is None else part.high for part in one.bins])
    ends = [np.maximum(error - low, 0), np.maximum(high - error, 0)]
    axes.errorbar(spread, error, yerr=ends, fmt="o-", color=COLOURS[0], capsize=4, label="bins of equal size")
    _logarithmic(axes, spread, np.concatenate([low, high]))
    ratio = "no spread" if one.ratio is None else f"errors are {one.ratio:.1f} times the spread"
    axes.set_title(ratio)
    axes.legend(fontsize=8.5)


def _logarithmic(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw where error and spread are equal, and use logarithmic axes where nothing is zero."""
    values = np.concatenate([x, y])
    if (values > 0).all():
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))
    ends = [float(x.min()), float(x.max())]
    axes.plot(ends, ends, color=GREY, lw=1, ls="--", zorder=1, label="equal")
