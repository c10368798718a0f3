"""Which teachers there are: one or several of the recipe, each in one or several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from distill.base.artifact import LabelValue
from distill.base.errors import UserError
from distill.base.random import stream_seed
from distill.stages.base import Job
from distill.stages.students import MOST_SEEDS
from distill.stages.teacher import TeacherSettings


def teachers_by_name(section: Any) -> dict[str, TeacherSettings]:
    """Return the teachers of the recipe's ``teacher`` or ``teachers`` section; a single one is called as its model.

    Raises:
        UserError: two of them are the same, or replay different files.
    """
    if isinstance(section, TeacherSettings):
        return {section.model: section}
    teachers: dict[str, TeacherSettings] = {name: getattr(section, name) for name in type(section).model_fields}
    for (name, one), (other, another) in combinations(teachers.items(), 2):
        if one == another:
            what, remedy = f"{name} and {other} are the same teacher", "For several seeds of one, set finetune.seeds"
            raise UserError(what, where=f"teachers.{other}", remedy=remedy)
    first, *others = teachers
    for name in others:
        if (file := _replayed(teachers[name])) not in (None, _replayed(teachers[first])):
            what = f"{name} replays {file}, and only the file of {first} is compared with the test set"
            where = f"teachers.{name}.finetune.replay.file"
            raise UserError(what, where=where, remedy=f"Name the same file at {first}")
    return teachers


def members(teachers: Mapping[str, TeacherSettings]) -> list[dict[str, LabelValue]]:
    """Return the labels of every teacher and seed; where there is a single one, it has none.

    Raises:
        UserError: there are more than anybody could look at.
    """
    seeds = {name: one.finetune.seeds if one.finetune else 1 for name, one in teachers.items()}
    labels: list[dict[str, LabelValue]] = [
        {"teacher": name, "seed": k} for name in teachers for k in range(seeds[name])
    ]
    if len(labels) > MOST_SEEDS:
        raise UserError(f"{len(labels)} teachers, seeds counted", "teachers", f"Give at most {MOST_SEEDS}")
    return labels if len(labels) > 1 else [{}]


def of_member(job: Job) -> Job:
    """Return the job of one of several seeds of a teacher: the first draws as a single one does."""
    seed = int(job.labels.get("seed", 0))
    return replace(job, seed=stream_seed(job.seed, "seed of the teacher", seed)) if seed else job


def _replayed(teacher: TeacherSettings) -> str | None:
    """Return the file that a teacher replays, if any."""
    return teacher.finetune.replay.file if teacher.finetune and teacher.finetune.replay else None
