"""The page of a search: who won, how the error fell, what matters, and every trial.

It is made from the files of the search's folder alone, so it can be made anew at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from distill.base.files import write_text
from distill.reporting.page import template
from distill.reporting.style import data_uri
from distill.reporting.tables import Entry, Table
from distill.studies.keys import text
from distill.studies.searches import Searched, convergence, front, importance, searched_values
from distill.studies.study import Study

PAGE, TEMPLATE = "report.html", "search.html"
SECTIONS = (
    ("How the error fell", convergence),
    ("Where it is small", searched_values),
    ("What matters", importance),
    ("Error and speed", front),
)


def write_search_page(folder: str | Path) -> Path:
    """Write ``report.html`` and ``figures/`` of a search's folder and return the page.

    Raises:
        UserError: the folder lacks ``search.json`` or ``trials.csv``.
    """
    folder = Path(folder)
    searched = Searched.read(folder)
    found = [(heading, study) for heading, draw in SECTIONS if (study := draw(searched)) is not None]
    said = searched.said
    page = template(TEMPLATE, Path(__file__).parent).render(
        name=said["name"],
        verdict=said["verdict"] or "The search is not finished.",
        counts={"trials": said["trials"], "failed trials": said["failed"], "searched keys": len(said["keys"])},
        warnings=said["warnings"],
        sections=[(heading, study.name, study.title) for heading, study in found],
        images={study.name: _picture(heading, study, folder) for heading, study in found},
        best=_best(searched),
        trials=_trials(searched),
        objective=said["objective"],
        recipe=said["recipe"],
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _picture(heading: str, study: Study, folder: Path) -> dict[str, str]:
    path, _ = study.save(folder / "figures")
    alt = f"{heading}: {study.title}"
    return {"name": study.name, "alt": alt, "caption": study.caption, "source": data_uri(path.read_bytes())}


def _best(searched: Searched) -> Table | None:
    """Return the best values, and the numbers in full of them and of the recipe's own."""
    full = searched.said["full"]
    if not full:
        return None
    header = ("trained in full", "error", "E / √N (eV)", "forces (eV/Å)", "time of an atom (ms)", "parameters")
    columns = ("error", "energy_rmse", "forces_rmse", "ms_per_atom", "parameters")
    rows = []
    for name, words in (("best", "the best values"), ("default", "the recipe's own values")):
        many = len(full[name]["errors"])
        aside = full[name]["message"] or (f"mean of {many} seeds" if many > 1 else "one seed")
        rows.append((Entry(words, aside), *(Entry(_number(full[name][column])) for column in columns)))
    return Table("The best values and the recipe's own, trained without what made trials cheap", header, tuple(rows))


def _trials(searched: Searched) -> Table:
    keys = list(searched.said["keys"])
    numbers = ["error", "energy_rmse", "forces_rmse", "ms_per_atom", "train_s"]
    shown = [name for name in numbers if searched.trials[name].notna().any()]
    words = {"energy_rmse": "E / √N (eV)", "forces_rmse": "forces (eV/Å)", "ms_per_atom": "time of an atom (ms)"}
    words |= {"train_s": "training (s)"}
    header = ("trial", *(searched.names[key] for key in keys), *(words.get(name, name) for name in shown))
    rows = tuple(
        (
            Entry(str(row["trial"]), _aside(row)),
            *(Entry(text(row[key]) or "–") for key in keys),
            *(Entry(_number(row[name])) for name in shown),
        )
        for row in searched.trials.sort_values(["error", "trial"]).to_dict("records")
    )
    return Table("All trials, the best first", header, rows)


def _aside(row: dict[str, Any]) -> str:
    return row["design"] if row["state"] == "finished" else f"{row['state']}: {row['message']}"


def _number(value: Any) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.4g}"
