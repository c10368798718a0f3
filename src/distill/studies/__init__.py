"""Studies of a sweep: functions that take its tables and return a tidy table and a figure, for notebooks and reports.

``studies.cutoff(result)`` shows both in a notebook. ``result`` is what a sweep returns, ``studies.Tables.read(folder)``
or the table ``metrics.csv`` as pandas reads it. Nothing is imported until it is asked for.
"""

from __future__ import annotations

from typing import Any

from distill.base.registry import Registry

STUDIES = Registry(
    "study",
    {
        "learning_curve": "distill.studies.learning_curves:learning_curve",
        "scaling_law": "distill.studies.scaling:scaling_law",
        "cutoff": "distill.studies.cutoffs:cutoff",
        "architecture": "distill.studies.architectures:architecture",
        "n_shot": "distill.studies.shots:n_shot",
        "teacher": "distill.studies.teachers:teacher",
        "generation": "distill.studies.generations:generation",
        "loss_weights": "distill.studies.losses:loss_weights",
        "distilled_or_direct": "distill.studies.variants:distilled_or_direct",
        "surrogate": "distill.studies.surrogates:surrogate",
        "ace_basis": "distill.studies.ace:ace_basis",
        "noise_components": "distill.studies.noise:noise_components",
        "over": "distill.studies.swept:over",
    },
)
"""All studies: name to function."""

_OTHERS = {
    "Study": "distill.studies.study:Study",
    "Tables": "distill.studies.errors:Tables",
    "grown": "distill.studies.growth:grown",
    "write_page": "distill.studies.page:write_page",
}

_PUBLIC = Registry("name of distill.studies", STUDIES.rows | _OTHERS)

__all__ = ["STUDIES", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'distill.studies' has no attribute {name!r}")
    return _PUBLIC[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
