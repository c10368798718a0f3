"""n-shot: how many DFT structures are enough, for the teacher, the distilled student and the one trained directly."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.study import Study
from distill.studies.swept import prepare, study_of

CAPTION = (
    "train_labels in the table says how many numbers each student learnt from: compare at equal ones, or say that they "
    "differ."
)


def n_shot(results: Results | pd.DataFrame, *, key: str = "data.n_train", **choice: Unpack[Chosen]) -> Study:
    """Return the errors of teacher and students over the number of DFT training structures.

    Args:
        results: the tables of a sweep.
        key: the swept key along the axis.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: that number was not swept, or there are no such errors.
    """
    return study_of(prepare(select(results, Choice(**choice)), key), "n-shot", caption=CAPTION)
