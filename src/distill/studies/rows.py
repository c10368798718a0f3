"""Groups of models drawn below each other, with what each differs by from the one that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.reporting.style import Look, look, new_figure
from distill.studies.draw import TITLE, noted, scale, whiskers
from distill.studies.errors import Choice
from distill.studies.groups import compared, say

MOST = 30
"""Groups that one figure has room for."""


def with_differences(table: pd.DataFrame, rows: pd.DataFrame, base: Mapping[str, str]) -> pd.DataFrame:
    """Return the groups with ``difference``, ``difference_low`` and ``difference_high`` to what they are compared with.

    Args:
        table: one row a group, with ``series``.
        rows: the models with ``series``.
        base: the series that each series is compared with; those that are not named have no difference.
    """
    members = dict(iter(rows.groupby("series", sort=False)))
    found = []
    for series in table["series"]:
        if series in base:
            one = compared(members[series], members[base[series]])
            found.append((base[series], one.value, one.low, one.high))
        else:
            found.append(("", np.nan, np.nan, np.nan))
    columns = ["compared_with", "difference", "difference_low", "difference_high"]
    return table.assign(**pd.DataFrame(found, columns=columns, index=table.index).to_dict("series"))


def draw_rows(
    table: pd.DataFrame, rows: pd.DataFrame, choice: Choice, title: str, notes: Sequence[str], marks: str = "series"
) -> Figure:
    """Return the figure of groups below each other; models that differ in the column ``marks`` have another mark.

    Of very many groups the best are drawn, and how many there are is said.
    """
    if len(table) > MOST:
        notes = (*notes, f"the {MOST} groups of lowest error are drawn; the table has all {len(table)}")
        table = table.loc[table["mean"].nsmallest(MOST).index.sort_values()]
    figure = new_figure(8.2, 0.5 * len(table) + 1.7 + 0.2 * len(notes))
    axes = figure.subplots()
    for place, (_, group) in enumerate(table.iterrows()):
        own = rows[(rows["series"] == group["series"]) & ~rows["failed"]]
        _group(axes, place, group, own, marks, look(place))
    axes.set_yticks(range(len(table)), table["series"])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    scale(axes.xaxis, rows["value"].dropna().to_numpy(dtype=float))
    _make_room(axes)
    noted(axes, choice.label, notes)
    figure.suptitle("\n".join(wrap(title, TITLE)), x=0.01, ha="left", fontsize=10)
    return figure


def difference_text(group: pd.Series, unit: str) -> str:
    """Return by how much a group is better or worse than the one it is compared with, e.g. ``−85 ± 20 meV/Å``.

    Where the interval holds zero, or there is none, it says that one cannot tell.
    """
    value, low, high = group["difference"], group["difference_low"], group["difference_high"]
    if not np.isfinite(value):
        return ""
    said = say(pd.Series({"mean": value, "low": low, "high": high}), unit)
    return said if low > 0 or high < 0 else f"{said} (cannot tell)"


def _group(axes: Axes, place: int, group: pd.Series, own: pd.DataFrame, marks: str, style: Look) -> None:
    for index, (_, models) in enumerate(own.groupby(marks, sort=False)):
        mark = look(index).marker if marks != "series" else style.marker
        axes.plot(models["value"], np.full(len(models), place), mark, color=style.color, mfc="white", ms=4.5, mew=0.9)
    lost = (
        f"{group['n_failed']} of {group['n'] + group['n_failed']} failed ({group['failed']})"
        if group["n_failed"]
        else ""
    )
    if not np.isfinite(group["mean"]):
        axes.text(0.02, place, lost or "no number", va="center", transform=axes.get_yaxis_transform(), fontsize=8.5)
        return
    bars = whiskers(group.to_frame().T)
    axes.errorbar(group["mean"], place, xerr=bars, fmt=style.marker, color=style.color, capsize=4, ms=7)
    said = [say(group), difference_text(group, "") if "difference" in group else "", lost]
    label = "; ".join(filter(None, said))
    right = max(value for value in (group["mean"], group["high"], own["value"].max()) if np.isfinite(value))
    axes.annotate(label, (right, place), (8, 0), textcoords="offset points", va="center", fontsize=8.5)


def _make_room(axes: Axes) -> None:
    """Widen the axis by what the longest text beside a mark needs."""
    longest = max((len(text.get_text()) for text in axes.texts), default=0)
    left, right = axes.get_xlim()
    share = min(0.55, 0.011 * longest + 0.03)
    if axes.get_xscale() == "log":
        axes.set_xlim(left, left * (right / left) ** (1 / (1 - share)))
    else:
        axes.set_xlim(left, left + (right - left) / (1 - share))
