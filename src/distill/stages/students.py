"""Which students there are: how each comes to be, and the tasks that the recipe asks for."""

from __future__ import annotations

from typing import Literal, Protocol, Self

from pydantic import BaseModel, Field, model_validator

from distill.base.artifact import LabelValue
from distill.base.errors import UserError
from distill.base.settings import refuse_name
from distill.sampling.rules import for_validation
from distill.stages.base import StageSettings

VARIANTS = ("distilled", "refined", "direct")
"""How a student comes to be: from the synthetic structures, then the DFT structures too, or from these alone."""

MOST, MOST_SEEDS = 100, 100
"""Students of one recipe, and seeds of one student."""


class StudentExtent(StageSettings):
    """What the recipe says of a student besides its architecture and its fit."""

    seeds: int = Field(1, ge=1, le=MOST_SEEDS)
    """Random seeds to train with; each is a student of its own, and the spread is reported."""
    direct: bool = True
    """Also train the same architecture directly on the DFT structures, as the baseline."""


class Synthetic(StageSettings):
    """What the recipe says of the synthetic structures; what a student asks of them and they lack is refused."""

    atomic_energies: bool
    hessian: Literal["rows", "random"] | None
    grown: int = Field(exclude=True)
    valid_fraction: float = Field(exclude=True)

    @model_validator(mode="after")
    def _targets_are_made(self) -> Self:
        if (loss := getattr(self, "loss", None)) is None:
            return self
        for term, made, value in (("atomic_energy", "atomic_energies", "true"), ("hessian", "hessian", "random")):
            if getattr(loss, term) > 0 and not getattr(self, made):
                what = f"loss.{term} has a weight, but there are no such labels"
                raise ValueError(f"{what}: set synthetic.{made}: {value}")
        return self

    @model_validator(mode="after")
    def _enough_grows(self) -> Self:
        asked, most = getattr(self, "structures", None), self.grown - for_validation(self.grown, self.valid_fraction)
        if asked is not None and asked > most:
            what = f"structures is {asked}, and {most} of the {self.grown} that grow are to train on"
            raise ValueError(f"{what}: lower it, or raise synthetic.structures")
        return self


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
