"""Errors drawn over a swept key: every model as a small mark, means with their intervals, failures counted in place.

What does not depend on the key is a horizontal line with its interval as a band: the direct student where the number of
synthetic structures is swept, the teacher nearly always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from distill.reporting.style import Look, look
from distill.studies.keys import text

CLEAR = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
"""What keeps a text legible on top of lines."""

TITLE = 96
"""Characters of a line of a title."""

ASIDE = 0.006
"""How far a series is drawn aside of the one before, as a share of the axis."""

SPREAD = 0.05
"""How far all series together are drawn aside at most."""

MOST = 16
"""Entries of a legend."""

ROOM = 0.6
"""How far beyond the models, as a share of what they span, intervals are shown."""

WIDE = 5
"""Ratio of the ends of an axis from which on it is logarithmic."""


def looks_of(series: Sequence[str]) -> dict[str, Look]:
    """Return the look of each series, in order of appearance."""
    return {name: look(i) for i, name in enumerate(dict.fromkeys(series))}


def is_numeric(values: pd.Series) -> bool:
    """Whether a key has numbers, and not names."""
    return bool(pd.api.types.is_numeric_dtype(values)) and bool(values.notna().any())


def draw_over(
    axes: Axes, rows: pd.DataFrame, table: pd.DataFrame, x: str, look_of: Mapping[str, Look], joined: bool = True
) -> None:
    """Draw the models of ``rows`` and the groups of ``table``, both with ``series``, over the column ``x``.

    Rows without a value of ``x`` are horizontal lines. Names stand beside each other in order of appearance.
    """
    places = None if is_numeric(rows[x]) else list(dict.fromkeys(rows[x].dropna().map(text)))
    on_axis = table[table[x].notna()]
    names = list(dict.fromkeys(on_axis["series"]))
    for index, name in enumerate(names):
        aside = index - (len(names) - 1) / 2
        own, groups = (f[(f["series"] == name) & f[x].notna()] for f in (rows, table))
        at_rows, at_groups = (_along(f[x], places, on_axis[x], aside, len(names)) for f in (own, groups))
        _series(axes, own, groups, at_rows, at_groups, look_of[name], joined=joined and places is None)
    for name, group in table[table[x].isna()].groupby("series", sort=False):
        _band(axes, rows[(rows["series"] == name) & rows[x].isna()], group.iloc[0], look_of[name])
    if places is not None:
        axes.set_xticks(range(len(places)), places)
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.grid(axis="x", visible=False)
    elif len(on_axis):
        swept = np.unique(on_axis[x].to_numpy(dtype=float))
        scale(axes.xaxis, swept)
        _span(axes, swept)
        _ticks(axes, swept)
    show(axes, np.concatenate([rows["value"].dropna(), table["mean"].dropna()]), table[["low", "high"]].to_numpy())
    _count_failures(axes, table, x, places)


def scale(axis: Axis, values: np.ndarray) -> None:
    """Make an axis logarithmic where the numbers span much, with plain numbers at its ticks."""
    if wide(values):
        logarithmic(axis, values)


def logarithmic(axis: Axis, values: np.ndarray) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks; ``values`` are what is drawn along it."""
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    span = values.max() / values.min()
    if span < 2000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if span < 30 else (1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def plain(value: float) -> str:
    """Return a number as a tick shows it, without powers of ten up to ten millions."""
    if abs(value) >= 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.4g}"


def show(axes: Axes, values: np.ndarray, ends: np.ndarray, log: bool = False) -> None:
    """Choose the vertical axis by what was measured; ends of intervals far beyond it leave the figure.

    It is logarithmic where ``log`` says so, and where the numbers span much.
    """
    if not len(values):
        return
    if log := log or wide(values):
        logarithmic(axes.yaxis, values)
    low, high = float(values.min()), float(values.max())
    room = ROOM * (high - low) or 0.1 * abs(high) or 1.0
    below, above = (low / 2, 2 * high) if log else (low - room, high + room)
    known = ends[np.isfinite(ends)]
    bottom, top = max(min(low, known.min(initial=low)), below), min(max(high, known.max(initial=high)), above)
    if log:
        axes.set_ylim(bottom / 1.1, 1.1 * top)
    else:
        margin = 0.07 * (top - bottom) or room
        axes.set_ylim(max(bottom - margin, 0) if low >= 0 else bottom - margin, top + margin)


def wide(values: np.ndarray) -> bool:
    """Whether numbers span so much that their axis is logarithmic."""
    return bool(len(values)) and bool(values.min() > 0) and bool(values.max() >= WIDE * values.min())


def whiskers(groups: pd.DataFrame) -> np.ndarray:
    """Return how far the intervals reach below and above the means, ``[2, groups]``; nothing where there is none."""
    ends = np.array([groups["mean"] - groups["low"], groups["high"] - groups["mean"]], dtype=float)
    return np.nan_to_num(ends, nan=0.0)


