"""The figures: units on every axis, the number in the title, told apart without colour, no global state."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from distill.reporting import figures, figures_physics, figures_speed, figures_teachers, figures_verdict, figures_work
from distill.reporting.data import Growth
from distill.reporting.models import Model
from distill.reporting.remaining import shares_of
from distill.reporting.style import MARKERS, looks
from distill.reporting.tables import ErrorTable


def all_figures(data):
    table = ErrorTable(data.metrics)
    look_of = looks(table.models)
    return {
        "force_errors": figures.force_errors(table, look_of),
        "parity_forces": figures.parity(data.parity, "forces", table),
        "parity_energy": figures.parity(data.parity, "energy_per_atom", table),
        "learning_curves": figures.learning_curves(data.curves),
        "energy_volume": figures_physics.energy_volume(data.energy_volume, look_of),
        "dynamics": figures_physics.dynamics(data.dynamics, look_of),
        "differences": figures_verdict.differences(data.physics, look_of),
        "observed": figures_verdict.curves(data.physics, look_of),
        "speed": figures_speed.speed(data.speed, look_of),
        "growth": figures_work.growth(data.growth),
        "costs": figures_work.costs(data.stages),
        "remaining": figures_teachers.remaining(shares_of(data.parity), table),
        "reliability": figures_teachers.reliability(data.teachers.reliability, data.parity[0].config_type),
    }


def visible(figure):
    return [axes for axes in figure.get_axes() if axes.get_visible()]


@pytest.fixture(scope="module")
def drawn(report_data):
    return all_figures(report_data)


@pytest.mark.parametrize(
    "name", ["force_errors", "parity_forces", "parity_energy", "speed", "growth", "costs", "reliability", "remaining"]
)
def test_every_axis_has_a_unit(drawn, name):
    for axes in visible(drawn[name]):
        assert re.search(r"\(.+\)", axes.get_xlabel())
        # The second panels of "costs" and "remaining" share the names of the rows with their neighbours.
        has_named_rows = name in ("costs", "remaining") or any(
            re.search("[a-z]", t.get_text()) for t in axes.get_yticklabels()
        )
        assert has_named_rows or re.search(r"\(.+\)", axes.get_ylabel())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("energy_volume", {"volume (Å³/atom)", "energy above the minimum (meV/atom)"}),
        ("dynamics", {"time (ps)", "temperature (K)", "shortest distance (Å)"}),
        ("observed", {"distance (Å)", "g"}),
        ("differences", {"difference over its tolerance"}),
        ("learning_curves", {"optimisation step", "loss (dimensionless)", "force MAE (meV/Å)"}),
    ],
)
def test_physical_axes_are_named(drawn, name, labels):
    found = {label for axes in visible(drawn[name]) for label in (axes.get_xlabel(), axes.get_ylabel())}
    assert labels <= found


def test_titles_hold_the_number_that_matters(drawn, report_data):
    table = ErrorTable(report_data.metrics)
    mae = 1000 * table.cell(Model("painn", "distilled"), "forces").value
    assert f"painn, distilled: {mae:.0f}" in visible(drawn["force_errors"])[0].get_title(loc="left")
    assert f"MAE {mae:.0f} ± " in visible(drawn["parity_forces"])[2].get_title(loc="left")
    assert "meV/Å (2 seeds)" in visible(drawn["parity_forces"])[2].get_title(loc="left")
    spearman = report_data.teachers.reliability["forces"].spearman
    assert f"Spearman {spearman:.2f} [" in visible(drawn["reliability"])[0].get_title(loc="left")
    assert "times the spread" in visible(drawn["reliability"])[1].get_title(loc="left")
    assert "% of the squared error" in visible(drawn["remaining"])[1].get_title(loc="left")
    assert "total 9 min 21 s" in visible(drawn["costs"])[0].get_title(loc="left")


def test_parity_shows_every_component_once(drawn, report_data):
    first = visible(drawn["parity_forces"])[0]
    assert sum(len(c.get_offsets()) for c in first.collections) == report_data.parity[0].reference_forces.size


def test_models_differ_without_colour():
    students = [Model("a", "direct"), Model("a", "distilled"), Model("b", "distilled")]
    look_of = looks([*students, Model("teacher", "zero_shot")])
    assert next(iter(look_of)) == Model("teacher", "zero_shot")
    assert len({(look.marker, look.linestyle) for look in look_of.values()}) == 4
    assert len(set(MARKERS)) == len(MARKERS)


def test_a_broken_model_does_not_hide_the_others(report_data):
    rows = [
        row | {"value": 1e3 * row["value"], "low": None, "high": None} if row["variant"] == "zero_shot" else row
        for row in report_data.metrics
        if row["quantity"] == "forces"
    ]
    table = ErrorTable(rows)
    (axes,) = figures.force_errors(table, looks(table.models)).get_axes()
    assert axes.get_xscale() == "log"


def test_several_seeds_are_mean_deviation_and_a_tick_each_and_failed_ones_are_not_drawn(report_data):
    failed = {("painn", "distilled", 2), *(("painn", "direct", seed) for seed in range(3))}
    rows = [
        row | {"seed": seed, "value": value, "status": "diverged" if key in failed else "finished"}
        for row in report_data.metrics
        if row["quantity"] == "forces" and row["statistic"] == "mae" and row["seed"] == 0 and row["model"] == "painn"
        for seed, value in enumerate((0.1, 0.2, 0.9))
        if (key := (row["model"], row["variant"], seed))
    ]
    table = ErrorTable(rows)
    (axes,) = figures.force_errors(table, looks(table.models)).get_axes()
    ((bar,),) = [container.lines[2] for container in axes.containers]
    deviation = 1000 * 0.005**0.5  # of 100 and 200 meV/Å around 150
    assert bar.get_segments()[0][:, 0] == pytest.approx([150 - deviation, 150 + deviation], rel=1e-9)
    (ticks,) = [line for line in axes.lines if line.get_marker() == "|" and line.get_markersize() > 10]
    assert list(ticks.get_xdata()) == pytest.approx([100, 200])
    texts = [text.get_text().strip() for text in axes.texts]
    assert texts == ["150 ± 71, 1 of 3 seeds failed", "diverged"]
    assert axes.get_xlim()[1] < 500, "the failed seed at 900 has no place on the scale"


def test_predictions_that_are_not_finite_are_counted(report_data):
    forces = np.array(report_data.parity[0].predicted_forces)
    forces[:5, 0] = np.nan
    table = ErrorTable(report_data.metrics)
    broken = [replace(report_data.parity[0], predicted_forces=forces)]
    (axes,) = visible(figures.parity(broken, "forces", table))
    assert "5 values not finite" in [t.get_text() for t in axes.texts]
    nothing = [replace(report_data.parity[0], predicted_forces=np.full_like(forces, np.nan))]
    (axes,) = visible(figures.parity(nothing, "forces", table))
    assert "no finite prediction" in [t.get_text() for t in axes.texts]


def test_a_curve_that_blew_up_is_drawn_as_far_as_it_goes(report_data):
    curve = report_data.curves[0]
    loss = np.array(curve.train_loss)
    loss[50:] = np.nan
    (above, _) = visible(figures.learning_curves([replace(curve, train_loss=loss, status="diverged", best_step=None)]))
    assert "DIVERGED" in above.get_title(loc="left")
    assert len(above.lines[0].get_xdata()) == 50


def test_nothing_gives_no_figure():
    table = ErrorTable([])
    none = [
        figures.force_errors(table, {}),
        figures.parity([], "forces", table),
        figures.learning_curves([]),
        figures_physics.energy_volume([], {}),
        figures_physics.dynamics([], {}),
        figures_work.growth(Growth()),
        figures_work.costs([]),
    ]
    assert none == [None] * 7


def test_drawing_leaves_the_settings_of_matplotlib_alone(report_data):
    before = dict(mpl.rcParams)
    figures_work.costs(report_data.stages)
    assert dict(mpl.rcParams) == before


def test_reporting_never_imports_pyplot(tmp_path):
    """Neither at its top nor while figures are drawn and saved: pyplot keeps every figure in memory."""
    code = """
import sys
from pathlib import Path
from distill.reporting import figures_work, page
from distill.reporting.data import StageCost
figure = figures_work.costs([StageCost("train", 1.0, 100.0)])
figure.savefig(sys.argv[1])
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f.png"], capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG"), done.stderr
    for path in Path(figures.__file__).parent.glob("*.py"):
        assert "pyplot" not in {
            part
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            for part in name.split(".")
        }, path.name
