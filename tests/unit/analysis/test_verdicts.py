"""What follows from criteria, and which side of the error triangle limits a student."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from distill.analysis import criteria
from distill.analysis.softening import softening
from distill.analysis.triangle import Side, triangle
from distill.analysis.verdicts import Criterion, Verdict


def verdict(*outcomes: tuple[int, Any]) -> Verdict:
    return Verdict(tuple(Criterion(level, f"quantity {level}", outcome) for level, outcome in outcomes))


@pytest.mark.parametrize(
    ("outcomes", "decision"),
    [
        ([], "not judged"),
        ([(1, "pass")], "cannot tell"),  # nothing is known of dynamics
        ([(0, "pass"), (2, "pass")], "accept"),
        ([(2, "pass"), (4, "cannot tell"), (5, "pass")], "cannot tell"),
        ([(2, "pass"), (4, "cannot tell"), (5, "fail")], "reject"),
        ([(1, "fail"), (2, "pass")], "reject"),
    ],
)
def test_decisions(outcomes: list[tuple[int, Any]], decision: str) -> None:
    assert verdict(*outcomes).decision == decision


def test_what_loses_atoms_is_not_asked_about_diffusion() -> None:
    found = verdict((0, "pass"), (1, "fail"), (2, "fail"), (4, "pass"), (5, "fail"))
    assert [found.levels[level] for level in range(7)] == [
        *("pass", "fail", "fail", "not judged", "not judged", "not judged", "not judged"),
    ]
    assert "quantity 5" not in found.sentence and found.sentence.startswith("rejected: quantity 1; quantity 2")


def test_a_note_decides_nothing() -> None:
    noted = Verdict((Criterion(2, "survival", "pass"), Criterion(6, "D against experiment", "fail", note=True)))
    assert noted.decision == "accept" and noted.levels[6] == "not judged"


def test_a_verdict_is_read_as_it_was_written() -> None:
    first = Verdict((Criterion(4, "g", "fail", difference=0.1, low=0.08, high=0.12, why="apart"),))
    again = Verdict.from_data(json.loads(json.dumps(first.as_data(), allow_nan=False)))
    assert math.isnan(again.criteria[0].value) and again.as_data() == first.as_data()


def test_static_quantities_and_flaws() -> None:
    mine = {"kind": "elastic", "structure": "Si", "level": 1, "flaws": [], "sound": "it is stable"}
    quantity = {"name": "C11", "value": 160.0, "unit": "GPa", "tolerance": "10 %"}
    mine["quantities"] = [quantity, quantity | {"name": "C12", "value": None, "why": "did not relax"}]
    teacher = mine | {"quantities": [quantity | {"value": 150.0}, quantity | {"name": "C12", "value": 60.0}]}
    flawless, c11, c12 = criteria.static([mine], [teacher])
    assert (flawless.outcome, c11.outcome, c12.outcome) == ("pass", "pass", "cannot tell")
    assert c11.tolerance == pytest.approx(15.0) and c11.difference == pytest.approx(10.0)
    (flawed,) = criteria.static([mine | {"flaws": ["its energy falls"], "quantities": []}], [])
    assert flawed.outcome == "fail" and flawed.why == "its energy falls"
    soft = mine | {"flaws": ["a strain lowers the energy"], "quantities": []}
    assert [one.outcome for one in criteria.static([soft], [soft])] == ["cannot tell"]  # the teacher's own


def test_all_frequencies_are_compared_at_the_same_wave_vectors() -> None:
    highest = {"name": "highest frequency", "value": 3.0, "unit": "THz", "tolerance": "10%"}
    teacher = {"kind": "phonons", "structure": "Cu", "level": 1, "quantities": [highest], "wave_vectors": [[0.5, 0, 0]]}
    teacher["frequencies"] = [[1.0, 2.0, 3.0]]
    *_, near = criteria.static([teacher | {"frequencies": [[1.1, 2.1, 3.1]]}], [teacher])
    *_, far = criteria.static([teacher | {"frequencies": [[1.4, 2.4, 3.4]]}], [teacher])
    assert (near.quantity, near.outcome, far.outcome) == ("all frequencies of Cu", "pass", "fail")
    assert far.difference == pytest.approx(0.4) and far.tolerance == pytest.approx(0.1 * math.sqrt(14 / 3))
    *_, other = criteria.static([teacher | {"wave_vectors": [[0.25, 0, 0]]}], [teacher])
    assert other.outcome == "cannot tell" and other.why == "the teacher has them at other wave vectors"


def test_forces_on_own_structures_are_compared_with_the_test_set() -> None:
    test = Side(0.1, 0.095, 0.105)
    outcomes = {
        scale: criteria.on_policy("run", [0.1 * scale, 0.11 * scale, 0.09 * scale], test).outcome
        for scale in (1, 1.5, 3)
    }
    assert outcomes == {1: "pass", 1.5: "cannot tell", 3: "fail"}
    assert criteria.on_policy("run", [], test).outcome == "cannot tell"


def test_forces_that_are_too_small_are_soft() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 400, 3))
    outcomes = [
        criteria.soft(softening(slope * truth + 0.05 * noise, truth, np.full(40, 10))).outcome
        for slope in (1, 0.7, 1.4)
    ]
    assert outcomes == ["pass", "fail", "fail"]
    assert criteria.soft(softening(truth[:40], truth[:40], np.full(4, 10))).outcome == "cannot tell"


def rows(teacher: float, between: float, student: float) -> list[dict[str, str]]:
    head = {"split": "test", "config_type": "all", "quantity": "forces", "statistic": "rmse", "seed": "0"}
    return [
        head | who | {"value": str(x), "low": str(0.95 * x), "high": str(1.05 * x)}
        for who, x in (
            ({"model": "teacher", "variant": "finetuned", "reference": "dft"}, teacher),
            ({"model": "painn", "variant": "distilled", "reference": "teacher"}, between),
            ({"model": "painn", "variant": "distilled", "reference": "dft"}, student),
        )
    ]


def test_which_side_limits() -> None:
    def limit(teacher: float, between: float, overfit: float | None = None) -> str:
        found = triangle(rows(teacher, between, 0.2), "painn", "distilled", 0, overfit)
        assert found is not None and found.uncorrelated == pytest.approx(math.hypot(teacher, between))
        return found.limit

    assert limit(0.1, 0.05) == "the teacher"
    assert limit(0.1, 0.05, overfit=0.2) == "data"
    assert limit(0.05, 0.1, overfit=0.2) == "the student"
    assert limit(0.1, 0.1) == "teacher and student alike"
    assert triangle(rows(0.1, math.nan, 0.2), "painn", "distilled", 0) is None
