"""Selecting and gathering: every model once, keys found, failures counted, means and intervals those of Student's t."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_sweep import CUTOFF, SIZE, Maker

from distill.base.errors import UserError
from distill.studies.errors import Choice, Tables, select
from distill.studies.groups import compared, gathered, say, teacher_values, with_series
from distill.studies.keys import find_key, keys_of, values


def test_a_key_is_one_key_whichever_student_it_is_of():
    frame = pd.DataFrame(
        {
            "model": ["painn", "ace", "teacher"],
            "students.painn.cutoff": [4.0, np.nan, np.nan],
            "students.ace.cutoff": [np.nan, 6.0, np.nan],
            "synthetic.structures": [30, 30, np.nan],
            "students.*.structures": [10, 20, np.nan],
            "teacher.model": ["a", "a", "b"],
        }
    )
    keys = keys_of(frame.columns, ["model"])
    names = {key.path: key.name for key in keys}
    assert names == {
        "students.*.cutoff": "cutoff",
        "synthetic.structures": "synthetic.structures",
        "students.*.structures": "students.structures",
        "teacher.model": "teacher.model",
    }
    assert values(frame, keys[0]).tolist() == pytest.approx([4.0, 6.0, math.nan], nan_ok=True)
    for asked in ("cutoff", "students.painn.cutoff", "students.*.cutoff"):
        assert find_key(keys, asked) is keys[0]
    with pytest.raises(UserError, match=r"end of several swept keys. Name one of"):
        find_key(keys, "structures")
    with pytest.raises(UserError, match=r"not a swept key. Did you mean 'students.\*.cutoff'"):
        find_key(keys, "student.cutoff")


def test_truth_values_lists_and_null_are_names():
    frame = pd.DataFrame({"model": ["m"] * 3, "a.b": [True, False, None], "a.c": ["[1, 2]", "null", "3"]})
    found = [values(frame, key).tolist() for key in keys_of(frame.columns, [])]
    assert found[0][:2] == ["true", "false"] and math.isnan(found[0][2])
    assert found[1] == ["[1, 2]", "null", "3"]
    lists = pd.DataFrame({"model": ["m"] * 2, "a.b": [[0.1, 0.4], {"x": 1}]})
    assert values(lists, keys_of(lists.columns, [])[0]).tolist() == ["[0.1, 0.4]", "{'x': 1}"]


def test_a_model_that_several_variants_share_is_counted_once():
    """Eighteen rows of six direct models would halve the interval of their mean."""
    made = Maker((CUTOFF, SIZE))
    made.add_seeds("painn", "direct", (0.30, 0.31, 0.33), at={CUTOFF: 4.0})
    metrics = pd.concat([made.tables.metrics.assign(sweep=name) for name in "abc"])
    found = gathered(select(metrics, Choice()).rows, ["model"], Choice()).iloc[0]
    interval = stats.t.interval(0.95, 2, np.mean([300, 310, 330]), stats.sem([300, 310, 330]))
    assert found["n"] == 3
    assert (found["low"], found["high"]) == pytest.approx(interval, rel=1e-9)


def test_means_intervals_and_the_best_by_validation():
    made = Maker((CUTOFF,))
    for seed, (error, loss) in enumerate([(0.10, 3.0), (0.12, 1.0), (0.14, 2.0)]):
        made.add("painn", "distilled", error, seed=seed, valid_loss=loss, at={CUTOFF: 4.0})
    made.add("painn", "distilled", 0.5, at={CUTOFF: 5.0})
    table = gathered(select(made.tables, Choice()).rows, ["cutoff"], Choice())
    assert table["mean"].tolist() == pytest.approx([120, 500])
    assert table["best"].tolist() == pytest.approx([120, 500])
    assert table["deviation"].tolist() == pytest.approx([20, math.nan], nan_ok=True)
    assert table["interval"].tolist() == ["95 %", "cannot tell"]
    assert set(table["unit"]) == {"meV/Å"}


def test_failed_models_are_counted_wherever_they_are_known_from():
    """A diverged one has rows without values; one whose training had an error is in another table alone."""
    made = Maker((CUTOFF,))
    made.add("painn", "distilled", 0.1, seed=0, at={CUTOFF: 4.0})
    made.add("painn", "distilled", 0.1, seed=1, status="diverged", at={CUTOFF: 4.0})
    made.add("painn", "distilled", 0.1, seed=2, status="failed", at={CUTOFF: 4.0})
    made.add("painn", "distilled", 0.1, seed=3, at={CUTOFF: 4.0})
    metrics, models, failures = made.tables.metrics, made.tables.models, made.tables.failures
    lost = metrics["seed"] == 3
    metrics = metrics.assign(value=metrics["value"].where(~lost))
    failures = pd.concat([failures, failures.assign(model="", variant="", seed="", stage="generate")])
    for tables in (Tables(metrics, models), Tables(metrics, models, failures), Tables(metrics, None, failures)):
        found = gathered(select(tables, Choice()).rows, ["model"], Choice()).iloc[0]
        assert (found["n"], found["n_failed"]) == (1, 3)
        assert found["failed"] == "diverged, failed, no value"
        assert found["mean"] == pytest.approx(100)


def test_a_model_that_was_never_trained_is_counted_as_that(learning):
    tables = learning.tables
    skipped = tables.models.assign(status=tables.models["status"].where(tables.models["seed"] != 2, "not trained"))
    kept = tables.metrics[tables.metrics["seed"] != 2]
    rows = select(Tables(kept, skipped), Choice()).rows
    assert rows["status"].value_counts()["not trained"] == 8
    assert len(rows) == len(select(tables, Choice()).rows)


def test_a_model_judged_on_several_sets_has_a_row_for_each():
    """A direct student on the unseen families of two pools, and on one test set that both variants have in common."""
    made = Maker(("synthetic.structures",))
    made.add_seeds("painn", "direct", (0.3, 0.32))
    metrics = made.tables.metrics
    here, there = (
        metrics.assign(split="synthetic", value=metrics["value"] + more, **{"synthetic.structures": size})
        for more, size in ((0.0, 30), (0.1, 300))
    )
    rows = select(pd.concat([metrics, here, there]), Choice(reference="teacher", split="synthetic")).rows
    assert gathered(rows, ["structures"], Choice())["mean"].tolist() == pytest.approx([310, 410])
    assert len(select(pd.concat([metrics, metrics]), Choice()).rows) == 2


def test_a_failure_of_a_later_stage_loses_no_model(learning):
    tables = learning.tables
    late = tables.failures.assign(stage="simulate", seed=0, **{SIZE: 300, CUTOFF: 5.0})
    assert select(tables, Choice()).rows["failed"].sum() == 2
    assert select(Tables(tables.metrics, tables.models, late), Choice()).rows["failed"].sum() == 2


def test_tables_read_from_files_are_the_same(learning, tmp_path):
    for name in ("metrics", "models", "failures"):
        getattr(learning.tables, name).to_csv(tmp_path / f"{name}.csv", index=False)
    pd.testing.assert_frame_equal(
        select(Tables.read(tmp_path), Choice()).rows, select(learning.tables, Choice()).rows, check_dtype=False
    )
    with pytest.raises(UserError, match=r"has no metrics.csv"):
        Tables.read(tmp_path / "elsewhere")


def test_what_is_not_there_is_named(learning):
    with pytest.raises(UserError, match=r"unknown quantity 'force'. Did you mean 'forces'"):
        select(learning.tables, Choice(quantity="force"))
    with pytest.raises(UserError, match="no row with split 'synthetic'"):
        select(learning.tables, Choice(reference="teacher", split="synthetic"))
    with pytest.raises(UserError, match="no column value"):
        select(learning.tables.metrics.drop(columns="value"), Choice())


def test_each_student_has_the_teacher_of_its_own_repeat_and_keys():
    made = Maker(("teacher.model", CUTOFF))
    for repeat, more in ((0, 0.0), (1, 0.01)):
        for name, error in (("a", 0.1), ("b", 0.2)):
            made.add("teacher", "finetuned", error + more, repeat=repeat, at={"teacher.model": name})
            for cutoff in (4, 5):
                at = {"teacher.model": name, CUTOFF: cutoff}
                made.add("painn", "distilled", 1.0, repeat=repeat, at=at)
    errors = select(made.tables, Choice())
    rows = errors.students
    found = teacher_values(errors, rows)
    expected = 1000 * (rows["teacher.model"].map({"a": 0.1, "b": 0.2}) + 0.01 * rows["repeat"])
    assert found.tolist() == pytest.approx(expected.tolist())


def test_keys_that_were_changed_together_are_one_series():
    zipped, grid = Maker((CUTOFF, SIZE)), Maker((CUTOFF, SIZE))
    for cutoff, size in ((4, 30), (5, 100)):
        zipped.add("painn", "distilled", 0.1, at={CUTOFF: cutoff, SIZE: size})
        for other in (30, 100):
            grid.add("painn", "distilled", 0.1, at={CUTOFF: cutoff, SIZE: other})
    for made, series in ((zipped, 1), (grid, 2)):
        errors = select(made.tables, Choice())
        assert with_series(errors.rows, errors.keys, "cutoff")["series"].nunique() == series
        assert with_series(errors.rows, errors.keys)["series"].nunique() == len(errors.rows)


def test_differences_compare_repeats_pairwise_where_there_are_several():
    """What both have in common, a bad teacher in one repeat, is in no difference."""
    first, second = (Maker(()) for _ in range(2))
    for repeat, common in enumerate((0.0, 0.2, 0.4)):
        first.add_seeds("painn", "distilled", (0.10 + common, 0.11 + common), repeat=repeat)
        second.add_seeds("painn", "direct", (0.20 + common, 0.21 + common), repeat=repeat)
    rows = [select(made.tables, Choice()).rows for made in (first, second)]
    paired, once = compared(*rows), compared(*[one[one["repeat"] == 0] for one in rows])
    assert (paired.value, paired.low, paired.high) == pytest.approx((-100, -100, -100), abs=1e-6)
    known = stats.ttest_ind([100, 110], [200, 210], equal_var=False).confidence_interval(0.95)
    assert (once.low, once.high) == pytest.approx((known.low, known.high), rel=1e-9)


def test_numbers_are_written_with_half_of_their_interval():
    assert say(pd.Series({"mean": 38.44, "low": 37.2, "high": 39.7}), "meV/Å") == "38.4 ± 1.2 meV/Å"
    assert say(pd.Series({"mean": -152.0, "low": math.nan, "high": math.nan})) == "−152"
    assert say(pd.Series({"mean": math.nan, "low": math.nan, "high": math.nan})) == "no number"
