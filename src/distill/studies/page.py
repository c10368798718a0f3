"""The page of a sweep: what was varied, what came of it, what failed, and where each number comes from.

It is made from the files of the sweep's folder alone, so it can be made anew at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from distill.base.errors import UserError
from distill.base.files import read_json, write_text
from distill.reporting.page import template
from distill.reporting.style import data_uri
from distill.reporting.tables import Entry, Table
from distill.studies.chosen import Section, sections
from distill.studies.errors import Choice, Errors, Tables, select
from distill.studies.groups import CANNOT_TELL, gathered, say, with_series
from distill.studies.keys import missing, text

PAGE, TEMPLATE = "report.html", "sweep.html"
SHOWN = (
    Choice(),
    Choice(quantity="energy_per_atom"),
    Choice(quantity="stress"),
    Choice(reference="teacher"),
    Choice(reference="teacher", split="synthetic"),
)
"""The numbers in the table of all groups of models, where there are such."""


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder as it was read.

    Attributes:
        description: ``sweep.json``.
        tables: its tables.
        errors: the force errors of all models, or None where no model has any.
    """

    description: Mapping[str, Any]
    tables: Tables
    errors: Errors | None

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        """Read a sweep's folder; raises UserError where a file is missing."""
        if not (folder / "sweep.json").is_file():
            raise UserError("has no sweep.json", where=str(folder), remedy="Give the folder of a sweep, runs/<name>")
        tables = Tables.read(folder)
        try:
            errors = select(tables, Choice())
        except UserError:
            errors = None
        return cls(read_json(folder / "sweep.json"), tables, errors)


