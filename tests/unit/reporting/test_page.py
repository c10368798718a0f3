"""The page: whole, self-contained, well-formed, safe against hostile names, and complete in what it shows."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from distill.analysis.energy_volume import EnergyVolumeFit
from distill.reporting.data import EnergyVolume, Growth, ReportData
from distill.reporting.models import Model
from distill.reporting.page import build

VOID = {"meta", "img", "br", "hr", "link", "input"}
FIGURES = {
    "costs",
    "dynamics",
    "differences",
    "observed",
    "energy_volume",
    "force_errors",
    "growth",
    "learning_curves",
    "parity_energy",
    "parity_forces",
    "reliability",
    "remaining",
    "speed",
    "tuning",
}


class Outline(HTMLParser):
    """Collects tags with attributes and text, and fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def built(report_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    paths = build(report_data, out)
    return out, paths, (out / "report.html").read_text(encoding="utf-8")


def page_of(data: ReportData, out) -> Outline:
    build(data, out)
    return Outline((out / "report.html").read_text(encoding="utf-8"))


def test_page_and_figures_are_written(built):
    out, paths, _ = built
    assert paths[0] == out / "report.html"
    assert {p.stem for p in paths[1:]} == FIGURES
    assert sorted(p for p in out.rglob("*") if p.is_file()) == sorted(paths)
    for path in paths[1:]:
        assert Image.open(path).info["dpi"] == pytest.approx((160, 160), abs=0.1)  # PNG stores whole dots per metre


def test_page_is_well_formed_and_needs_nothing_else(built):
    text = built[2]
    assert text.lstrip().startswith("<!DOCTYPE html>")
    page = Outline(text)
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a")} <= ids
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in page.tags)
    assert not re.search(r"url\(|@import|https?://", text)


def test_images_are_described_and_headings_are_in_order(built):
    page = Outline(built[2])
    assert len(page.all("img")) == len(FIGURES)
    assert all(len(image["alt"]) > 20 for image in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_page_says_what_a_reader_needs(built, report_data):
    text = " ".join(Outline(built[2]).text.split())
    assert "The distilled painn has a force error of" in text
    assert "the same architecture, trained for as many optimisation steps on the DFT structures alone" in text
    assert "painn, distilled: survived all 2 simulations." in text
    assert "painn, direct: failed 1 of 2 simulations" in text
    assert "The training of painn, direct, seed 1 diverged: the loss was not finite." in text
    for piece in (*report_data.findings, *report_data.warnings, *report_data.versions, *report_data.hashes.values()):
        assert piece in text
    assert report_data.recipe_text in Outline(built[2]).text
    assert "Glossary" in text


def test_models_stand_in_the_order_of_the_design(built):
    text = Outline(built[2]).text
    table = text[text.index("Mean absolute error against DFT") :]
    places = [
        table.index(m) for m in ("teacher, zero-shot", "teacher, fine-tuned", "painn, distilled", "painn, direct")
    ]
    assert places == sorted(places)


def test_rows_read_back_from_the_csv_file_give_the_same_page(built, report_data, tmp_path):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(report_data.metrics[0]))
    writer.writeheader()
    writer.writerows(report_data.metrics)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    plain = replace(
        report_data, parity=(), energy_volume=(), dynamics=(), curves=(), growth=None, tuning=None, stages=()
    )
    from_csv = page_of(replace(plain, metrics=rows), tmp_path / "a")
    assert from_csv.text == page_of(plain, tmp_path / "b").text


def test_hostile_names_are_only_text(report_data, tmp_path):
    hostile = '<script>alert("1")</script> $x_{ & \'"><img src=x onerror=1>'
    parity = replace(report_data.parity[0], config_type=[hostile, *report_data.parity[0].config_type[1:]])
    curve = replace(report_data.curves[0], of=Model(hostile, "distilled"), status="failed", note=hostile)
    data = ReportData(
        name=hostile,
        recipe_text=hostile,
        metrics=[row | {"config_type": hostile} for row in report_data.metrics[:4]],
        parity=[parity],
        curves=[curve],
        dynamics=[replace(report_data.dynamics[0], name=hostile)],
        stages=[replace(report_data.stages[0], task=hostile)],
        findings=[hostile],
        warnings=[hostile],
        versions={hostile: hostile},
        counts={hostile: hostile},
    )
    page = page_of(data, tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert all("onerror" not in image for image in page.all("img"))
    assert page.text.count(hostile) >= 8


def test_a_report_of_nothing_is_a_page(tmp_path):
    page = page_of(ReportData(name="empty"), tmp_path)
    assert "Nothing was judged in this run." in page.text
    assert page.all("img") == []
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("part", "heading", "images"),
    [
        ("metrics", "Accuracy", 1),
        ("parity", "Accuracy", 2),
        ("curves", "Training", 1),
        ("energy_volume", "Physics", 1),
        ("statics", "Physics", 0),
        ("dynamics", "Physics", 1),
        ("physics", "Verdict", 2),
        ("speed", "Speed", 1),
        ("tuning", "Training", 1),
        ("growth", "Synthetic structures", 1),
        ("stages", "Time and memory", 1),
    ],
)
def test_each_part_stands_alone(report_data, tmp_path, part, heading, images):
    value = getattr(report_data, part)
    few = value if part in ("metrics", "growth", "physics", "tuning", "speed") else value[-1:]
    page = page_of(ReportData(name="x", **{part: few}), tmp_path)
    assert len(page.all("img")) == images
    sections = {"Accuracy", "Training", "Physics", "Verdict", "Speed", "Synthetic structures", "Time and memory"}
    assert {line for line in page.text.splitlines() if line in sections} == {heading}


def test_without_a_direct_student_its_explanation_is_left_out(report_data, tmp_path):
    metrics = [row for row in report_data.metrics if row["variant"] != "direct"]
    page = page_of(ReportData(name="x", metrics=metrics), tmp_path)
    assert "baseline that distillation has to beat" not in page.text


def test_quantities_that_were_not_measured_have_no_column(report_data, tmp_path):
    metrics = [row for row in report_data.metrics if row["quantity"] == "forces"]
    page = page_of(ReportData(name="x", metrics=metrics), tmp_path)
    assert "forces MAE" in page.text
    assert "stress MAE" not in page.text
    assert "energy MAE" not in page.text


def test_a_failed_fit_is_shown_with_its_reason(tmp_path):
    fit = EnergyVolumeFit(failure="no minimum between 21.00 and 24.00 Å³")
    curve = EnergyVolume(Model("painn", "distilled"), "diamond", np.linspace(21, 24, 5), np.linspace(0, 1, 5), fit, 8)
    page = page_of(ReportData(name="x", energy_volume=[curve]), tmp_path)
    assert page.text.count("no minimum between 21.00 and 24.00 Å³") == 1


def test_growth_without_arrays_has_no_figure(tmp_path):
    assert page_of(ReportData(name="x", growth=Growth()), tmp_path).all("img") == []


def test_several_seeds_of_which_some_failed(report_data, tmp_path):
    rows = [
        row | {"status": "diverged" if row["seed"] == 1 else "finished", "valid_loss": 0.1}
        for row in report_data.metrics
    ]
    text = page_of(ReportData(name="x", metrics=rows), tmp_path).text
    assert "2 seeds; seed 1 diverged" in text
    assert "1 of 2 failed" in text
    assert "painn, distilled: seed 1 diverged." in text
    assert "MAE / MAE against DFT" in text
