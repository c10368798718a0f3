"""Architecture and capacity: errors over the number of parameters, one line an architecture."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import pandas as pd

from distill.base.errors import UserError
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.keys import Key
from distill.studies.study import Study
from distill.studies.swept import prepare, study_of

PARAMETERS = Key("parameters", "parameters", ("parameters",), ("parameters", "number"))
CAPTION = "The table has the seconds that a training took (train_s)."


def architecture(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of students over their number of parameters.

    Nothing needs to be swept: the students of one recipe are points; a swept size makes a line of each architecture.

    Args:
        results: the tables of a sweep.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: the tables do not say how many parameters the students have, or there is no such number.
    """
    errors = select(results, Choice(**choice))
    students = errors.students
    if not students["parameters"].notna().any():
        raise UserError(
            "says of no student how many parameters it has", where="metrics", remedy="Give a sweep's tables"
        )
    sizes = pd.to_numeric(errors.rows["parameters"], errors="coerce").where(errors.rows["model"] != "teacher")
    rows = errors.rows.assign(parameters=sizes)
    keys = (*(key for key in errors.keys if key.name != PARAMETERS.name), PARAMETERS)
    return study_of(prepare(replace(errors, rows=rows, keys=keys), PARAMETERS), "architecture", caption=CAPTION)