def write_page(folder: str | Path) -> Path:
    """Write ``report.html`` and ``figures/`` of a sweep's folder and return the page.

    ``figures/`` has each study's figure as PNG and its table as CSV.

    Raises:
        UserError: the folder lacks ``sweep.json`` or ``metrics.csv``.
    """
    folder = Path(folder)
    sweep = Sweep.read(folder)
    found = sections(sweep.tables, sweep.errors, folder) if sweep.errors is not None else []
    pictures = [picture for section in found for picture in _pictures(section, folder / "figures")]
    page = template(TEMPLATE, Path(__file__).parent).render(
        name=str(sweep.description["name"]),
        sentence=_sentence(sweep),
        counts=_counts(sweep),
        sections=found,
        images={one["name"]: one for one in pictures},
        groups=_groups(sweep),
        failures=_failures(sweep),
        variants=_variants(sweep),
        recipe=str(sweep.description.get("recipe", "")),
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _pictures(section: Section, folder: Path) -> list[dict[str, str]]:
    """Save the figures of a section and return them as the template wants them."""
    found = []
    for study in section.studies:
        path, _ = study.save(folder)
        caption = " ".join([study.caption, *(f"{note[0].upper()}{note[1:]}." for note in study.notes)])
        source = data_uri(path.read_bytes())
        found.append(
            {"name": study.name, "alt": f"{section.heading}: {study.title}", "caption": caption, "source": source}
        )
    return found


def _sentence(sweep: Sweep) -> str:
    """Return in one sentence what was varied, how many students there are and how many failed."""
    told = _counts(sweep)
    keys = sweep.errors.keys if sweep.errors is not None else ()
    varied = [f"{key.words} ({_values(sweep, key.name)})" for key in keys]
    what = _listed(varied or [str(key) for key in sweep.description.get("keys", [])]) or "Nothing but the seeds"
    many = f"{told['students']} student{'s' if told['students'] != 1 else ''}"
    lost = "none failed" if not told["failed students"] else f"{told['failed students']} of them failed"
    return f"{what[0].upper()}{what[1:]} {'were' if len(keys) > 1 else 'was'} varied: {many} were trained, {lost}."


def _values(sweep: Sweep, name: str) -> str:
    values = sweep.errors.rows[name].dropna() if sweep.errors is not None else pd.Series(dtype=object)
    found = list(dict.fromkeys(values.sort_values() if pd.api.types.is_numeric_dtype(values) else values))
    shown = [text(one) for one in found[:8]]
    return ", ".join(shown) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _counts(sweep: Sweep) -> dict[str, int]:
    """Return the numbers at the head of the page."""
    told = list(sweep.description.get("variants", {}).values())
    variants = {text(sorted(map(str, one.get("overrides", {}).items()))) for one in told}
    counts = {"variants": len(variants), "repeats of the chain": len({one.get("repeat", 0) for one in told})}
    totals = sweep.description.get("totals", {})
    counts |= {
        f"{name} tasks": int(totals[key]) for name, key in (("distinct", "distinct"), ("all", "tasks")) if key in totals
    }
    if sweep.errors is not None:
        students = sweep.errors.students
        return {"students": len(students), "failed students": int(students["failed"].sum())} | counts
    lost = sweep.tables.models if sweep.tables.models is not None else pd.DataFrame()
    return {"students": len(lost), "failed students": len(lost)} | counts


def _groups(sweep: Sweep) -> Table | None:
    """Return every group of models with its errors: mean and half of the 95 % interval, best and failed aside."""
    shown = [(choice, frame) for choice in SHOWN if (frame := _gathered(sweep, choice)) is not None]
    if not shown or sweep.errors is None:
        return None
    keys = sweep.errors.keys
    rows = []
    for series in dict.fromkeys(name for _, frame in shown for name in frame.index):
        group = next(frame.loc[series] for _, frame in shown if series in frame.index)
        many = int(group["n"] + group["n_failed"])
        cells = [_cell(frame.loc[series]) if series in frame.index else Entry("–") for _, frame in shown]
        values = [Entry(text(group[key.name]) or "–") if key.name in group else Entry("–") for key in keys]
        rows.append((Entry(series, f"{many} model{'s' if many > 1 else ''}"), *values, *cells))
    header = ("model", *[key.label for key in keys], *[choice.label for choice, _ in shown])
    return Table("Mean ± half of the 95 % interval; aside the best by validation", header, tuple(rows))


def _gathered(sweep: Sweep, choice: Choice) -> pd.DataFrame | None:
    """Return one number of all groups by their name, or None where no model has it."""
    try:
        errors = select(sweep.tables, choice)
    except UserError:
        return None
    rows = with_series(errors.rows, errors.keys)
    table = gathered(rows, ["model", "variant", "series"], choice, [key.name for key in errors.keys])
    return table.set_index("series") if table["n"].sum() else None


def _cell(group: pd.Series) -> Entry:
    several = group["n"] > 1 and not missing(group["best"])
    best = say(pd.Series({"mean": group["best"], "low": float("nan"), "high": float("nan")})) if several else ""
    lost = f"{group['n_failed']} of {group['n'] + group['n_failed']} failed" if group["n_failed"] else ""
    scatter = (
        CANNOT_TELL if group["n"] == 1 and group["interval"] == CANNOT_TELL and group["model"] != "teacher" else ""
    )
    aside = [best and f"best {best}", scatter and "scatter: cannot tell", lost]
    return Entry(group["failed"] if not group["n"] else say(group), "; ".join(filter(None, aside)))


def _failures(sweep: Sweep) -> Table | None:
    frame = sweep.tables.failures
    if frame is None or frame.empty:
        return None
    told = frame.reindex(columns=["task", "sweep", "repeat", "status", "message"]).map(text)
    rows = tuple(
        (Entry(one.task or "–"), Entry(one.sweep), Entry(one.repeat), Entry(one.status, one.message))
        for one in told.itertuples(index=False)
    )
    return Table("What failed", ("task", "variant", "repeat", "what became of it"), rows)


def _variants(sweep: Sweep) -> Table | None:
    told: Mapping[str, Mapping[str, Any]] = sweep.description.get("variants", {})
    rows = tuple(
        (
            Entry(name),
            Entry(text(one.get("repeat", 0))),
            Entry(", ".join(f"{key}: {text(value)}" for key, value in one.get("overrides", {}).items()) or "–"),
            Entry(f"variants/{name}/"),
        )
        for name, one in told.items()
    )
    return Table("Variants of the sweep", ("variant", "repeat", "what it changes", "folder"), rows) if rows else None
