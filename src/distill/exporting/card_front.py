"""The front matter of a card, in the fields that the Hugging Face Hub reads.

Errors are metrics of the ``model-index``; their 95 % interval over structures is among the arguments of each.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from distill.exporting.facts import Facts, Row
from distill.exporting.licences import hub_licence

LIBRARY = "distill"
TAGS = ("interatomic-potential", "molecular-dynamics", "knowledge-distillation")
NAMES = {"energy_per_atom": "energy", "forces": "force", "stress": "stress"}
"""Quantities of ``metrics.csv`` in words."""
AGAINST = {"dft": "DFT", "teacher": "the teacher"}
SETS = {"test": "test structures", "synthetic": "synthetic structures of unseen families"}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
"""What a model may be called on the Hub."""


def front_matter(facts: Facts) -> str:
    """Return the front matter, with its lines of dashes."""
    text = yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n"


def metadata(facts: Facts) -> dict[str, Any]:
    """Return the front matter as data."""
    found: dict[str, Any] = {**hub_licence(facts.parts), "library_name": LIBRARY}
    if facts.teacher and HUB_NAME.fullmatch(facts.teacher["name"]):
        found["base_model"] = facts.teacher["name"]
    found["tags"] = [*TAGS, facts.architecture, *facts.programs, *facts.elements]
    results = _results(facts)
    return found | ({"model-index": [{"name": facts.name, "results": results}]} if results else {})


def _results(facts: Facts) -> list[dict[str, Any]]:
    """Return the errors, one entry for each set of structures and reference."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for row in facts.mean_errors():
        split, reference = row["split"], row["reference"]
        entry = entries.setdefault((split, reference), _entry(row))
        entry["metrics"].append(_metric(row))
    return list(entries.values())


def _entry(row: Row) -> dict[str, Any]:
    name = f"{row['n']} {SETS[row['split']]} labelled by {AGAINST[row['reference']]}"
    return {
        "task": {"type": "other", "name": "interatomic potential"},
        "dataset": {"type": f"{row['split']}-{row['reference']}", "name": name},
        "metrics": [],
    }


def _metric(row: Row) -> dict[str, Any]:
    given = {name: float(row[name]) for name in ("low", "high") if row[name]}
    return {
        "type": "mae",
        "name": f"{NAMES[row['quantity']]}, mean absolute error ({row['unit']})",
        "value": float(row["value"]),
        "args": {"interval": [given["low"], given["high"]] if len(given) == 2 else None, "unit": row["unit"]},
    }
