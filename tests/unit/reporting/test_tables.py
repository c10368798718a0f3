"""Tables and verdict: seeds are gathered honestly, numbers are written with their units, failures are said."""

from dataclasses import replace

import numpy as np
import pytest

from distill.analysis.errors import Difference
from distill.reporting.data import Curve, Model, ReportData, in_order
from distill.reporting.tables import Cell, ErrorTable, entry, main_table, show
from distill.reporting.verdict import conclude

ROW = {
    "model": "painn",
    "variant": "distilled",
    "seed": 0,
    "split": "test",
    "reference": "dft",
    "config_type": "all",
    "quantity": "forces",
    "statistic": "mae",
    "value": 0.15,
    "low": 0.14,
    "high": 0.16,
    "unit": "eV/Å",
    "n": 60,
}
TEACHER = ROW | {"model": "teacher", "variant": "finetuned", "value": 0.13, "low": 0.12, "high": 0.14}
ZERO_SHOT = TEACHER | {"variant": "zero_shot", "value": 0.29, "low": 0.27, "high": 0.31}
DIRECT = ROW | {"variant": "direct", "value": 0.25, "low": 0.22, "high": 0.28}
STUDENT = Model("painn", "distilled")


def sentences(*rows, **parts) -> list[tuple[str, str]]:
    data = ReportData(name="x", metrics=rows, **parts)
    return [(s.tone, s.text) for s in conclude(data, ErrorTable(rows)).sentences]


def test_order_is_teacher_then_distilled_then_direct():
    shuffled = [
        Model("b", "direct"),
        Model("a", "direct"),
        Model("teacher", "finetuned"),
        Model("b", "distilled"),
        Model("teacher", "zero_shot"),
        Model("a", "distilled"),
    ]
    assert [f"{m.model} {m.variant}" for m in in_order([*shuffled, *shuffled])] == [
        "teacher zero_shot",
        "teacher finetuned",
        "b distilled",
        "a distilled",
        "b direct",
        "a direct",
    ]


def test_one_seed_shows_its_interval_and_several_their_range():
    one = ErrorTable([ROW]).cell(STUDENT, "forces")
    assert show(one, "forces") == "150 [140–160]"
    three = ErrorTable([ROW | {"seed": s, "value": v} for s, v in enumerate((0.1, 0.2, 0.18))]).cell(STUDENT, "forces")
    assert (three.value, three.low, three.high) == pytest.approx((0.16, 0.1, 0.2), rel=1e-12)
    assert show(three, "forces") == "160 [100–200]"


def test_a_seed_without_a_number_spoils_the_mean():
    rows = [ROW, ROW | {"seed": 1, "value": "", "low": "", "high": ""}]
    assert show(ErrorTable(rows).cell(STUDENT, "forces"), "forces") == "not finite"


@pytest.mark.parametrize(
    ("cell", "quantity", "statistic", "text"),
    [
        (Cell(0.01, None, None, 1, 5, ()), "stress", "mae", "1.60"),
        (Cell(0.0123, 0.01, 0.02, 1, 5, ()), "energy_per_atom", "rmse", "12.3 [10.0–20.0]"),
        (Cell(0.98765, 0.9, 1.0, 1, 5, ()), "forces", "r2", "0.988 [0.900–1.000]"),
        (Cell(None, None, None, 1, 5, ()), "forces", "r2", "undefined"),
        (Cell(1e5, None, None, 1, 5, ()), "forces", "mae", "1.0e+08"),
        (None, "forces", "mae", "–"),
    ],
)
def test_numbers_are_written_in_the_units_of_the_page(cell, quantity, statistic, text):
    assert show(cell, quantity, statistic) == text


def test_entry_sets_the_interval_aside():
    assert entry(ErrorTable([ROW]).cell(STUDENT, "forces"), "forces") == ("150", "[140–160]")


def test_the_test_set_is_shown_where_there_is_one():
    assert ErrorTable([ROW | {"split": "valid"}, ROW]).split == "test"
    assert ErrorTable([ROW | {"split": "valid"}]).split == "valid"
    assert ErrorTable([]).split == ""


def test_a_diverged_model_keeps_its_row():
    table = main_table(ErrorTable([ROW]), {Model("painn", "direct"): "diverged"})
    assert [[cell.main for cell in row] for row in table.rows] == [
        ["painn, distilled", "150"],
        ["painn, direct", "diverged"],
    ]


def test_distillation_that_helps_is_said_with_its_gain():
    (student, adapted, finetuning) = sentences(ROW, DIRECT, TEACHER, ZERO_SHOT)
    assert adapted[0] == "good"
    assert student[0] == "good"
    assert "distillation lowers the error by 40 %." in student[1]
    assert "its fine-tuned teacher has 130 [120–140] meV/Å" in student[1]
    assert finetuning == (
        "good",
        "Fine-tuning lowered the teacher's force error from 290 [270–310] meV/Å to 130 [120–140] meV/Å (55 % less).",
    )


