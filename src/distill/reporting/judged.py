"""The verdict by physics in the report: what was judged, its tables, and its sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from distill.analysis.verdicts import Criterion
from distill.reporting.data import name_with_seed
from distill.reporting.physics import Physics
from distill.reporting.tables import Entry, Table

WORDS = {0: "pairs", 1: "crystals", 2: "survival", 3: "forces", 4: "structure", 5: "dynamics", 6: "experiment"}
"""The levels of :data:`distill.analysis.verdicts.LEVELS` in a word."""
TONES: dict[str, Literal["good", "bad", "note"]] = {"accept": "good", "reject": "bad"}


def verdict_sentences(found: Physics | None) -> Iterator[tuple[Literal["good", "bad", "note"], str]]:
    """Yield the verdict on each student that was judged, and what limits those that were distilled."""
    judged = found.judged if found else ()
    for one in judged:
        name, decision = name_with_seed(one, judged), one.verdict.decision
        if decision != "not judged":  # a direct student is the baseline: its failure speaks for distillation
            tone = "note" if one.of.variant == "direct" else TONES.get(decision, "note")
            yield tone, f"{name}{': ' if decision == 'cannot tell' else ' is '}{one.verdict.sentence}."
        if one.triangle and one.of.variant != "direct":
            yield "note", f"{name}: {one.triangle}"


def levels_table(found: Physics | None) -> Table | None:
    """Return how each student did at each level, one row a student."""
    judged = [one for one in (found.judged if found else ()) if one.verdict.decision != "not judged"]
    if not judged:
        return None
    header = ("model", *[f"{level} {word}" for level, word in WORDS.items()], "verdict")
    rows = []
    for one in judged:
        levels = one.verdict.levels
        cells = [Entry("–" if levels[level] == "not judged" else levels[level]) for level in WORDS]
        rows.append((Entry(name_with_seed(one, judged)), *cells, Entry(one.verdict.decision)))
    return Table("The verdict by physics", header, tuple(rows))


def criteria_table(found: Physics | None) -> Table | None:
    """Return every row of ``physics.csv``."""
    rows = [
        (Entry(name_with_seed(one, found.judged)), *_cells(criterion))
        for one in (found.judged if found else ())
        for criterion in one.verdict.criteria
        if found is not None
    ]
    header = ("model", "level", "quantity", "outcome", "student", "teacher", "difference", "tolerance", "unit", "why")
    return Table("What each student was judged by", header, tuple(rows)) if rows else None


def _cells(one: Criterion) -> tuple[Entry, ...]:
    interval = f"{number(one.low)} to {number(one.high)}" if math.isfinite(one.low) else ""
    return (
        Entry(str(one.level)),
        Entry(one.quantity, "a note" if one.note else ""),
        Entry(one.outcome),
        Entry(number(one.value)),
        Entry(number(one.reference)),
        Entry(number(one.difference), interval),
        Entry(number(one.tolerance)),
        Entry(one.unit or "–"),
        Entry(one.why or "–"),
    )


def number(value: float) -> str:
    """Return a number with four digits, a dash for none."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"
