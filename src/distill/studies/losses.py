"""Weights of the loss: what energies gain and forces lose, and the other way round."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from distill.base.errors import UserError
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.study import Study
from distill.studies.swept import headline, panels_of, prepare, varies

QUANTITIES = ("forces", "energy_per_atom")
ENDS = ("kappa",)


def loss_weights(results: Results | pd.DataFrame, *, key: str | None = None, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of forces beside those of energies over each swept weight of a loss.

    Args:
        results: the tables of a sweep.
        key: the swept key along the axis, where it is not part of a ``loss`` nor ``kappa``; absent: each of these.
        choice: which number; see :class:`~distill.studies.errors.Choice`. ``quantity`` shows that one alone.

    Raises:
        UserError: no weight was swept, or there are no such numbers.
    """
    quantities = (choice["quantity"],) if "quantity" in choice else QUANTITIES
    panels = []
    for quantity in quantities:
        errors = select(results, Choice(**(choice | Chosen(quantity=quantity))))
        found = [one for one in errors.keys if is_weight(one.path) and varies(errors, one)]
        panels += [prepare(errors, one) for one in ([key] if key else found)]
    if not panels:
        remedy = "Sweep students.<name>.loss.energy or another weight, or name the key"
        raise UserError("no weight of a loss was swept", where="key", remedy=remedy)
    panels.sort(key=lambda one: one.key.path)
    return panels_of(panels, "loss-weights", "; ".join(dict.fromkeys(headline(one) for one in panels)))


def is_weight(path: str) -> bool:
    """Whether a key is a weight of a loss."""
    *above, last = path.split(".")
    return "loss" in above or last in ENDS
