"""What is saved with a student about where it comes from: its teacher, its data, and the recipe that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.base.files import Json, read_json

OF_DATA = "as the data"
"""Licence of a student that no teacher taught."""


def provenance(
    architecture_licence: str, teacher: Path | None, data: Mapping[str, Any], recipe: str
) -> dict[str, Json]:
    """Return who taught a student and what it was made from, for its ``model.json``.

    ``licence`` is that of the published weights of the teacher, by whose labels the student was fitted, and
    ``architecture_licence`` that of the packages of the student's kind.

    Args:
        architecture_licence: of the student's row in the table.
        teacher: the folder of the teacher that was asked for labels; None where there was none.
        data: by the name of each file of the user's, ``{"file": SHA-256}``, or None.
        recipe: hash of all that the student depends on: the recipe's values, files and code.
    """
    taught = None if teacher is None else _teacher(read_json(teacher / "model.json"))
    return {
        "licence": OF_DATA if taught is None else taught["licence"],
        "architecture_licence": architecture_licence,
        "teacher": taught,
        "data": {name: one["file"] for name, one in data.items() if isinstance(one, Mapping) and "file" in one},
        "recipe": recipe,
    }


def _teacher(description: Mapping[str, Any]) -> dict[str, Json]:
    """Return name, licence, level of theory and weights of a teacher from what its folder says."""
    origin, settings = description["origin"], description["settings"]
    name = str(origin.get("name") or settings.get("model") or description["architecture"])
    parts = description.get("parts", {})  # of an ensemble: what each member's folder says, its weights among it
    return {
        "name": ":".join(filter(None, [name, settings.get("function")])),
        "licence": origin.get("licence", ""),
        "level_of_theory": origin.get("level_of_theory", ""),
        "weights": origin.get("weights", settings.get("file") or ""),
        "sha256": origin.get("sha256", settings.get("sha256", "")),
        "sha256_as_used": "; ".join(parts.values()) or description["sha256"],
    }
