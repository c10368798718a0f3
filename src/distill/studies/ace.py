"""The basis of ACE: how many functions, and of how many densities the energy of an atom is made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import pandas as pd

from distill.base.errors import UserError
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.keys import Key, missing
from distill.studies.study import Study
from distill.studies.swept import prepare, study_of, varies

FUNCTIONS, EMBEDDING = "students.*.functions", "students.*.embedding"
DENSITIES = {"linear": 1, "finnis-sinclair": 2, "published": 6}
"""How many densities each named embedding has."""


def ace_basis(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of ACE students over the functions per element, one line for each number of densities.

    Args:
        results: the tables of a sweep over ``students.<name>.functions``, ``students.<name>.embedding`` or both.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: neither was swept, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    found = {key.path: key for key in errors.keys if key.path in (FUNCTIONS, EMBEDDING) and varies(errors, key)}
    if not found:
        remedy = "Sweep students.<name>.functions or students.<name>.embedding"
        raise UserError("neither functions nor densities of ACE were swept", where="key", remedy=remedy)
    if EMBEDDING in found:
        old = found[EMBEDDING]
        densities = Key("densities", EMBEDDING, old.columns, ("densities", "number"))
        rows = errors.rows.assign(densities=errors.rows[old.name].map(_densities)).drop(columns=old.name)
        keys = tuple(densities if key is old else key for key in errors.keys)
        errors, found[EMBEDDING] = replace(errors, rows=rows, keys=keys), densities
    return study_of(prepare(errors, found.get(FUNCTIONS) or found[EMBEDDING]), "ace-basis")


def _densities(value: Any) -> float:
    """Return how many densities an embedding has, by its name or as a list of factors and exponents."""
    if missing(value):
        return np.nan
    if str(value) in DENSITIES:
        return DENSITIES[str(value)]
    try:
        return len(json.loads(str(value).replace("(", "[").replace(")", "]")))
    except (ValueError, TypeError):
        return np.nan
