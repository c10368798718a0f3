"""The cut-off: how far a student has to see."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.study import Study
from distill.studies.swept import prepare, study_of


def cutoff(results: Results | pd.DataFrame, *, key: str = "students.*.cutoff", **choice: Unpack[Chosen]) -> Study:
    """Return the errors of students over their cut-off, those of all architectures in one figure.

    Args:
        results: the tables of a sweep.
        key: the swept key along the axis.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: the cut-off was not swept, or there is no such number.
    """
    return study_of(prepare(select(results, Choice(**choice)), key), "cutoff")
