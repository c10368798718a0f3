"""One piece of work of a plan: a stage with its settings, and where its inputs come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.base.artifact import Labels
from distill.base.consent import Code
from distill.base.settings import Settings


@dataclass(frozen=True)
class FromTask:
    """An input that another task makes; ``output`` is empty for its whole artifact."""

    task: str
    output: str


@dataclass(frozen=True)
class FromFile:
    """An input that the recipe names at ``key``; ``path`` is None where it names none."""

    key: str
    path: Path | None


Input = FromTask | FromFile | tuple[FromTask, ...] | None
"""One input: from a task, from a file, collected from several tasks, or none for this variant."""


@dataclass(frozen=True)
class Task:
    """One piece of work: a stage with settings and inputs.

    Attributes:
        id: e.g. ``train[painn,distilled,0]``.
        stage: the stage's name.
        labels: which of the stage's tasks this is.
        settings: a validated instance of the stage's settings.
        keys: for each settings field, the recipe's dotted key that it comes from.
        inputs: input name to where it comes from.
        outputs: output name to its file or folder name in the artifact.
        publish: output name to its name in the run's folder.
        hash_inputs: everything that the hash covers.
        hash: names the artifact.
        seed: the recipe's seed.
        resume_key: equal for tasks of which one may continue another; empty where the stage does not extend its work.
        extent: how far the work goes; among tasks of one resume key the largest is done first.
        level: tasks of the same level do not depend on each other.
        code: what the recipe names of code for it.
        waits: ids of tasks that are done before, although nothing of them is read.
        missing: for each input that does without tasks that failed, the labels of those.
        notes: what the user should know of it before it is done.
    """

    id: str
    stage: str
    labels: Labels
    settings: Settings
    keys: Mapping[str, str]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    publish: Mapping[str, str]
    hash_inputs: Mapping[str, Any]
    hash: str
    seed: int
    resume_key: str
    extent: tuple[float, ...]
    level: int
    code: tuple[Code, ...] = ()
    waits: tuple[str, ...] = ()
    missing: Mapping[str, Sequence[Labels]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the tasks that this one reads, and of those that it waits for."""
        return tuple(dict.fromkeys([*(source.task for source in from_tasks(self.inputs.values())), *self.waits]))


def from_tasks(inputs: Iterable[Input]) -> Iterator[FromTask]:
    """Yield every task that inputs come from, those that are collected one by one."""
    for source in inputs:
        if isinstance(source, FromTask):
            yield source
        elif isinstance(source, tuple):
            yield from source
