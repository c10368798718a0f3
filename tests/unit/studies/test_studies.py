"""Every study: numbers of its table, units on its axes, failures in its figure, what it says when asked in vain."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from toy_sweep import CUTOFF, SIZE, Maker

from distill import studies
from distill.base.errors import UserError
from distill.studies.errors import Tables
from distill.studies.study import Study

LOSS, MODEL, SHOTS = "students.painn.loss.energy", "teacher.model", "data.n_train"
CHANNELS = "students.painn.channels"
TEMPERATURE, SURROGATE = "synthetic.temperature", "synthetic.surrogate"
FUNCTIONS, EMBEDDING = "students.ace.functions", "students.ace.embedding"


def with_a_failure(made: Maker, model: str = "painn", at: dict[str, object] | None = None) -> Tables:
    """The tables with one more student whose training had an error."""
    made.add(model, "distilled", 1.0, seed=9, status="failed", at=at)
    return made.tables


def of_teachers() -> Maker:
    made = Maker((MODEL, SHOTS))
    for name, shots, error in (("diep-2.0", 5, 0.20), ("diep-2.0", 25, 0.12), ("chgnet-0.3", 25, 0.16)):
        at = {MODEL: name, SHOTS: shots}
        made.add("teacher", "finetuned", error, at=at)
        made.add_seeds("painn", "distilled", (1.3 * error, 1.35 * error, 1.4 * error), at=at)
        made.add_seeds("painn", "direct", (0.5, 0.6 - error, 0.55), at={SHOTS: shots})
    return made


def of_values(key: str, found: dict[object, tuple[float, ...]], model: str = "painn", **how: object) -> Maker:
    """A sweep of one key: errors of the seeds at each value."""
    made = Maker((key,))
    made.add("teacher", "finetuned", 0.12)
    made.add_seeds(model, "direct", (0.30, 0.31, 0.32))
    for value, errors in found.items():
        made.add_seeds(model, "distilled", errors, at={key: value}, **how)
    return made


def of_ace() -> Maker:
    made = Maker((FUNCTIONS, EMBEDDING))
    made.add("teacher", "finetuned", 0.12)
    for functions in (100, 300):
        for embedding, worse in (("linear", 1.3), ("[[1.0, 1.0], [1.0, 0.5], [1.0, 0.25]]", 1.0)):
            errors = [0.2 * worse * seed * functions**-0.05 for seed in (1.0, 1.1)]
            made.add_seeds("ace", "distilled", errors, at={FUNCTIONS: functions, EMBEDDING: embedding})
    return made


def of_repeats() -> Maker:
    made = Maker((CUTOFF,))
    for repeat in range(3):
        made.add("teacher", "finetuned", 0.12 + 0.01 * repeat, repeat=repeat)
        for cutoff in (4, 5):
            errors = [0.15 + 0.02 * repeat + 0.001 * seed for seed in range(3)]
            made.add_seeds("painn", "distilled", errors, repeat=repeat, at={CUTOFF: cutoff})
    return made


def of_losses() -> Maker:
    made = of_values(LOSS, {})
    for weight, forces, energy in ((1, 0.14, 0.02), (10, 0.15, 0.01), (100, 0.2, 0.005)):
        made.add_seeds("painn", "distilled", (forces, 1.1 * forces), energy=energy, at={LOSS: weight})
    return made


@pytest.fixture(scope="module")
def asked(learning) -> dict[str, Study]:
    """Each study of a sweep that it fits, one model of each failed."""
    temperatures = {300: (0.15, 0.16), 1000: (0.14, 0.15), 3000: (0.16, 0.17)}
    surrogates = {"null": (0.15, 0.152, 0.156), "{student: painn}": (0.151, 0.155, 0.157)}
    teachers = with_a_failure(of_teachers(), at={MODEL: "diep-2.0", SHOTS: 25})
    growth = pd.DataFrame(
        {TEMPERATURE: [300, 1000, 3000], "generation": [4, 3, 2.2], "relative_energy": [20, 60, 140.0]}
    )
    return {
        "learning_curve": studies.learning_curve(learning.tables),
        "scaling_law": studies.scaling_law(learning.tables),
        "cutoff": studies.cutoff(learning.tables),
        "distilled_or_direct": studies.distilled_or_direct(learning.tables),
        "architecture": studies.architecture(learning.tables),
        "n_shot": studies.n_shot(teachers),
        "teacher": studies.teacher(teachers),
        "over": studies.over(teachers, MODEL),
        "generation": studies.generation(
            with_a_failure(of_values(TEMPERATURE, temperatures), at={TEMPERATURE: 300}), growth=growth
        ),
        "loss_weights": studies.loss_weights(with_a_failure(of_losses(), at={LOSS: 10})),
        "surrogate": studies.surrogate(with_a_failure(of_values(SURROGATE, surrogates), at={SURROGATE: "null"})),
        "ace_basis": studies.ace_basis(with_a_failure(of_ace(), "ace", {FUNCTIONS: 100, EMBEDDING: "linear"})),
        "noise_components": studies.noise_components(with_a_failure(of_repeats(), at={CUTOFF: 4})),
    }


def texts(study: Study) -> str:
    """Everything that is written in a figure."""
    return " ".join(found.get_text() for found in study.figure.findobj(match=lambda one: hasattr(one, "get_text")))


every_study = pytest.mark.parametrize("name", studies.STUDIES)


@every_study
def test_every_axis_has_a_unit(asked, name):
    for axes in asked[name].figure.get_axes():
        assert re.search(r"\(.+\)", axes.get_xlabel())
        named = any(re.search("[a-z]", tick.get_text()) for tick in axes.get_yticklabels())
        assert named or re.search(r"\(.+\)", axes.get_ylabel())


@every_study
def test_failures_are_counted_in_the_figure(asked, name):
    assert re.search(r"[12] of \d+ students failed and (is|are) in no mean \(.*1 failed\)", texts(asked[name]))
    assert any("failed" in note for note in asked[name].notes)


@every_study
def test_the_number_that_matters_is_in_the_title(asked, name):
    assert re.search(r"\d", asked[name].title)
    written = " ".join(texts(asked[name]).split())
    assert asked[name].title.split(";")[0][:30] in written


@pytest.mark.parametrize("name", ["loss_weights", "surrogate"])
def test_a_study_is_a_table_and_a_picture(asked, name, tmp_path):
    picture, table = asked[name].save(tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(table)["mean"].tolist() == pytest.approx(asked[name].table["mean"].tolist())
    shown = asked[name]._repr_html_()
    assert shown.index("data:image/png;base64,") < shown.index("<table")
    assert not re.search(r"https?://", shown)
    assert len(repr(asked[name])) < 1500


@every_study
def test_every_model_is_drawn(asked, name):
    """Small marks: as many as there are numbers in the table's groups, and more than groups."""
    drawn = sum(
        len(line.get_xdata())
        for axes in asked[name].figure.get_axes()
        for line in axes.lines
        if line.get_ls() == "None"
    )
    assert drawn >= len(asked[name].table)


