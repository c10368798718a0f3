"""What finished tasks say of a student, as criteria of its verdict: one function a source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distill.analysis.means import mean, quantile
from distill.analysis.phonons import frequency_difference, frequency_scale
from distill.analysis.replicas import Outcome
from distill.analysis.softening import Softening
from distill.analysis.triangle import Side
from distill.analysis.verdicts import Criterion
from distill.base.artifact import Artifact
from distill.base.conventions import CLOSEST_RATIO
from distill.base.tolerances import absolute

ON_POLICY = 1.5
"""Force error on a student's own structures, over that on the test set, up to which it passes."""
SOFT = 0.1
"""How far the slope of forces against the teacher's may be from 1."""
DRIFT = 1.0
"""Drift of the total energy over the thermal spread of the kinetic energy below which a run passes."""


def static(mine: Sequence[Mapping[str, Any]], teacher: Sequence[Mapping[str, Any]]) -> Iterator[Criterion]:
    """Yield what results of static physics say: flaws fail, quantities are compared with the teacher's.

    Args:
        mine: results of the student, as ``result.json`` has them.
        teacher: those of the teacher.
    """
    theirs = {quantity["name"]: quantity for result in teacher for quantity in result.get("quantities", ())}
    unsound = {(result["kind"], result["structure"]) for result in teacher if result.get("flaws")}
    for result in mine:
        level = int(result.get("level", 1))
        what = f"{result['kind'].replace('_', ' ')} of {result['structure']}"
        if flaws := result.get("flaws"):
            yield _flawed(level, what, flaws, shared=level == 1 and (result["kind"], result["structure"]) in unsound)
        elif sound := result.get("sound"):
            yield Criterion(level, what, "pass", why=sound)
        for quantity in result.get("quantities", ()):
            if quantity["name"] in theirs:
                yield _static(level, quantity, theirs[quantity["name"]])
        yield from _spectrum(level, result, teacher)


def _spectrum(level: int, mine: Mapping[str, Any], teacher: Sequence[Mapping[str, Any]]) -> Iterator[Criterion]:
    """Yield how far all frequencies of a crystal are from the teacher's, where both have some."""
    same = (one for one in teacher if (one["kind"], one["structure"]) == ("phonons", mine["structure"]))
    theirs = next(same, {})
    if mine["kind"] != "phonons" or "frequencies" not in mine or "frequencies" not in theirs:
        return
    name = f"all frequencies of {mine['structure']}"
    difference = frequency_difference(mine, theirs)
    if difference is None:
        yield Criterion(level, name, "cannot tell", unit="THz", why="the teacher has them at other wave vectors")
        return
    tolerance = absolute(mine["quantities"][0]["tolerance"], frequency_scale(theirs))
    outcome: Outcome = "pass" if difference <= tolerance else "fail"
    why = "" if outcome == "pass" else f"{difference:.3g} THz from the teacher's, root mean square"
    yield Criterion(level, name, outcome, difference=difference, tolerance=tolerance, unit="THz", why=why)


def _flawed(level: int, what: str, flaws: Sequence[str], shared: bool) -> Criterion:
    """Return a failure, or where a crystal is flawed with the teacher too, that the student cannot be told by it."""
    said = "; ".join(flaws)
    if shared:
        return Criterion(level, what, "cannot tell", why=f"{said}; the teacher is not sound there either")
    return Criterion(level, what, "fail", why=said)


def _static(level: int, mine: Mapping[str, Any], teacher: Mapping[str, Any]) -> Criterion:
    """Return how a number without noise compares with the teacher's."""
    name, unit = mine["name"], mine["unit"]
    if teacher["value"] is None:
        return Criterion(level, name, "cannot tell", unit=unit, why=f"the teacher has none: {teacher['why']}")
    if mine["value"] is None:
        return Criterion(level, name, "cannot tell", reference=teacher["value"], unit=unit, why=mine["why"])
    tolerance = absolute(mine["tolerance"], teacher["value"])
    off = mine["value"] - teacher["value"]
    outcome: Outcome = "pass" if abs(off) <= tolerance else "fail"
    why = "" if outcome == "pass" else f"{mine['value']:.4g} {unit} and not {teacher['value']:.4g}"
    return Criterion(
        level, name, outcome, mine["value"], teacher["value"], off, tolerance=tolerance, unit=unit, why=why
    )


