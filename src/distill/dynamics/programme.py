"""Programmes of temperatures: what may be written, checked before anything heavy is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from distill.base.errors import UserError

Programme = tuple[tuple[float, float], ...]
"""Times (ps, ascending) and temperatures (K): between two a straight line, two at one time are a step."""


def checked_programme(programme: Sequence[Sequence[float]], ensemble: str) -> Programme:
    """Return a programme as pairs of numbers.

    Raises:
        UserError: it is none, or the ensemble is nve.
    """
    if programme and ensemble == "nve":
        raise UserError("nve has no thermostat that follows a programme of temperatures", remedy="Use nvt or npt")
    try:
        nodes = tuple((float(ps), float(kelvin)) for ps, kelvin in programme)
    except (TypeError, ValueError):
        nodes = ((math.nan, math.nan),)
    ascending = all(a <= b for a, b in pairwise([0.0, *(ps for ps, _ in nodes)]))
    if not ascending or not all(math.isfinite(ps) and 0 < kelvin < math.inf for ps, kelvin in nodes):
        what = f"{programme} is no programme of temperatures"
        raise UserError(what, remedy="Give pairs of ascending times (ps) and positive temperatures (K)")
    return nodes
