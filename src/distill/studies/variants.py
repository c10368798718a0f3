"""Distilled, refined and direct students at equal steps: what distillation gains."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from distill.base.errors import UserError
from distill.reporting.style import styled
from distill.studies.errors import Choice, Chosen, Errors, Results, Tables, select
from distill.studies.groups import failures_sentence, gathered, with_series
from distill.studies.keys import missing, text
from distill.studies.rows import difference_text, draw_rows, with_differences
from distill.studies.study import Study

CAPTION = (
    "Open marks: single models. Bars: 95 % interval of the mean (Student's t). After it: the difference to the student "
    "trained directly, with its 95 % interval (Welch, or pairs of repeats); cannot tell where that holds zero."
)


@styled
def distilled_or_direct(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of distilled and refined students beside those of the same trained directly on DFT structures.

    A student is compared with the direct one of the same architecture that agrees in every key which that depends on.
    The table has ``compared_with``, ``difference``, ``difference_low``, ``difference_high`` and, where the tables have
    them, the mean ``steps`` of the trainings.

    Args:
        results: the tables of a sweep.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: no student was trained directly, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    rows = with_series(errors.students, errors.keys)
    if not (rows["variant"] == "direct").any():
        remedy = "Set direct: true for the students"
        raise UserError("no student was trained directly", where="metrics", remedy=remedy)
    table = gathered(rows, ["model", "variant", "series"], errors.choice, [key.name for key in errors.keys])
    table = with_differences(table, rows, _bases(errors, rows))
    table = table.assign(steps=table["series"].map(_steps(results, rows)))
    notes = tuple(filter(None, (failures_sentence(rows), _unequal(table))))
    found = table[table["difference"].notna()]
    best = found.loc[found["difference"].idxmin()] if len(found) else None
    title = "nothing to compare"
    if best is not None:
        title = f"{best['series']}: {difference_text(best, errors.choice.unit)} against {best['compared_with']}"
    figure = draw_rows(table, rows, errors.choice, title, notes)
    caption = f"{CAPTION} Source: {errors.choice.source}."
    return Study("distilled-or-direct", title, caption, table.dropna(axis="columns", how="all"), figure, notes)


def _bases(errors: Errors, rows: pd.DataFrame) -> dict[str, str]:
    """Return the direct series that each other one is compared with."""
    first = rows.drop_duplicates("series").set_index("series")
    direct = first[first["variant"] == "direct"]
    found = {}
    for series, row in first[first["variant"] != "direct"].iterrows():
        for base, other in direct[direct["model"] == row["model"]].iterrows():
            if all(missing(other[k.name]) or text(other[k.name]) == text(row[k.name]) for k in errors.keys):
                found[str(series)] = str(base)
    return found


def _steps(results: Results | pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Return the mean optimisation steps of each series, where ``models.csv`` has them."""
    models = results.models if not isinstance(results, pd.DataFrame) else Tables(results).models
    if models is None or "steps" not in models.columns:
        return pd.Series(dtype=float)
    steps = pd.to_numeric(models.drop_duplicates("model_hash").set_index("model_hash")["steps"], errors="coerce")
    return rows["model_hash"].map(steps).groupby(rows["series"]).mean()


def _unequal(table: pd.DataFrame) -> str:
    """Return which groups were trained for other numbers of steps than those they are compared with."""
    steps = table.set_index("series")["steps"]
    pairs = table[table["compared_with"] != ""]
    said = [
        f"{series} took {steps[series]:.0f} steps, {base} {steps[base]:.0f}"
        for series, base in zip(pairs["series"], pairs["compared_with"], strict=True)
        if abs(steps[series] - steps[base]) > 0.5
    ]
    return "not at equal steps: " + "; ".join(said) if said else ""
