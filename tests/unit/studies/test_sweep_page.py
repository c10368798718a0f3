"""The page of a sweep: whole without a network, for any swept keys, with what failed and where numbers come from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from toy_sweep import CUTOFF, SIZE, Maker

from distill import studies
from distill.base.errors import UserError
from distill.studies.growth import grown

HISTOGRAMS = {"generation": ([0, 3, 1], [-0.5, 0.5, 1.5, 2.5]), "relative_energy": ([1, 1], [0.0, 0.1, 0.3])}


class Tags(HTMLParser):
    """The tags of a page, which have to nest, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def written(folder: Path, made: Maker, variants: Mapping[str, Mapping[str, Any]], **more: Any) -> Tags:
    """Write a sweep's folder and its page, and return that as it is read."""
    folder.mkdir(exist_ok=True)
    tables = made.tables
    for name in ("metrics", "models", "failures"):
        frame = getattr(tables, name)
        columns = {"metrics": ["model", "config_type", "quantity", "value"]}.get(name, ["model", "task", "message"])
        frame = pd.DataFrame(columns=columns) if frame is None else frame
        frame.to_csv(folder / f"{name}.csv", index=False)
    told = {name: {"repeat": 0, "overrides": overrides} for name, overrides in variants.items()}
    head = {"name": "a sweep", "recipe": "recipe.yaml", "keys": list(made.keys), "until": "evaluate", "seeds": 3}
    totals = {"totals": {"tasks": 234, "distinct": 76}, "repeat": 1}
    (folder / "sweep.json").write_text(json.dumps(head | totals | {"variants": told} | more))
    page = studies.write_page(folder)
    assert page == folder / "report.html"
    return Tags(page.read_text())


@pytest.fixture(scope="module")
def grid(learning, tmp_path_factory) -> tuple[Path, Tags]:
    folder = tmp_path_factory.mktemp("grid")
    variants = {f"cutoff-{c}_structures-{n}": {CUTOFF: c, SIZE: n} for c in (4.0, 5.0) for n in (30, 100, 300)}
    return folder, written(folder, learning, variants)


def test_the_page_needs_nothing_else(grid):
    folder, page = grid
    images = [attributes for tag, attributes in page.found if tag == "img"]
    assert len(images) == 4
    assert all(one["src"].startswith("data:image/png;base64,") and len(one["alt"]) > 20 for one in images)
    links = {one["href"] for tag, one in page.found if tag == "a"}
    assert links and links <= {f"#{one['id']}" for _, one in page.found if "id" in one}
    assert not re.search(r"url\(|@import|https?://|<script|<link", (folder / "report.html").read_text())
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".csv"}


def test_the_page_says_first_what_was_varied_and_what_failed(grid):
    text = " ".join(grid[1].text.split())
    varied = "Cut-off (4, 5) and synthetic structures (30, 100, 300) were varied"
    sentence = f"{varied}: 24 students were trained, 2 of them failed."
    assert text.index(sentence) < text.index("lowest force MAE")
    for piece in (
        "train[painn,distilled,2]",
        "the memory was full",
        "variants/cutoff-5.0_structures-100/",
        "recipe.yaml",
    ):
        assert piece in text
    assert "1 of 3 failed" in text and "N^−0.3" in text and "76" in text
    assert text.count("rows with config_type all, quantity forces") == 4


