"""The verdict on a student by physics: levels from the cheapest to the dearest, and what follows from them.

A criterion passes, fails, or cannot be told. A failure at level 0 or 2 leaves what comes after it unjudged: what a
model that loses atoms says of diffusion is of no interest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from distill.analysis.replicas import Outcome

LEVELS = {
    0: "pairs of atoms, and forces as derivatives",
    1: "crystals at rest",
    2: "survival",
    3: "forces away from equilibrium",
    4: "structure",
    5: "dynamics",
    6: "experiment",
}
"""What each level asks."""
GATES = (0, 2)
"""Levels of which a failure leaves the later ones unjudged."""

Judged = Literal["pass", "fail", "cannot tell", "not judged"]
Decision = Literal["accept", "reject", "cannot tell", "not judged"]


@dataclass(frozen=True)
class Criterion:
    """One quantity of a model, judged; NaN where a number does not apply.

    Attributes:
        level: a key of :data:`LEVELS`.
        quantity: what it is.
        outcome: pass, fail, or cannot tell.
        value: of the model: the mean over replicas.
        reference: of what it is compared with, mostly the teacher.
        difference: between both; of curves their root mean square distance without noise, of errors their ratio.
        low: lower end of its 95 % interval; NaN where it has none.
        high: upper end.
        tolerance: the largest difference that passes.
        unit: of all these numbers.
        why: what speaks for the outcome, a clause.
        note: whether it is said alone, and decides nothing.
    """

    level: int
    quantity: str
    outcome: Outcome
    value: float = math.nan
    reference: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    tolerance: float = math.nan
    unit: str = ""
    why: str = ""
    note: bool = False


@dataclass(frozen=True)
class Verdict:
    """All criteria of one model.

    Attributes:
        criteria: in the order of their levels.
    """

    criteria: tuple[Criterion, ...]

    @property
    def levels(self) -> dict[int, Judged]:
        """How each level ended: it fails with one failure, and passes where everything does."""
        judged: dict[int, Judged] = {}
        closed = False
        for level in LEVELS:
            outcomes = [one.outcome for one in self.criteria if one.level == level and not one.note]
            judged[level] = "not judged" if closed else _together(outcomes)
            closed = closed or (level in GATES and judged[level] == "fail")
        return judged

    @property
    def counted(self) -> tuple[Criterion, ...]:
        """The criteria of the levels that were judged, and notes."""
        levels = self.levels
        return tuple(one for one in self.criteria if levels[one.level] != "not judged" or one.note)

    @property
    def decision(self) -> Decision:
        """Reject with a failure; accept where all that was judged passed, survival among it; else cannot tell."""
        outcomes = [outcome for outcome in self.levels.values() if outcome != "not judged"]
        if "fail" in outcomes:
            return "reject"
        if not outcomes:
            return "not judged"
        return "cannot tell" if "cannot tell" in outcomes or self.levels[2] != "pass" else "accept"

    @property
    def sentence(self) -> str:
        """The decision and what carries it."""
        found = self.decision
        if found == "reject":
            failed = [one for one in self.counted if one.outcome == "fail" and not one.note]
            return f"rejected: {'; '.join(_said(one) for one in failed[:3])}{' ...' if len(failed) > 3 else ''}"
        passed = [str(level) for level, outcome in self.levels.items() if outcome == "pass"]
        judged = f"levels {', '.join(passed)} passed" if len(passed) != 1 else f"level {passed[0]} passed"
        if found == "accept":
            return f"accepted: {judged}"
        if found == "not judged":
            return "not judged: the recipe simulates nothing"
        open_ = [one for one in self.counted if one.outcome == "cannot tell" and not one.note]
        if not open_:
            return f"cannot tell: {judged}, and no dynamics was run"
        return f"cannot tell: {'; '.join(_said(one) for one in open_[:3])}{' ...' if len(open_) > 3 else ''}"

    def as_data(self) -> dict[str, Any]:
        """Return it JSON-able, with None where there is no number."""
        criteria = [{name: _finite(value) for name, value in asdict(one).items()} for one in self.criteria]
        levels = {str(level): outcome for level, outcome in self.levels.items()}
        return {"decision": self.decision, "sentence": self.sentence, "levels": levels, "criteria": criteria}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Verdict:
        """Return what :meth:`as_data` said."""
        return cls(tuple(_criterion(one) for one in data["criteria"]))


def _criterion(data: Mapping[str, Any]) -> Criterion:
    """Return a criterion as JSON has it, NaN for None."""
    given: dict[str, Any] = {name: math.nan if value is None else value for name, value in data.items()}
    return Criterion(**given)


def _together(outcomes: Sequence[Outcome]) -> Judged:
    """Return how a level ended."""
    if not outcomes:
        return "not judged"
    return "fail" if "fail" in outcomes else "cannot tell" if "cannot tell" in outcomes else "pass"


def _said(one: Criterion) -> str:
    return f"{one.quantity} ({one.why})" if one.why else one.quantity


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
