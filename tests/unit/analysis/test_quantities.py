"""Tolerances as a recipe has them, and numbers that are none."""

from __future__ import annotations

import math

import pytest

from distill.analysis.quantities import Quantity
from distill.base.tolerances import absolute, check_tolerance


@pytest.mark.parametrize("tolerance", ["10", "ten%", "-1%", 0, -3.0, math.nan, math.inf, ""])
def test_what_is_no_tolerance(tolerance: float | str) -> None:
    with pytest.raises(ValueError, match="is not a tolerance"):
        check_tolerance(tolerance)


def test_shares_and_numbers() -> None:
    assert absolute("10%", -50.0) == pytest.approx(5)
    assert absolute(0.2, -50.0) == 0.2


def test_a_number_that_is_none_says_why() -> None:
    assert Quantity("x", math.nan, "eV", 1.0).why == "it is not finite"
    with pytest.raises(ValueError, match="does not say why"):
        Quantity("x", None, "eV", 1.0)
