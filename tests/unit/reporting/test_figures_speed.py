"""The figure and the table of speed: what was measured is told from what the user gave, and nothing is hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from distill.reporting.data import GivenSpeed, ReportData, Speed, Speeds
from distill.reporting.figures_speed import speed
from distill.reporting.models import Model
from distill.reporting.page import _speeds, build
from distill.reporting.style import looks

TEACHER, STUDENT = Model("teacher", "finetuned"), Model("painn", "distilled")


def drawn(speeds: Speeds):
    figure = speed(speeds, looks([one.of for one in speeds.measured]))
    assert figure is not None
    figure.canvas.draw()
    return figure.axes[0]


def test_every_number_is_drawn_on_logarithmic_axes(report_data: ReportData) -> None:
    axes = drawn(report_data.speed)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    everything = [*report_data.speed.measured, *report_data.speed.given]
    assert len(axes.lines) == len(everything)
    for line, one in zip(axes.lines, everything, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([one.atoms, one.ms_per_step], axis=1))
    assert axes.get_xlim()[0] < 16 and axes.get_xlim()[1] > 4096


def test_what_was_not_measured_here_is_dashed_hollow_and_named(report_data: ReportData) -> None:
    lines = drawn(report_data.speed).lines
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--"]
    assert to_hex(lines[-1].get_markerfacecolor()) == "#ffffff"
    assert lines[-1].get_label() == "ACE (RTX A6000)"
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert drawn(replace(report_data.speed, given_on="")).lines[-1].get_label() == "ACE (given)"


def test_the_title_holds_how_much_faster_at_the_largest_common_size(report_data: ReportData) -> None:
    # (20 + 3 x 256) / (10 + 0.1 x 256)
    assert drawn(report_data.speed).get_title(loc="left") == "faster than the teacher: painn 22.1 × at 256 atoms"
    alone = replace(report_data.speed, measured=report_data.speed.measured[1:])
    assert "faster" not in drawn(alone).get_title(loc="left")


def test_a_long_title_stays_inside(report_data: ReportData) -> None:
    first, one = report_data.speed.measured
    many = [replace(one, of=Model(f"a_student_of_long_name_{k}", "distilled")) for k in range(6)]
    title = drawn(replace(report_data.speed, measured=[first, *many])).get_title(loc="left")
    assert max(map(len, title.splitlines())) <= 100 and title.count("×") == 6


@pytest.mark.parametrize("top", [40.0, 4000.0])
def test_an_axis_has_at_least_two_numbers(top: float) -> None:
    axes = drawn(Speeds([Speed(STUDENT, np.array([16, 32]), np.array([15.0, top]))]))
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        assert sum(low <= at <= high and bool(label.get_text()) for at, label in ticks) >= 2


def test_only_a_table_of_the_users_is_drawn_too() -> None:
    axes = drawn(Speeds([], [GivenSpeed("A", np.array([8]), np.array([1.0]))]))
    assert len(axes.lines) == 1
    assert _speeds(Speeds([], [GivenSpeed("A", np.array([8]), np.array([1.0]))])) is None


def test_nothing_timed_is_not_a_figure() -> None:
    assert speed(Speeds([]), {}) is None
    nothing = Speed(STUDENT, np.zeros(0, dtype=int), np.zeros(0), "the dynamics of 8 atoms broke")
    assert speed(Speeds([nothing]), looks([STUDENT])) is None


def test_the_table_has_every_size_and_says_why_none_is_larger(report_data: ReportData) -> None:
    table = _speeds(report_data.speed)
    assert table is not None and "Si16; a processor, 2 threads" in table.caption
    rows = {row[0].main: [entry.main for entry in row[1:]] for row in table.rows}
    assert rows["256 atoms"] == ["788", "35.6"] and rows["512 atoms"] == ["–", "61.2"]
    assert rows["times as fast as the teacher"] == ["1", "22.1"]
    asides = [entry.aside for entry in table.rows[-1][1:]]
    assert asides == ["512 atoms would have exceeded the time", "no more than 4096 atoms were asked for"]


def test_a_model_that_could_not_be_timed_is_in_the_table(tmp_path) -> None:
    first = Speed(TEACHER, np.array([8]), np.array([10.0]))
    nothing = Speed(STUDENT, np.zeros(0, dtype=int), np.zeros(0), "the dynamics of 8 atoms broke")
    build(ReportData(name="x", speed=Speeds([first, nothing])), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the dynamics of 8 atoms broke" in text and "painn, distilled" in text