def survived(result: Mapping[str, Any]) -> Criterion:
    """Return what the survival of a Langevin run says."""
    verdict = result["verdict"]
    outcome: Outcome = "pass" if verdict["survived"] else "fail"
    what = f"{result['structure']}, {result['atoms']} atoms at {result['temperature']:g} K"
    return Criterion(2, what, outcome, why="; ".join(verdict["reasons"]))


def runs(replicas: Sequence[Artifact]) -> Iterator[Criterion]:
    """Yield whether all replicas of one run with a student reached their end, whole, and with how much drift."""
    name, summaries = str(replicas[0].labels["run"]), [one.summary for one in replicas]
    broke = [one["broke"] for one in summaries if one["broke"]]
    ended = [one for one in summaries if not one["broke"]]
    if broke:
        why = f"{len(broke)} of {len(summaries)} replicas broke: {broke[0]}"
        yield Criterion(2, f"{name}: survival", "fail", why=why)
    elif (closest := min(one["closest"] for one in ended)) < CLOSEST_RATIO:
        why = f"two atoms came as near as {closest:.2f} of the sum of their covalent radii"
        yield Criterion(2, f"{name}: survival", "fail", why=why)
    else:
        yield Criterion(2, f"{name}: survival", "pass", why=f"{len(ended)} of {len(ended)} replicas")
    drifts = [one["drift"] for one in ended if one["drift"] is not None]
    if drifts:
        outcome: Outcome = "pass" if max(drifts) < DRIFT else "fail"
        why = "" if outcome == "pass" else f"the total energy drifts by {max(drifts):.2g} of its thermal spread"
        yield Criterion(2, f"{name}: energy drift", outcome, max(drifts), tolerance=DRIFT, why=why)


def soft(found: Softening) -> Criterion:
    """Return whether a student's forces are as large as its teacher's far from equilibrium: a slope of 1 ± 0.1."""
    low, high = found.low - 1, found.high - 1
    outcome: Outcome = "cannot tell"
    if low > -SOFT and high < SOFT:
        outcome = "pass"
    elif high < -SOFT or low > SOFT:
        outcome = "fail"
    why = found.reason or (f"they are {found.slope:.2f} times as large" if outcome != "pass" else "")
    return Criterion(
        3,
        "unseen structures: size of the largest forces",
        outcome,
        value=found.slope,
        reference=1.0,
        difference=found.slope - 1,
        low=low,
        high=high,
        tolerance=SOFT,
        why=why,
    )


def lost(run: str, replicas: int) -> Criterion:
    """Return what replicas that ended with an error leave open."""
    why = f"{replicas} {'replicas' if replicas > 1 else 'replica'} ended with an error, which is tried again"
    return Criterion(2, f"{run}: all replicas", "cannot tell", why=why)


def on_policy(run: str, errors: Sequence[float], test: Side | None) -> Criterion:
    """Return how the force error on a student's own structures compares with that on the test set.

    Both are against the teacher. The interval is that of the ratio, on a logarithmic scale: that of the replicas'
    mean, and the bootstrap over test structures.

    Args:
        run: its name.
        errors: mean absolute force error of each replica, eV/Å.
        test: that of the test set, eV/Å; None where it is not known.
    """
    name = f"{run}: force error on its own structures"
    found = mean([error for error in errors if math.isfinite(error)])
    if test is None or math.isnan(test.low) or not found.value > 0 or not test.value > 0:
        return Criterion(3, name, "cannot tell", unit="eV/Å", why="there is nothing to compare")
    ratio = found.value / test.value
    known = (
        found.deviation / math.sqrt(found.n) / found.value * quantile(max(1, found.n - 1)) if found.n > 1 else math.nan
    )
    spread = math.log(test.high / test.low) / 2 if test.low > 0 else math.nan
    half = math.hypot(known, spread)
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    outcome: Outcome = "pass" if high < ON_POLICY else "fail" if low > ON_POLICY else "cannot tell"
    why = f"{ratio:.2f} times that of the test set" if outcome != "pass" else ""
    return Criterion(3, name, outcome, found.value, test.value, ratio, low, high, ON_POLICY, "eV/Å", why)
