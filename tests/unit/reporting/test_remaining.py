"""What the report says of the teacher's remaining error: where more DFT should go, and what several teachers gave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from distill.analysis.errors import Difference
from distill.analysis.reliability import Reliability
from distill.reporting.data import Parity, ReportData
from distill.reporting.models import Model
from distill.reporting.remaining import remaining_sentences, shares_of, teacher_sentences, teachers_table
from distill.reporting.tables import ErrorTable
from distill.reporting.teachers import Member, Teachers

TEACHER = Model("teacher", "finetuned")


def row(family: str, value: float, low: float, high: float) -> dict[str, Any]:
    head = {"model": "teacher", "variant": "finetuned", "seed": 0, "split": "test", "reference": "dft"}
    numbers = {"value": value, "low": low, "high": high, "n": 2}
    return head | {"config_type": family, "quantity": "forces", "statistic": "mae"} | numbers


def data(liquid: float) -> ReportData:
    """Two liquid structures with errors of so much, two crystals with errors of 0.1 eV/Å, one atom each."""
    predicted = np.repeat([liquid, 0.1], 6).reshape(4, 3)
    parity = Parity(
        TEACHER,
        np.ones(4),
        ["liquid", "liquid", "crystal", "crystal"],
        reference_forces=np.zeros((4, 3)),
        predicted_forces=predicted,
    )
    return ReportData("x", parity=[parity], train_families={"liquid": 8, "crystal": 17})


def test_where_a_family_stands_out_further_dft_should_go_there() -> None:
    """Squared errors: 6 · 0.09 and 6 · 0.01, so that nine tenths lie in the liquid."""
    table = ErrorTable([row("liquid", 0.3, 0.25, 0.35), row("crystal", 0.1, 0.08, 0.12)])
    (sentence,) = remaining_sentences(data(0.3), table)
    assert "90 % lies in liquid, which has 50 % of the forces: 300 [250–350] meV/Å there" in sentence
    assert "Further DFT structures should be of liquid (8 of 25 training structures)." in sentence


def test_where_ranges_overlap_no_family_is_named_for_more() -> None:
    table = ErrorTable([row("liquid", 0.12, 0.09, 0.15), row("crystal", 0.1, 0.08, 0.12)])
    (sentence,) = remaining_sentences(data(0.12), table)
    assert "should be of" not in sentence and "overlap" in sentence


def test_a_single_family_or_a_broken_teacher_says_nothing() -> None:
    table = ErrorTable([row("liquid", 0.3, 0.2, 0.4)])
    one = replace(data(0.3).parity[0], config_type=["liquid"] * 4)
    assert remaining_sentences(ReportData("x", parity=[one]), table) == []
    assert remaining_sentences(data(float("nan")), table) == []
    assert remaining_sentences(ReportData("x"), table) == []


def two(low: float, high: float) -> Teachers:
    middle = Difference((low + high) / 2, low, high)
    best = Member("diep", "diep-2.0", 0.6, 0.1, 0.01, Difference(0.11, 0.1, 0.12), middle)
    other = Member("chgnet", "chgnet-0.3", 0.4, 0.2, 0.02, Difference(0.2, 0.1, 0.3), Difference(0.1, 0.09, 0.11))
    return Teachers([other, best])


@pytest.mark.parametrize(
    ("low", "high", "tone", "said"),
    [
        (0.002, 0.010, "good", "errs less than the best by validation, diep, by 6.0 [2.0 to 10.0] meV/Å"),
        (-0.002, 0.010, "note", "by 4.0 [−2.0 to 10.0] meV/Å, structure by structure: the range holds zero"),
        (-0.010, 0.002, "note", "errs more than the best by validation, diep, by 4.0 [−2.0 to 10.0] meV/Å, structure"),
        (-0.010, -0.002, "bad", "errs more than the best by validation, diep, by 6.0 [2.0 to 10.0] meV/Å"),
    ],
)
def test_the_mean_is_compared_with_the_best_by_validation(low: float, high: float, tone: str, said: str) -> None:
    ((found, text),) = teacher_sentences(two(low, high))
    assert found == tone and said in text


def test_the_spread_and_what_it_left_out_are_said() -> None:
    known = Reliability((1.0,), (2.0,), 0.82, 0.7, 0.9, 2.0, ())
    said = [text for _, text in teacher_sentences(Teachers([], {"forces": known}, left_out=1, limit=0.5))]
    assert said[0].endswith("with Spearman 0.82 [0.70–0.90]; errors are 2.0 times as large as the spread.")
    assert said[1].startswith("1 grown structure was left out") and "than 500 meV/Å" in said[1]
    assert teacher_sentences(None) == [] and teachers_table(None) is None


def test_every_member_is_in_the_table_also_one_without_a_part(report_data: ReportData) -> None:
    table = teachers_table(report_data.teachers)
    assert table is not None
    assert [cells[0].main for cells in table.rows] == ["diep", "chgnet", "broken"]
    assert table.rows[2][1] == ("0.00", "no part in it") and table.rows[2][4].main == "–"
    assert table.rows[0][4] == ("140.0", "[130–150]")


def test_shares_need_a_teacher() -> None:
    assert shares_of([replace(data(0.3).parity[0], of=Model("painn", "distilled"))]) == []
