"""Which students there are: how each comes to be, and the tasks that the recipe asks for."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel

from distill.base.artifact import LabelValue
from distill.base.errors import UserError
from distill.base.settings import refuse_name

VARIANTS = ("distilled", "refined", "direct")
"""How a student comes to be: from the synthetic structures, then the DFT structures too, or from these alone."""

MOST, MOST_SEEDS = 100, 100
"""Students of one recipe, and seeds of one student."""


def refuse_student(name: object) -> None:
    """Raise :class:`UserError` where a student cannot be called so, before anything is done with the name."""
    refuse_name(name, "student", "students")
    if name == "teacher":
        raise UserError(f"{name!r} cannot name a student: the word is taken", "students", f"For example my-{name}")


def refuse_many(students: int) -> None:
    """Raise :class:`UserError` for more students than anybody could look at."""
    if students > MOST:
        raise UserError(f"{students} students", "students", f"Give at most {MOST}; write several recipes for more")


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