def test_one_wide_interval_does_not_squeeze_the_figure():
    """Two seeds far apart have an interval of twelve times their distance; errors are not below zero."""
    made = of_values(CUTOFF, {4: (0.10, 0.20), 5: (0.11, 0.12)})
    bottom, top = studies.cutoff(made.tables).figure.get_axes()[0].get_ylim()
    assert bottom >= 0 and top > 320 and top < 700
    for name in ("x", "y"):
        curve = studies.scaling_law(of_values(SIZE, {30: (0.2, 0.22), 60: (0.15, 0.16)}).tables)
        assert getattr(curve.figure.get_axes()[0], f"get_{name}scale")() == "log"


@pytest.mark.parametrize(("far", "told"), [(0.001, False), (0.1, True)])
def test_the_best_is_told_from_the_next_or_not(far, told):
    made = of_values(
        SIZE, {size: (0.10 + i * far, 0.11 + i * far, 0.12 + i * far) for i, size in enumerate((300, 100, 30))}
    )
    study, law = studies.learning_curve(made.tables), studies.scaling_law(made.tables)
    note = "cannot tell the best from the next (painn, distilled, synthetic structures 100: 1.0 ± 22.7 meV/Å apart)"
    assert (note in study.notes) is not told
    assert ("cannot tell whether it falls" in law.title) is not told


def test_very_many_groups_still_make_a_figure():
    """Forty cut-offs times three sizes: the table has all of them, the figure what there is room for."""
    made = Maker((CUTOFF, SIZE))
    made.add_seeds("painn", "direct", (0.3, 0.32))
    for cutoff in np.linspace(3, 7, 40):
        for size in (30, 100, 300):
            made.add_seeds("painn", "distilled", (size / 1e3, size / 1e3), at={CUTOFF: cutoff, SIZE: size})
    rows, lines = studies.distilled_or_direct(made.tables), studies.learning_curve(made.tables)
    assert len(rows.table) == len(lines.table) == 121
    assert "the 30 groups of lowest error are drawn; the table has all 121" in " ".join(texts(rows).split())
    assert re.search(r"and \d+ more: see the table", texts(lines))
    assert rows.figure.get_figheight() < 20


