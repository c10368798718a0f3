"""The figures of a search: how the error fell, where in the space it is small, what matters, and what speed costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from distill.base.errors import UserError
from distill.base.files import read_json
from distill.reporting.style import COLOURS, GREY, grid, new_figure, styled
from distill.studies.draw import logarithmic, wide
from distill.studies.keys import Key, text
from distill.studies.study import Study

INITIAL, PROPOSED = "initial design", "proposed"
ERROR = "error (eV and eV/Å)"
"""What the axis says: alpha times an energy plus the rest times a force."""


@dataclass(frozen=True)
class Searched:
    """A search's folder as it was read.

    Attributes:
        said: the content of ``search.json``.
        trials: ``trials.csv``, with the column ``design``: who proposed it.
    """

    said: Mapping[str, Any]
    trials: pd.DataFrame

    @classmethod
    def read(cls, folder: str | Path) -> Searched:
        """Read a search's folder; raises UserError where a file is missing."""
        folder = Path(folder)
        for name in ("search.json", "trials.csv"):
            if not (folder / name).is_file():
                raise UserError(f"has no {name}", str(folder), "Give the folder of a search, runs/<name>")
        said = read_json(folder / "search.json")
        trials = pd.read_csv(folder / "trials.csv")
        initial = trials["trial"] < said["settings"]["initial"]
        return cls(said, trials.assign(design=np.where(initial, INITIAL, PROPOSED)))

    @property
    def good(self) -> pd.DataFrame:
        """The trials that have a number and were not given up."""
        return self.trials[self.trials["state"] == "finished"]

    @property
    def names(self) -> Mapping[str, str]:
        """The shortest end of each searched key that no other one has."""
        return dict(self.said["names"])


@styled
def convergence(searched: Searched) -> Study | None:
    """Return the errors of all trials and the best so far, over the band of the initial design; None without any."""
    good = searched.good
    if good.empty:
        return None
    figure = new_figure(8.4, 4.2)
    axes = figure.subplots()
    first = good.loc[good["design"] == INITIAL, "error"]
    if len(first):
        axes.axhspan(first.min(), first.max(), color=GREY, alpha=0.12, lw=0, label="range of the initial design")
    for kind, color, filled in ((INITIAL, COLOURS[0], "white"), (PROPOSED, COLOURS[1], COLOURS[1])):
        own = good[good["design"] == kind]
        axes.plot(own["trial"], own["error"], "o", color=color, mfc=filled, label=kind)
    best = good.sort_values("trial").assign(best=lambda frame: frame["error"].cummin())
    axes.step(best["trial"], best["best"], where="post", color=COLOURS[2], label="best so far")
    _lost(axes, searched.trials)
    _error_axis(axes, good["error"])
    axes.set_xlabel("trial (number)")
    title = f"lowest error {good['error'].min():.4g}"
    if len(first):
        gain = 100 * (1 - good["error"].min() / first.min())
        title += f", {gain:.0f} % below the best of the initial design ({first.min():.4g})"
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5)
    caption = f"{searched.said['objective'][0].upper()}{searched.said['objective'][1:]}."
    return Study("convergence", title, caption, best[["trial", "design", "error", "best"]], figure)


@styled
def searched_values(searched: Searched) -> Study | None:
    """Return the error over each searched key, one panel a key; None without a trial."""
    good, keys = searched.good, searched.said["keys"]
    if good.empty:
        return None
    columns, rows = grid(len(keys))
    figure = new_figure(min(9.0, 3.4 * columns + 1.0), 2.7 * rows + 0.5)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, key in zip(panels, keys, strict=False):
        _panel(axes, good, key, searched)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(ERROR, fontsize=8.5)
    best = good.loc[good["error"].idxmin()]
    title = "best at " + ", ".join(f"{searched.names[key]} {text(best[key])}" for key in keys if text(best[key]))
    caption = "Error of each trial over one searched key; the later the trial, the darker; the star is the best one."
    return Study("values", title, caption, good[["trial", *keys, "error"]], figure)