@pytest.mark.parametrize(
    ("together", "keys"),
    [
        (True, ("students.painn.cutoff", "students.painn.channels")),
        (False, ("teacher.model", "data.n_train")),
        (True, ("synthetic.temperature", "synthetic.exploration")),
        (False, ("students.painn.loss.energy", "synthetic.surrogate")),
        (True, ("students.ace.functions", "students.ace.embedding")),
        (False, ("trainer.matmul", "students.painn.loss.later")),
    ],
)
def test_any_keys_have_a_page(together, keys, tmp_path):
    """Numbers and names, changed together or one at a time, as named variants do."""
    model = "ace" if "students.ace.functions" in keys else "painn"
    values = ({keys[0]: "1", keys[1]: "linear"}, {keys[0]: "2", keys[1]: "published" if together else "linear"})
    made = Maker(keys)
    made.add("teacher", "finetuned", 0.12)
    made.add("teacher", "finetuned", 0.13, at={key: value for key, value in values[1].items() if "teacher" in key})
    for at, error in zip(values, (0.2, 0.3), strict=True):
        made.add_seeds(model, "distilled", (error, error + 0.02), at=at)
    page = written(tmp_path, made, {"first": values[0], "second": values[1]})
    headings = [tag for tag, attributes in page.found if tag == "h2" and "section-" in (attributes.get("id") or "")]
    images = [tag for tag, _ in page.found if tag == "img"]
    assert len(images) >= len(headings) >= 1
    assert "No figure" not in page.text
    assert "4 students were trained, none failed." in page.text


def test_repeats_of_the_chain_have_their_figure(tmp_path):
    made = Maker((CUTOFF,))
    for repeat in (0, 1):
        for cutoff in (4, 5):
            made.add_seeds("painn", "distilled", (0.1, 0.2), repeat=repeat, at={CUTOFF: cutoff})
    assert "Where the scatter comes from" in written(tmp_path, made, {}).text


def test_a_sweep_of_which_everything_failed_has_a_page(tmp_path):
    made = Maker((CUTOFF,))
    made.add_seeds("painn", "distilled", (0.1, 0.2), status="failed", at={CUTOFF: 4})
    page = written(tmp_path, made, {"cutoff-4": {CUTOFF: 4}})
    assert "students.painn.cutoff was varied: 2 students were trained, 2 of them failed." in page.text.lower()
    assert page.text.count("the memory was full") == 2
    assert not any(tag == "img" for tag, _ in page.found)


def test_hostile_names_are_only_text(tmp_path):
    hostile = "<script>alert(1)</script>$x_{'\""
    made = Maker((CUTOFF,))
    made.add_seeds(hostile, "distilled", (0.1, 0.2))
    made.add(hostile, "distilled", 0.1, seed=2, status="failed")
    made.failures[0]["message"] = hostile
    page = written(tmp_path, made, {hostile: {CUTOFF: hostile}}, name=hostile)
    assert "script" not in {tag for tag, _ in page.found}
    assert unescape(page.text).count(hostile) >= 4


def test_the_growth_of_each_set_of_structures_is_read_once(tmp_path):
    variants = {
        "a": {"synthetic.temperature": 300},
        "b": {"synthetic.temperature": 300},
        "c": {"synthetic.temperature": 1},
    }
    histograms = {name: {"counts": counts, "edges": edges} for name, (counts, edges) in HISTOGRAMS.items()}
    summary = {"accepted": 4, "calls_per_structure": 5.0, "histograms": histograms}
    for name, digest in (("a", "x"), ("b", "x"), ("c", "y")):
        folder = tmp_path / "variants" / name
        folder.mkdir(parents=True)
        task = {"stage": "generate", "hash": digest, "summary": summary}
        (folder / "summary.json").write_text(json.dumps({"tasks": {"generate": task, "check": {"stage": "check"}}}))
    told = {name: {"repeat": 0, "overrides": overrides} for name, overrides in variants.items()}
    (tmp_path / "sweep.json").write_text(json.dumps({"name": "x", "variants": told}))
    found = grown(tmp_path)
    assert found["synthetic.temperature"].tolist() == [300, 1]
    assert found["generation"].tolist() == pytest.approx([1.25, 1.25])
    assert found["relative_energy"].tolist() == pytest.approx([125, 125])  # meV/atom: middles of 0.05 and 0.2 eV/atom


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no sweep.json. Give the folder of a sweep"):
        studies.write_page(tmp_path)
