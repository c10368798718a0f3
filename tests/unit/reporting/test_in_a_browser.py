"""The report in a real browser: nothing is fetched, nothing is said, and tables are those of the files."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from distill.base.files import write_table
from distill.reporting.data import ReportData
from distill.reporting.judged import number
from distill.reporting.page import build
from distill.stages.judge import COLUMNS

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Rows(HTMLParser):
    """The texts of the cells of every table, by caption."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.caption, self.inside = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "caption":
            self.caption, self.inside = "", "caption"
        elif tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self.caption][-1].append("")
            self.inside = "cell"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("caption", "td", "th"):
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.caption += data
        elif self.inside == "cell":
            self.tables[self.caption][-1][-1] += f"{data} "


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser: install chromium")
def test_the_page_needs_nothing_and_its_tables_are_those_of_the_file(report_data: ReportData, tmp_path: Path) -> None:
    page = build(report_data, tmp_path)[0]
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    shown = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0
    assert not re.search(r"CONSOLE", shown.stderr)
    addresses = re.findall(r'(?:src|href)="([^"#][^"]*)"', shown.stdout)
    assert all(address.startswith("data:") for address in addresses)

    assert report_data.physics is not None
    write_table(
        tmp_path / "physics.csv",
        COLUMNS,
        [
            {"model": one.of.model, "variant": one.of.variant, "seed": one.seed, **criterion}
            for one in report_data.physics.judged
            for criterion in one.verdict.as_data()["criteria"]
        ],
    )
    rows = Rows()
    rows.feed(shown.stdout)
    (table,) = (
        of for caption, of in rows.tables.items() if caption.strip().startswith("What each student was judged by")
    )
    with (tmp_path / "physics.csv").open() as file:
        said = list(csv.DictReader(file))
    assert len(said) == len(table) - 1 == 4
    for row, cells in zip(said, table[1:], strict=True):
        texts = [cell.strip() for cell in cells]
        assert texts[1] == row["level"] and texts[2] == row["quantity"] and texts[3] == row["outcome"]
        for place, column in ((4, "value"), (5, "reference"), (7, "tolerance")):
            assert texts[place] == number(float(row[column] or "nan"))
        assert texts[6].split()[0] == number(float(row["difference"] or "nan"))