def test_overlapping_intervals_are_no_success():
    ((tone, text),) = sentences(ROW, DIRECT | {"value": 0.16, "low": 0.15, "high": 0.17})
    assert tone == "note"
    assert "this may be chance" in text


def test_a_paired_difference_decides_where_it_is_known():
    data = ReportData(
        name="x",
        metrics=[ROW, DIRECT | {"value": 0.16, "low": 0.15, "high": 0.17}],
        gains={ROW["model"]: Difference(0.04, 0.01, 0.07)},
    )
    (sentence,) = conclude(data, ErrorTable(data.metrics)).sentences
    assert sentence.tone == "good"
    assert "by 40.0 [10.0–70.0] meV/Å where both are compared structure by structure" in sentence.text


def test_distillation_that_does_not_help_is_said():
    data = ReportData(name="x", metrics=[ROW | {"value": 0.3}, DIRECT])
    conclusion = conclude(data, ErrorTable(data.metrics))
    assert conclusion.tone == "bad"
    assert conclusion.headline == "Look closer: 1 of 1 checks failed."
    assert "did not help, its error is 20 % higher" in conclusion.sentences[0].text


def test_a_student_without_finite_numbers_fails():
    ((tone, text),) = sentences(ROW | {"value": None, "low": None, "high": None}, DIRECT)
    assert tone == "bad"
    assert "not finite" in text


@pytest.mark.parametrize(
    ("value", "low", "high", "tone", "said"),
    [
        (0.18, 0.17, 0.19, "good", "is better than the foundation model as it comes (290 [270–310] meV/Å)"),
        (0.28, 0.26, 0.30, "note", "may be better"),
        (0.49, 0.47, 0.50, "bad", "is no better than"),
    ],
)
def test_a_student_is_compared_with_the_model_that_costs_nothing(value, low, high, tone, said):
    """Also where there is no direct student: then it is the only judgement of its accuracy."""
    found = sentences(ROW | {"value": value, "low": low, "high": high}, ZERO_SHOT)
    assert found[1][0] == tone
    assert said in found[1][1]


def test_what_is_forgotten_is_said(report_data):
    data = ReportData(name="x", tuning=report_data.tuning)
    (sentence,) = conclude(data, ErrorTable(())).sentences
    assert sentence.tone == "note"
    assert "on 3 other materials by 290 meV/Å on average (they are 1400 meV/Å)" in sentence.text


def test_fine_tuning_that_hurts_is_said():
    ((tone, text),) = sentences(TEACHER | {"value": 0.4}, ZERO_SHOT)
    assert tone == "bad"
    assert text.startswith("Fine-tuning did not help")


@pytest.mark.parametrize(("variant", "tone"), [("distilled", "bad"), ("direct", "note"), ("finetuned", "bad")])
def test_a_training_that_diverged_is_never_hidden(variant, tone):
    curve = Curve(Model("m", variant), *np.zeros((4, 0)), status="diverged", note="loss was NaN at step 40")
    ((said, text),) = sentences(curves=[curve])
    assert said == tone
    assert "diverged: loss was NaN at step 40." in text


def test_a_student_that_fails_a_simulation_fails(report_data):
    failed = next(run for run in report_data.dynamics if not run.verdict.survived)
    ((tone, text),) = sentences(dynamics=[replace(failed, of=STUDENT)])
    assert tone == "bad"
    assert text.startswith("painn, distilled: failed 1 of 1 simulations (64 atoms, 1200 K: it stopped after")


def test_the_lattice_constant_is_compared_with_the_teachers(report_data):
    curves = [c for c in report_data.energy_volume if c.of.variant in ("finetuned", "distilled")]
    ((tone, text),) = sentences(energy_volume=curves)
    teacher, student = (c.fit.lattice_constant(8) for c in curves)
    assert tone == "note"
    assert f"{100 * (student / teacher - 1):+.1f} %".replace("-", "−") in text


def test_what_the_direct_student_does_better_is_said():
    energy = {"quantity": "energy_per_atom", "unit": "eV/atom"}
    rows = [
        *(ROW, DIRECT),
        ROW | energy | {"value": 0.04, "low": 0.03, "high": 0.05},
        DIRECT | energy | {"value": 0.01, "low": 0.005, "high": 0.02},
    ]
    data = ReportData(name="x", metrics=rows)
    texts = [s.text for s in conclude(data, ErrorTable(data.metrics)).sentences]
    assert any(
        "The direct painn is better in energy (10.0 [5.0–20.0] against 40.0 [30.0–50.0] meV/atom)." in t for t in texts
    )
