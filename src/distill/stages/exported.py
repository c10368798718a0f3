"""What the recipe's ``export`` section says, and which students it takes to other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from distill.base.artifact import Labels
from distill.base.errors import UserError, nearest
from distill.exporting import TARGETS
from distill.potentials import student_row
from distill.stages.base import StageSettings
from distill.stages.start import Start

Variant = Literal["distilled", "refined", "direct"]


class Export(StageSettings):
    """Students for other programs: the safety gate, what is written, and the certificate."""

    to: tuple[str, ...] = ()
    """Programs to write students for, as in [lammps]; none if absent."""
    students: tuple[str, ...] | None = None
    """Names of the students; all if absent."""
    variants: tuple[Variant, ...] | None = None
    """Which of each, by how they came to be; absent: the refined one where there is one, else the distilled one."""
    seeds: int | None = Field(None, ge=1)
    """How many of the seeds of each, the first ones; all if absent."""
    gate: Literal["strict", "warn", "off"] = "strict"
    """What becomes of a student that fails the safety gate: strict refuses it, warn writes it as UNSAFE; off does not
    look."""
    temperature: float | None = Field(None, gt=0)
    """The highest temperature that the students are meant for, K: the gate runs dynamics at twice that. Absent: the
    highest of the simulations, else that of generation."""
    precision: Literal["double", "single"] = "double"
    """In which the programs compute the networks; single takes half of the time."""
    structure: Start | None = None
    """What example inputs begin from; absent: the first training structure that is periodic in all directions."""
    data_licence: str = ""
    """Licence of the data, for instance CC-BY-4.0: the card names the strictest of all that a student was made of."""

    @field_validator("to")
    @classmethod
    def _are_programs(cls, programs: tuple[str, ...]) -> tuple[str, ...]:
        for name in programs:
            if name not in TARGETS:
                raise ValueError(f"unknown program {name!r}. {nearest(name, TARGETS)}")
            if programs.count(name) > 1:
                raise ValueError(f"{name} is named twice")
        return programs


def exported(section: Export, trained: Sequence[Labels]) -> list[Labels]:
    """Return which of the trained students are taken to other programs; none where the recipe names no program.

    Raises:
        UserError: a student is named that there is not, or none is as the recipe wants it.
    """
    if not section.to:
        return []
    names = [str(one["student"]) for one in trained]
    for name in section.students or ():
        if name not in names:
            raise UserError(f"there is no student {name!r}", "export.students", nearest(name, names))
    refined = {one["student"] for one in trained if one["variant"] == "refined"}

    def is_wanted(one: Labels) -> bool:
        last: tuple[str, ...] = ("refined",) if one["student"] in refined else ("distilled",)
        return (
            (section.students is None or one["student"] in section.students)
            and one["variant"] in (section.variants or last)
            and (section.seeds is None or int(one["seed"]) < section.seeds)
        )

    wanted = [one for one in trained if is_wanted(one)]
    if not wanted:
        remedy = f"The recipe trains {', '.join(dict.fromkeys(str(one['variant']) for one in trained))}"
        raise UserError("there is no student of these variants to export", "export.variants", remedy)
    return wanted


def refuse_untaken(programs: Sequence[str], named: Sequence[str] | None, architectures: Mapping[str, str]) -> None:
    """Refuse students that a program does not take, before any is trained.

    Args:
        programs: to export to.
        named: the students; all if None.
        architectures: of every student of the recipe, by its name.

    Raises:
        UserError: says which student, and what to do.
    """
    for name, architecture in architectures.items():
        if named is None or name in named:
            _refuse_untaken(programs, name, architecture)


def _refuse_untaken(programs: Sequence[str], name: str, architecture: str) -> None:
    for program in programs:
        try:
            TARGETS[program].check_row(student_row(architecture))
        except UserError as error:
            raise UserError(f"the student {name}: {error.what}", "export", error.remedy) from None


def architectures_of(students: Any) -> Any:
    """Return the architecture of every student of the recipe's ``students`` section."""
    if isinstance(students, Mapping):  # it arrives so where the task is done
        return students
    return {name: getattr(students, name).arch for name in type(students).model_fields}
