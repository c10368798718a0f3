"""What a plan costs: how many tasks there are, how many are done, and how long the others take by what the store knows.

A task takes as long as those of its kind have taken here: of the same stage, and where it is a student's, of the same
architecture and variant, in proportion to the steps. Where there is no such task nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from distill.base.sealed import DamagedError, read_sealed
from distill.workflow.manifest import MANIFEST
from distill.workflow.merge import MergedPlan
from distill.workflow.plan import Plan
from distill.workflow.store import Store

Kind = tuple[str, str, str]
"""Stage, architecture and variant: what takes similarly long."""


@dataclass(frozen=True)
class StageCost:
    """The tasks of one stage.

    Attributes:
        stage: its name.
        planned: tasks of all recipes, each counted for itself.
        distinct: different ones among them.
        cached: those of them that are done.
        seconds: how long the others take, one after another, as far as it is known.
        unknown: tasks of which nothing is known.
    """

    stage: str
    planned: int
    distinct: int
    cached: int
    seconds: float
    unknown: int


def costs(plan: Plan, store: Store) -> list[StageCost]:
    """Return what the stages of a plan cost, in the order of the pipeline; nothing is done."""
    known = {stage: _rates(store, stage) for stage in plan.stages if plan.of_stage(stage)}
    found = []
    for stage, rates in known.items():
        tasks = plan.of_stage(stage)
        waiting = [task for task in tasks if not store.has(task)]
        times = [_seconds(rates, stage, task.labels, task.hash_inputs["settings"]) for task in waiting]
        planned = len(tasks)
        if isinstance(plan, MergedPlan):
            planned = sum(len(member.of_stage(stage)) for member in plan.members.values())
        told = [seconds for seconds in times if seconds is not None]
        found.append(
            StageCost(stage, planned, len(tasks), len(tasks) - len(waiting), sum(told), len(times) - len(told))
        )
    return found


def _rates(store: Store, stage: str) -> dict[Kind, float]:
    """Return the seconds that finished tasks of a stage took, a step where they have steps, by what they are."""
    found: dict[Kind, list[float]] = {}
    for said in _manifests(store, stage):
        settings = said.get("settings", {})
        kind = _kind(stage, said.get("labels", {}), settings)
        found.setdefault(kind, []).append(float(said["wall_s"]) / _steps(settings))
    return {kind: median(times) for kind, times in found.items()}


def _manifests(store: Store, stage: str) -> Iterator[dict[str, Any]]:
    for path in store.root.glob(f"{stage}/[0-9a-f]*/{MANIFEST}"):
        try:
            yield read_sealed(path)
        except (OSError, DamagedError):
            continue


def _seconds(
    rates: Mapping[Kind, float], stage: str, labels: Mapping[str, Any], settings: Mapping[str, Any]
) -> float | None:
    rate = rates.get(_kind(stage, labels, settings))
    return None if rate is None else rate * _steps(settings)


def _kind(stage: str, labels: Mapping[str, Any], settings: Mapping[str, Any]) -> Kind:
    return stage, str(settings.get("arch", "")), str(labels.get("variant", ""))


def _steps(settings: Mapping[str, Any]) -> float:
    """Return what the time of a task is proportional to: its steps, or the structures that it grows."""
    for name in ("steps", "structures"):
        number = settings.get(name)
        if isinstance(number, int | float) and number > 0:
            return float(number)
    return 1.0
