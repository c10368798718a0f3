"""How much a quantity may differ from what it is compared with: a number in its unit, or a share as in ``5 %``."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, Field

_SHARE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


def check_tolerance(given: float | str) -> float | str:
    """Return a tolerance; raises ValueError for what is neither a positive number nor a positive share."""
    if isinstance(given, str):
        found = _SHARE.fullmatch(given)
        if not found or not float(found[1]) > 0:
            raise ValueError(
                f"{given!r} is not a tolerance: give a number above 0 in the quantity's unit, or a share as in '5 %'"
            )
    elif not (math.isfinite(given) and given > 0):
        raise ValueError(f"{given:g} is not a tolerance: give a number above 0 or a share such as '5 %'")
    return given


Tolerance = Annotated[Annotated[float, Field(strict=True)] | str, AfterValidator(check_tolerance)]
"""A positive number, or a text such as ``5 %``."""


def absolute(tolerance: float | str, scale: float) -> float:
    """Return a tolerance as a number; of a share, that of the absolute ``scale``."""
    if isinstance(tolerance, str):
        found = _SHARE.fullmatch(tolerance)
        if not found:
            raise ValueError(f"{tolerance!r} is no share")
        return float(found[1]) / 100 * abs(scale)
    return float(tolerance)
