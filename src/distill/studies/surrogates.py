"""The surrogate: whether structures that a student helped to relax teach as well as those of the teacher alone."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from distill.base.errors import UserError
from distill.reporting.style import styled
from distill.studies.errors import Choice, Chosen, Errors, Results, select
from distill.studies.groups import failures_sentence, gathered, with_series
from distill.studies.keys import text
from distill.studies.rows import difference_text, draw_rows, with_differences
from distill.studies.study import Study

SURROGATE = "synthetic.surrogate"
OFF = ("", "null", "None", "none", "false", "nan")
CAPTION = (
    "Open marks: single models. Bars: 95 % interval of the mean (Student's t). After it: the difference to the same "
    "student from structures that the teacher relaxed alone; cannot tell where its 95 % interval holds zero."
)


@styled
def surrogate(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of students from structures grown with a surrogate and without.

    The surrogate is on where any swept key below ``synthetic.surrogate`` has a value. The table has ``surrogate``, and
    ``difference`` with its interval to the students without.

    Args:
        results: the tables of a sweep.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: the surrogate was not swept, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    own = [key for key in errors.keys if key.path.startswith(SURROGATE)]
    if not own:
        remedy = f"Sweep {SURROGATE} with null and {{student: painn}}"
        raise UserError("the surrogate was not swept", where="key", remedy=remedy)
    rows = errors.students
    rows = rows[rows["variant"] != "direct"]
    on = ~rows[[key.name for key in own]].map(lambda one: text(one) in OFF).all(axis=1)
    rest = [key for key in errors.keys if key not in own]
    rows = with_series(rows.assign(surrogate=on.map({True: "with surrogate", False: "without"})), rest)
    rows["without"] = rows["series"] + ", without"
    rows["series"] = rows["series"] + ", " + rows["surrogate"]
    table = gathered(
        rows, ["model", "variant", "surrogate", "series"], errors.choice, [key.name for key in errors.keys]
    )
    table = with_differences(table, rows, _bases(rows))
    notes = tuple(filter(None, (failures_sentence(rows),)))
    title = _title(table, errors)
    figure = draw_rows(table, rows, errors.choice, title, notes)
    return Study("surrogate", title, f"{CAPTION} Source: {errors.choice.source}.", table, figure, notes)


def _bases(rows: pd.DataFrame) -> dict[str, str]:
    known = set(rows["series"])
    pairs = rows.drop_duplicates("series")[["series", "without"]].itertuples(index=False)
    return {one.series: one.without for one in pairs if one.series != one.without and one.without in known}


def _title(table: pd.DataFrame, errors: Errors) -> str:
    found = table[table["difference"].notna()]
    said = [f"{one['series']}: {difference_text(one, errors.choice.unit)}" for _, one in found.iterrows()]
    return "; ".join(said) or "nothing to compare"