def titled(axes: Axes, title: str) -> None:
    """Set a title in as many lines as it needs."""
    axes.set_title("\n".join(wrap(title, TITLE)))


def noted(axes: Axes, label: str, notes: Sequence[str]) -> None:
    """Name the horizontal axis, and say below it what a reader has to know."""
    axes.set_xlabel("\n".join([label, *(line for note in notes for line in wrap(note, TITLE + 14))]))


def legend(figure: Figure) -> None:
    """Say below the figure which mark is what; of very many series the first are named."""
    found = [axes.get_legend_handles_labels() for axes in figure.get_axes()]
    entries = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    if len(entries) > MOST:
        more = f"and {len(entries) - MOST + 1} more: see the table"
        entries = dict(list(entries.items())[: MOST - 1]) | {more: Line2D([], [], linestyle="none")}
    longest = max(map(len, entries), default=0)
    columns = min(len(entries), 3 if longest < 32 else 2 if longest < 50 else 1)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=8.5)


def _along(
    values: pd.Series, places: Sequence[str] | None, all_values: pd.Series, aside: float, series: int
) -> np.ndarray:
    """Return where values are along the axis, each series a little aside so that bars do not hide each other."""
    if places is not None:
        return np.array([places.index(text(one)) for one in values], dtype=float) + 0.5 * aside / series
    step = aside * min(ASIDE, SPREAD / series)
    found, ends = values.to_numpy(dtype=float), (float(all_values.min()), float(all_values.max()))
    if wide(np.array(ends)):
        return found * (ends[1] / ends[0]) ** step
    return found + step * (ends[1] - ends[0])


def _span(axes: Axes, values: np.ndarray) -> None:
    """Let the axis reach from the lowest value to the highest, also where all that was tried there failed."""
    margin = 0.06
    if wide(values):
        factor = float(values.max() / values.min()) ** margin
        axes.set_xlim(values.min() / factor, values.max() * factor)
    elif len(values) > 1:
        room = margin * float(np.ptp(values))
        axes.set_xlim(values.min() - room, values.max() + room)


def _ticks(axes: Axes, values: np.ndarray) -> None:
    """Put the ticks at the values that were swept, where they are few and apart."""
    places = np.log(values) if wide(values) else values
    if 1 < len(values) <= 10 and np.diff(places).min() > 0.06 * np.ptp(places):
        axes.set_xticks(values, [plain(value) for value in values])


def _series(
    axes: Axes,
    rows: pd.DataFrame,
    groups: pd.DataFrame,
    at_rows: np.ndarray,
    at_groups: np.ndarray,
    style: Look,
    *,
    joined: bool,
) -> None:
    axes.plot(at_rows, rows["value"], style.marker, color=style.color, mfc="white", ms=3.5, mew=0.8, alpha=0.75)
    order = np.argsort(at_groups)
    axes.errorbar(
        at_groups[order],
        groups["mean"].to_numpy()[order],
        yerr=whiskers(groups)[:, order],
        color=style.color,
        marker=style.marker,
        linestyle=style.linestyle if joined else "none",
        capsize=4,
        ms=6.5,
        label=groups["series"].iloc[0],
    )


def _band(axes: Axes, rows: pd.DataFrame, group: pd.Series, style: Look) -> None:
    """Draw what does not depend on the axis; every model is a tick at its right end."""
    if not np.isfinite(group["mean"]):
        axes.plot([], [], color=style.color, ls=style.linestyle, label=f"{group['series']}: {group['failed']}")
        return
    if np.isfinite(group["low"]):
        axes.axhspan(group["low"], group["high"], color=style.color, alpha=0.13, lw=0)
    axes.axhline(group["mean"], color=style.color, ls=style.linestyle, lw=1.3, label=group["series"])
    right = axes.get_yaxis_transform()
    good = rows["value"].dropna()
    axes.plot(np.full(len(good), 0.99), good, "_", transform=right, color=style.color, ms=9, mew=1.2)


def _count_failures(axes: Axes, table: pd.DataFrame, x: str, places: Sequence[str] | None) -> None:
    """Write at each place along the axis how many models failed there."""
    lost = table[(table["n_failed"] > 0) & table[x].notna()]
    for value, groups in lost.groupby(x, sort=False):
        at = value if places is None else places.index(text(value))
        same = table[table[x] == value]
        said = f"× {groups['n_failed'].sum()} of {same['n'].sum() + same['n_failed'].sum()}\nfailed"
        axes.text(at, 0.01, said, transform=axes.get_xaxis_transform(), ha="center", fontsize=7.5, bbox=CLEAR)
