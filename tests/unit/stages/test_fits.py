"""What the recipe says of ACE's fit: its phases, what is passed on to pacemaker, and where ACE cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from distill.stages.generate import SurrogateSettings
from distill.training.ace.settings import PacemakerFit


def test_the_two_phases_are_the_default() -> None:
    fit = PacemakerFit(arch="ace")
    assert fit.batches is not None and fit.bfgs is not None and fit.pacemaker is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batches": None, "bfgs": None}, "at least one of batches and bfgs"),
        ({"bfgs": None, "pacemaker": {"fit": {}}}, "bfgs must not be null"),
        ({"pacemaker": {"fit": {"ladder_step": 10}}}, "batches: null"),
        ({"pacemaker": {"fit": {"callbacks": ["os.system"]}}}, "fit.callbacks"),
        ({"pacemaker": {"fit": {"loss": {"kappa": 0.1}}}}, "fit.loss"),
        ({"pacemaker": {"fit": {"weighting": {"filename": "mine.pckl"}}}}, "weighting cannot name a file"),
        ({"pacemaker": {"backend": {"evaluator": "pyace"}}}, "backend.evaluator"),
        ({"pacemaker": {"data": {"filename": "mine.pckl"}}}, "'data' is not a section"),
    ],
)
def test_what_cannot_be_done_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PacemakerFit(arch="ace", **wrong)


def test_ladder_fitting_alone_is_passed_on() -> None:
    fit = PacemakerFit(arch="ace", batches=None, pacemaker={"fit": {"ladder_step": 10}})
    assert fit.pacemaker == {"fit": {"ladder_step": 10}}


def test_ace_is_not_a_surrogate() -> None:
    with pytest.raises(ValidationError, match="ace is not trained while structures grow"):
        SurrogateSettings(student="ace")