def test_every_study_refuses_in_one_sentence_what_was_not_swept(learning):
    made = of_values("trainer.matmul", {"high": (0.1, 0.2), "highest": (0.1, 0.3)})
    made.metrics = [row | {"parameters": None} for row in made.metrics if row["variant"] != "direct"]
    made.models = []
    for name, study in studies.STUDIES.items():
        key = {"key": "nothing"} if name == "over" else {}
        with pytest.raises(UserError, match=r"\."):
            study(made.tables, **key)


def row_of(study: Study, **where: object) -> pd.Series:
    """The one row of a table with these values."""
    table = study.table
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_learning_curve_knows_direct_students_and_what_to_expect(asked):
    study = asked["learning_curve"]
    direct = study.table[study.table["variant"] == "direct"]
    assert len(direct) == 2 and direct["structures"].isna().all() and direct["n"].tolist() == [3, 3]
    row = row_of(study, variant="distilled", cutoff=5.0, structures=100.0)
    x = 500 * np.array([0.97, 1.0, 1.04]) * 100**-0.3
    assert row["mean"] == pytest.approx(np.hypot(x, 120).mean(), rel=1e-9)
    assert row["expected"] == pytest.approx(row["mean"], rel=1e-9)  # the errors were made independent
    assert (row["against_teacher"], row["teacher"]) == pytest.approx((x.mean(), 120), rel=1e-9)
    assert row_of(study, variant="distilled", cutoff=4.0, structures=100.0)["failed"] == "diverged"
    assert row_of(study, variant="distilled", cutoff=5.0, structures=300.0)["failed"] == "failed"


def test_published_curves_are_drawn_beside(learning, tmp_path):
    beside = pd.DataFrame({"label": "a study", "structures": [30, 3000], "value": [90.0, 40.0]})
    beside.to_csv(tmp_path / "published.csv", index=False)
    for given in (beside, tmp_path / "published.csv"):
        study = studies.learning_curve(learning.tables, published=given)
        assert "a study" in texts(study)
        assert study.table[study.table["model"] == "published"]["mean"].tolist() == [90, 40]
    with pytest.raises(UserError, match="no column label"):
        studies.learning_curve(learning.tables, published=beside[["value", "structures"]])


def test_the_scaling_law_is_the_one_that_was_planted(asked):
    table = asked["scaling_law"].table
    assert table["exponent"].tolist() == pytest.approx([0.3, 0.3], abs=0.03)
    assert all(table["low"] < 0.3) and all(table["high"] > 0.3)
    assert table["n"].tolist() == [8, 8]  # without those that failed
    assert table["times_for_half"].tolist() == pytest.approx((2 ** (1 / table["exponent"])).tolist())


def test_distilled_students_are_compared_with_the_direct_one_of_their_own_cutoff(asked):
    row = row_of(asked["distilled_or_direct"], variant="distilled", cutoff=4.0, structures=30.0)
    direct = 1250 * np.array([0.30, 0.31, 0.33])
    assert row["compared_with"] == "painn, direct, cut-off 4 Å"
    assert row["difference"] == pytest.approx(row["mean"] - direct.mean())
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_unequal_steps_are_said():
    made = Maker(())
    made.add_seeds("painn", "distilled", (0.1, 0.2), steps=1000)
    made.add_seeds("painn", "refined", (0.1, 0.2), steps=1300)
    made.add_seeds("painn", "direct", (0.1, 0.2), steps=1000)
    (note,) = studies.distilled_or_direct(made.tables).notes
    assert note == "not at equal steps: painn, refined took 1300 steps, painn, direct 1000"


def test_students_stand_at_the_error_of_their_teacher(asked):
    table = asked["teacher"].table
    assert set(table["variant"]) == {"distilled"}
    assert dict(zip(table["teacher"], table["teacher_error"], strict=True)) == pytest.approx(
        {"diep-2.0, 5": 200, "diep-2.0, 25": 120, "chgnet-0.3, 25": 160}
    )


def test_shots_move_the_teacher_too(asked):
    teachers = asked["n_shot"].table.query("model == 'teacher'")
    assert teachers["n_train"].tolist() == [5, 25, 25]


