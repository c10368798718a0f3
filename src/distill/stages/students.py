"""Which students there are: how each comes to be, and the tasks that the recipe asks for."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel

from distill.base.artifact import LabelValue

VARIANTS = ("distilled", "refined", "direct")
"""How a student comes to be: from the synthetic structures, then the DFT structures too, or from these alone."""


def trained(students: BaseModel) -> list[dict[str, LabelValue]]:
    """Return the labels of each student, variant and seed that the recipe's ``students`` section asks for."""
    return [
        {"student": name, "variant": variant, "seed": seed}
        for name in type(students).model_fields
        for variant in _variants(getattr(students, name))
        for seed in range(getattr(students, name).seeds)
    ]


class Extent(Protocol):
    """What tells how many students come of one entry of the recipe."""

    seeds: int
    direct: bool
    refine: object | None


def _variants(student: Extent) -> list[str]:
    wanted = {"distilled": True, "refined": student.refine is not None, "direct": student.direct}
    return [variant for variant in VARIANTS if wanted[variant]]
