"""The learning curve: errors against DFT over the number of synthetic structures, and what to expect of them.

A student is off its teacher by x, and the teacher off DFT by λ. Were the two errors independent and normal, the student
would be off DFT by √(x² + λ²): a student below that line profits from errors that cancel, one above does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from distill.base.errors import UserError
from distill.reporting.style import GREY, LINES, MARKERS
from distill.studies.draw import is_numeric, looks_of, scale, show
from distill.studies.errors import Choice, Chosen, Errors, Results, select
from distill.studies.groups import teacher_values
from distill.studies.keys import Key
from distill.studies.study import Study
from distill.studies.swept import Swept, prepare, study_of, varies

STRUCTURES = ("students.*.structures", "synthetic.structures")
"""Keys that say how many synthetic structures a student learns from."""

CAPTION = (
    "Dashed thin lines: √(x² + λ²), what to expect if the student's error x against its teacher and the teacher's "
    "error λ against DFT were independent."
)
PUBLISHED = ("label", "structures", "value")


def learning_curve(
    results: Results | pd.DataFrame,
    *,
    key: str | None = None,
    published: str | Path | pd.DataFrame | None = None,
    **choice: Unpack[Chosen],
) -> Study:
    """Return the errors of students over the number of synthetic structures that they learn from.

    Students trained directly are bands, since they do not depend on it; the teacher is the line λ. The table has the
    columns ``against_teacher`` (mean x), ``teacher`` (λ) and ``expected`` (mean √(x² + λ²)) of each distilled group.

    Args:
        results: the tables of a sweep.
        key: the swept key along the axis, where it is none of :data:`STRUCTURES`.
        published: curves to draw beside, a table or CSV file with the columns ``label``, ``structures`` and ``value``
            (in the figure's unit).
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: no number of structures was swept, or there is no such number.
    """
    errors = select(results, Choice(**choice))
    swept = prepare(errors, key or structures_key(errors))
    swept = replace(swept, table=_with_expected(swept, results))
    beside = None if published is None else _published(published)

    def add(axes: Axes) -> None:
        _draw_expected(axes, swept)
        if beside is not None:
            _draw_published(axes, beside, swept)

    study = study_of(swept, "learning-curve", add, caption=CAPTION)
    return study if beside is None else replace(study, table=_joined(study.table, beside, swept.key.name))


def structures_key(errors: Errors) -> Key:
    """Return the swept key that says how many structures students learn from; raises UserError where none was swept."""
    found = [key for key in errors.keys if key.path in STRUCTURES and varies(errors, key)]
    if not found:
        remedy = "Sweep students.<name>.structures or synthetic.structures, or name another key"
        raise UserError("no number of structures was swept", where="key", remedy=remedy)
    return found[0]


def _with_expected(swept: Swept, results: Results | pd.DataFrame) -> pd.DataFrame:
    """Return the groups with what is expected of them; unchanged where that has no meaning or no number."""
    choice = swept.errors.choice
    if choice.reference != "dft" or choice.statistic not in ("mae", "rmse"):
        return swept.table
    try:
        others = select(results, replace(choice, reference="teacher")).rows
    except UserError:
        return swept.table
    rows = swept.rows[(swept.rows["variant"] == "distilled") & ~swept.rows["failed"]]
    same = ["identity", "place"]
    rows = rows.merge(others[[*same, "value"]].rename(columns={"value": "against_teacher"}), on=same, how="left")
    rows["teacher"] = teacher_values(swept.errors, rows)
    rows["expected"] = np.hypot(rows["against_teacher"], rows["teacher"])
    by, new = ["series", swept.key.name], ["against_teacher", "teacher", "expected"]
    return swept.table.merge(rows.groupby(by, dropna=False)[new].mean().reset_index(), on=by, how="left")


def _draw_expected(axes: Axes, swept: Swept) -> None:
    if "expected" not in swept.table.columns or not is_numeric(swept.table[swept.key.name]):
        return
    look_of = looks_of(swept.table["series"])
    found = swept.table[swept.table["expected"].notna() & swept.table[swept.key.name].notna()]
    for name, group in found.groupby("series", sort=False):
        group = group.sort_values(swept.key.name)
        label = f"{name}: √(x² + λ²)"
        axes.plot(group[swept.key.name], group["expected"], "--", color=look_of[name].color, lw=0.9, label=label)


def _published(given: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Return the curves to draw beside; raises UserError where the table has not the columns."""
    table = given if isinstance(given, pd.DataFrame) else pd.read_csv(given)
    lacking = [name for name in PUBLISHED if name not in table.columns]
    if lacking:
        remedy = f"Give a table with the columns {', '.join(PUBLISHED)}"
        raise UserError(f"has no column {', '.join(lacking)}", where="published", remedy=remedy)
    return table[list(PUBLISHED)]


def _draw_published(axes: Axes, table: pd.DataFrame, swept: Swept) -> None:
    for index, (label, curve) in enumerate(table.groupby("label", sort=False)):
        curve = curve.sort_values("structures")
        marker, line = MARKERS[-1 - index % len(MARKERS)], LINES[index % len(LINES)]
        axes.plot(
            curve["structures"], curve["value"], line, marker=marker, color=GREY, mfc="white", lw=1.1, label=str(label)
        )
    given = table["value"].to_numpy(dtype=float)
    show(axes, np.concatenate([swept.rows["value"].dropna(), given]), swept.table[["low", "high"]].to_numpy())
    scale(axes.xaxis, table["structures"].to_numpy(dtype=float))


def _joined(table: pd.DataFrame, published: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the groups with the published numbers below, which have no interval of ours."""
    below = published.rename(columns={"label": "series", "structures": name, "value": "mean"})
    return pd.concat([table, below.assign(model="published", interval="not known", unit=table["unit"].iloc[0])])