def test_generation_knows_depth_and_energy(asked):
    table = asked["generation"].table.query("variant == 'distilled'")
    assert table["generation"].tolist() == [4, 3, 2.2]
    assert table["relative_energy"].tolist() == [20, 60, 140]


def test_weights_of_the_loss_show_forces_and_energies(asked):
    table = asked["loss_weights"].table
    assert set(zip(table["quantity"], table["unit"], strict=True)) == {
        ("forces", "meV/Å"),
        ("energy_per_atom", "meV/atom"),
    }


def test_a_surrogate_that_changes_less_than_the_seeds_cannot_be_told(asked):
    row = row_of(asked["surrogate"], surrogate="with surrogate")
    assert row["difference"] == pytest.approx(
        1000 * np.mean([0.151, 0.155, 0.157]) - 1000 * np.mean([0.15, 0.152, 0.156])
    )
    assert "cannot tell" in asked["surrogate"].title


def test_densities_of_ace_are_counted(asked):
    table = asked["ace_basis"].table.query("model == 'ace'")
    assert sorted(set(table["densities"].dropna())) == [1, 3]
    assert set(table["functions"].dropna()) == {100, 300}


def test_noise_is_divided_into_fit_and_chain(asked):
    table = asked["noise_components"].table
    assert table["fit"].tolist() == pytest.approx([1, 1], rel=1e-6)
    assert table["chain"].tolist() == pytest.approx([math.sqrt(400 - 1 / 3)] * 2, rel=1e-6)
    assert table["independent"].tolist() == [3, 3]


def test_architectures_are_lines_over_their_parameters():
    made = Maker(("students.painn.channels", "students.tensornet.channels"))
    for model in ("painn", "tensornet"):
        for channels in (16, 64):
            at = {f"students.{model}.channels": channels}
            made.add_seeds(model, "distilled", (0.1, 0.2), at=at, parameters=1000 * channels)
    table = studies.architecture(made.tables).table
    assert table["series"].tolist() == ["painn, distilled"] * 2 + ["tensornet, distilled"] * 2
    assert table["parameters"].tolist() == [16000, 64000] * 2
    assert table["channels"].tolist() == [16, 64] * 2


@pytest.mark.parametrize("values", [("null", "100"), (None, 100)])
def test_a_size_that_is_not_set_has_its_place(values):
    """All structures instead of a number: a name along the axis, or a line of its own; never left out."""
    made = Maker((SIZE,))
    for value in values:
        made.add_seeds("painn", "distilled", (0.1, 0.2), at={SIZE: value})
    study = studies.learning_curve(made.tables)
    assert study.table["n"].sum() == 4
    assert "null" in texts(study) or "synthetic structures not set" in texts(study)


def test_studies_work_on_what_has_the_tables_and_on_the_metrics_alone(learning):
    class Result:
        metrics, models, failures = learning.tables.metrics, learning.tables.models, learning.tables.failures

    whole, alone = studies.cutoff(Result()), studies.cutoff(learning.tables.metrics)
    pd.testing.assert_frame_equal(whole.table, studies.cutoff(learning.tables).table)
    assert whole.table["mean"].tolist() == pytest.approx(alone.table["mean"].tolist(), nan_ok=True)


def test_other_numbers_have_their_own_units(learning):
    study = studies.cutoff(learning.tables, quantity="energy_per_atom", statistic="rmse")
    assert study.figure.get_axes()[0].get_ylabel() == "energy RMSE against DFT, test set (meV/atom)"
    study = studies.cutoff(learning.tables, reference="teacher")
    assert study.figure.get_axes()[0].get_ylabel() == "force MAE against the teacher, test set (meV/Å)"
    assert not (study.table["model"] == "teacher").any()


def test_the_names_of_studies_are_no_modules():
    """A module of that name would take the place of the function once it is imported."""
    import pkgutil

    assert not {module.name for module in pkgutil.iter_modules(studies.__path__)} & set(studies.__all__)
    ask: Callable[..., Study] = studies.cutoff
    assert callable(ask) and not hasattr(studies, "no_such_name")


def test_the_axis_reaches_to_where_all_failed():
    made = Maker((CHANNELS,))
    for channels in (8, 16):
        made.add_seeds("painn", "distilled", (0.7, 0.8), at={CHANNELS: channels})
    made.add_seeds("painn", "distilled", (0.7, 0.8), status="failed", at={CHANNELS: 4_000_000})
    figure = studies.over(made.tables, CHANNELS).figure
    low, high = figure.axes[0].get_xlim()
    assert low < 8 and high > 4_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as where a text far outside leaves no room for the axes
        figure.canvas.draw()
