"""Where the scatter comes from: the fit alone, or the whole chain of fine-tuning, generation and labels."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from distill.analysis.variance import components
from distill.base.errors import UserError
from distill.reporting.style import styled
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.groups import CANNOT_TELL, failures_sentence, gathered, with_series
from distill.studies.rows import draw_rows
from distill.studies.study import Study

CAPTION = (
    "Open marks: single models, another mark for each repeat of the whole chain. Bars: 95 % interval of the mean over "
    "repeats. fit: standard deviation of models of one repeat, which differ in the seed of their fit; chain: what is "
    "added when fine-tuning, generation and labels are done anew (one-way analysis of variance)."
)


@styled
def noise_components(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return how much of the scatter of students is of their fit, and how much of the whole chain.

    The table has ``fit`` and ``chain`` (standard deviations), ``share`` (of the chain in the variance of a single
    model), ``repeats`` and ``n`` of each group.

    Args:
        results: the tables of a sweep with ``repeat`` above 1.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: the chain was not repeated, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    if errors.students["repeat"].nunique() < 2:
        remedy = "Give the sweep repeat: 2 or more"
        raise UserError("the whole chain was done only once", where="repeat", remedy=remedy)
    rows = with_series(errors.students, errors.keys)
    table = gathered(rows, ["model", "variant", "series"], errors.choice, [key.name for key in errors.keys])
    found = []
    for series in table["series"]:
        good = rows[(rows["series"] == series) & ~rows["failed"]]
        one = components(good["value"].to_numpy(dtype=float), good["repeat"].to_numpy())
        found.append({"fit": one.fit, "chain": one.chain, "share": one.share, "repeats": one.repeats})
    table = table.assign(**pd.DataFrame(found, index=table.index).to_dict("series"))
    notes = tuple(filter(None, (failures_sentence(rows),)))
    title = "standard deviation: " + "; ".join(_said(one, errors.choice.unit) for _, one in table.head(3).iterrows())
    figure = draw_rows(table, rows, errors.choice, title, notes, marks="repeat")
    return Study("noise-components", title, f"{CAPTION} Source: {errors.choice.source}.", table, figure, notes)


def _said(group: pd.Series, unit: str) -> str:
    fit, chain = (f"{one:.2g}" if np.isfinite(one) else CANNOT_TELL for one in (group["fit"], group["chain"]))
    return f"{group['series']}: fit {fit}, chain {chain} {unit}"
