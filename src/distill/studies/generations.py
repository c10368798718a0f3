"""Settings of the generation: how deep the trees grow, how high in energy, and what that does to the students."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from distill.base.errors import UserError
from distill.reporting.style import COLOURS, new_figure, styled
from distill.studies.draw import is_numeric, legend, titled
from distill.studies.errors import Choice, Chosen, Errors, Results, select
from distill.studies.keys import Key, text
from distill.studies.study import Study
from distill.studies.swept import CAPTION, draw_panel, headline, notes_of, prepare, varies

GROWN = {"generation": "mean generation\n(number)", "relative_energy": "mean energy above\nthe seed (meV/atom)"}
"""What is shown of the structures besides the students' errors."""

OTHER = ("synthetic.structures", "synthetic.surrogate", "synthetic.valid_fraction")
"""Keys of the generation that have a study of their own, or change no structure."""


@styled
def generation(
    results: Results | pd.DataFrame,
    *,
    key: str | None = None,
    growth: pd.DataFrame | None = None,
    **choice: Unpack[Chosen],
) -> Study:
    """Return the errors of students over a setting of the generation, with ``growth`` also depth and energy of trees.

    Args:
        results: the tables of a sweep.
        key: the swept key; absent: the first of ``synthetic`` that was.
        growth: how the structures grew, from :func:`distill.studies.growth.grown`; the table then has its columns too.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: no setting of the generation was swept, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    swept = prepare(errors, key or _setting(errors))
    name, table, notes = swept.key.name, swept.table, notes_of(swept)
    grown = _by_value(growth, swept.key, name) if growth is not None else pd.DataFrame()
    shown = [one for one in GROWN if one in grown.columns]
    figure = new_figure(8.2, 5.2 + 1.9 * len(shown))
    ratios = [2.4, *[1.0] * len(shown)]
    first, *below = figure.subplots(len(ratios), 1, squeeze=False, gridspec_kw={"height_ratios": ratios}).ravel()
    draw_panel(first, swept, notes)
    titled(first, title := headline(swept))
    for axes, column in zip(below, shown, strict=True):
        _draw_grown(axes, grown, name, column, swept.key.label, first)
        means = grown.groupby(grown[name].map(text))[column].mean()
        table = table.assign(**{column: table[name].map(text).map(means)})
    legend(figure)
    caption = f"{CAPTION} Below: one mark for each set of grown structures. Source: {errors.choice.source}."
    return Study("generation", title, caption, table, figure, notes)


def settings_of(errors: Errors) -> Sequence[Key]:
    """Return the swept settings of the generation."""
    return [
        k for k in errors.keys if k.path.startswith("synthetic.") and not k.path.startswith(OTHER) and varies(errors, k)
    ]


def _setting(errors: Errors) -> Key:
    found = settings_of(errors)
    if not found:
        remedy = "Sweep synthetic.temperature, synthetic.exploration or another, or name the key"
        raise UserError("no setting of the generation was swept", where="key", remedy=remedy)
    return found[0]


def _by_value(growth: pd.DataFrame, key: Key, name: str) -> pd.DataFrame:
    """Return the sets of grown structures with their value of the key in the column ``name``."""
    column = next((one for one in key.columns if one in growth.columns), None)
    return growth.assign(**{name: growth[column]}).dropna(subset=[name]) if column is not None else pd.DataFrame()


def _draw_grown(axes: Axes, grown: pd.DataFrame, name: str, column: str, label: str, like: Axes) -> None:
    """Draw a number of the structures along the same axis as the errors above."""
    if is_numeric(grown[name]):
        places = grown[name].to_numpy(dtype=float)
        axes.set_xscale(like.get_xscale())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        names = [tick.get_text() for tick in like.get_xticklabels()]
        places = np.array([names.index(text(one)) if text(one) in names else np.nan for one in grown[name]])
    axes.plot(places, grown[column], "o", color=COLOURS[-1], mfc="white", ms=5)
    axes.set_xticks(like.get_xticks(), [tick.get_text() for tick in like.get_xticklabels()])
    axes.set_xlim(like.get_xlim())
    axes.set_ylabel(GROWN[column])
    axes.set_xlabel(label)