def _panel(axes: Axes, good: pd.DataFrame, key: str, searched: Searched) -> None:
    dimension = searched.said["settings"]["space"][key]
    own = good[good[key].notna()]
    if dimension["choices"]:
        places = [text(one) for one in dimension["choices"]]
        at = own[key].map(text).map({name: place for place, name in enumerate(places)}).to_numpy(dtype=float)
        axes.set_xticks(range(len(places)), places)
    else:
        at = own[key].to_numpy(dtype=float)
        if dimension["log"] and len(at):
            logarithmic(axes.xaxis, np.array([dimension["low"], dimension["high"]]))
    axes.scatter(at, own["error"], c=own["trial"], cmap="Blues", vmin=-len(good), edgecolors=GREY, linewidths=0.4)
    best = own["error"] == good["error"].min()
    axes.plot(at[best], own["error"][best], "*", color=COLOURS[1], markersize=12)
    if len(own) and wide(good["error"].to_numpy()):
        logarithmic(axes.yaxis, good["error"].to_numpy())
    axes.set_xlabel(Key(searched.names[key], key, (key,)).label)


@styled
def importance(searched: Searched) -> Study | None:
    """Return which part of the variance each key explains by itself; None where that is not known."""
    found = searched.said["importance"]
    if not found:
        return None
    figure = new_figure(7.0, 0.45 * len(found) + 1.2)
    axes = figure.subplots()
    names = [searched.names[key] for key in found]
    axes.barh(names[::-1], [100 * value for value in found.values()][::-1], color=COLOURS[0], height=0.6)
    axes.set_xlabel("part of the variance of the error (%)")
    axes.grid(axis="y", visible=False)
    first = next(iter(found))
    title = f"{searched.names[first]} alone explains {100 * found[first]:.0f} % of the variance"
    axes.set_title(title)
    many = len(searched.good)
    caption = (
        f"fANOVA over the {many} trials that have a number. Few trials tell little, and they crowd around the best."
    )
    return Study("importance", title, caption, pd.DataFrame({"key": list(found), "part": list(found.values())}), figure)


@styled
def front(searched: Searched) -> Study | None:
    """Return the error over the measured time of an atom, and which trials are best at both; None of one objective."""
    good = searched.good.dropna(subset=["ms_per_atom"])
    if not searched.said["front"] or good.empty:
        return None
    figure = new_figure(7.4, 4.4)
    axes = figure.subplots()
    best = good[good["trial"].isin(searched.said["front"])].sort_values("ms_per_atom")
    axes.plot(good["ms_per_atom"], good["error"], "o", color=COLOURS[0], mfc="white", label="trials")
    axes.step(best["ms_per_atom"], best["error"], where="post", color=COLOURS[1], marker="o", label="Pareto front")
    for one in best.itertuples():
        axes.annotate(f" {one.trial}", (one.ms_per_atom, one.error), fontsize=8)
    if wide(good["ms_per_atom"].to_numpy()):
        logarithmic(axes.xaxis, good["ms_per_atom"].to_numpy())
    _error_axis(axes, good["error"])
    axes.set_xlabel("time of a step for an atom (ms)")
    title = f"{len(best)} of {len(good)} trials are on the Pareto front"
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    caption = "Of a trial on the front none is both faster and of lower error; the numbers are those of trials."
    return Study("pareto", title, caption, best, figure)


def _error_axis(axes: Axes, errors: pd.Series) -> None:
    if wide(errors.to_numpy()):
        logarithmic(axes.yaxis, errors.to_numpy())
    axes.set_ylabel(ERROR)


def _lost(axes: Axes, trials: pd.DataFrame) -> None:
    """Mark trials without a number at the upper edge."""
    lost = trials[trials["state"] != "finished"]
    if len(lost):
        up = axes.get_xaxis_transform()
        axes.plot(lost["trial"], [0.97] * len(lost), "x", color=GREY, transform=up, label="failed or given up")
