"""Why a task runs again: what its hash covers, compared with that of the previous plan of the same run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.base.errors import UserError, nearest
from distill.workflow.machine import other_versions
from distill.workflow.plan import Plan
from distill.workflow.store import Store
from distill.workflow.tasks import FromFile, FromTask, Task

DIGEST = 64
"""Digits of a SHA-256."""


@dataclass(frozen=True)
class Verdict:
    """What will happen to a task.

    Attributes:
        cached: its artifact exists and is taken as it is.
        why: the reason, e.g. ``students.painn.cutoff: 5.0 -> 6.0``.
        note: what should be known of a cached one: that it was made with other versions of packages.
    """

    cached: bool
    why: str
    note: str = ""


def explain_plan(
    plan: Plan, store: Store, previous: Mapping[str, Any] | None, force: Iterable[str] = ()
) -> dict[str, Verdict]:
    """Return for every task whether it is cached, and if not, why.

    Args:
        plan: the plan.
        store: where artifacts would be.
        previous: the ``plan.json`` that the last run of this name left, or None.
        force: names of stages to run again.

    Raises:
        UserError: ``force`` names an unknown stage.
    """
    forced = forced_tasks(plan, force)
    verdicts: dict[str, Verdict] = {}
    for task in plan:
        manifest = store.manifest(task) if task.id not in forced else None
        if manifest is not None:
            others = other_versions(manifest.get("versions", {}))
            verdicts[task.id] = Verdict(True, "cached", f"made with {others}" if others else "")
        else:
            why = "; ".join(_reasons(task, plan, store, previous or {}, force, verdicts))
            verdicts[task.id] = Verdict(False, why)
    return verdicts


def forced_tasks(plan: Plan, force: Iterable[str]) -> set[str]:
    """Return the ids of the tasks of the stages in ``force`` and of all that depend on them."""
    for stage in force:
        if stage not in plan.recipe.stages:
            raise UserError(f"there is no stage {stage!r}", where="--force", remedy=nearest(stage, plan.recipe.stages))
    return plan.with_dependents(task.id for task in plan if task.stage in set(force))


def _reasons(
    task: Task,
    plan: Plan,
    store: Store,
    previous: Mapping[str, Any],
    force: Iterable[str],
    verdicts: Mapping[str, Verdict],
) -> list[str]:
    if task.stage in set(force):
        return ["forced"]
    old = previous.get("tasks", {}).get(task.id)
    changes = _changes(task, plan, old["ingredients"]) if old else []
    if changes:
        return changes
    remade = [need for need in task.needs if not verdicts[need].cached and force]
    if remade:
        return [f"{', '.join(remade)} is made again"]
    if store.is_interrupted(task):
        return ["was interrupted, continues from there"]
    return ["not finished yet" if old else "never run"]


def _changes(task: Task, plan: Plan, old: Mapping[str, Any]) -> list[str]:
    new = task.hash_inputs
    changes = [f"{key}: {old[key]} -> {new[key]}" for key in ("seed",) if old[key] != new[key]]
    if old["version"] != new["version"]:
        changes.append(f"stage version: {old['version']} -> {new['version']}")
    for field in sorted({*old["settings"], *new["settings"]}):
        key = task.keys.get(field, field)
        changes += _differences(key, old["settings"].get(field), new["settings"].get(field))
    for part in ("code", "machine", "programs"):
        changes += _part_changes(part, old.get(part, {}), new.get(part, {}))
    for name in new["inputs"]:
        before, after = old["inputs"].get(name), new["inputs"][name]
        if before != after:
            changes.append(_input_change(task, plan, name))
    return changes


def _part_changes(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs of the code that a recipe names, whose hashes tell nobody anything, machine or programs."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before != after and DIGEST in (len(str(before)), len(str(after))):
            lines.append(f"{part} {name} changed")
        else:
            lines += _differences(f"{part} {name}", before, after)
    return lines


def _differences(key: str, old: object, new: object) -> list[str]:
    """Return ``key: old -> new`` for each value that differs, going into mappings."""
    if old == new:
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        inner = sorted({*old, *new})
        return [line for name in inner for line in _differences(f"{key}.{name}", old.get(name), new.get(name))]
    return [f"{key}: {_text(old)} -> {_text(new)}"]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _input_change(task: Task, plan: Plan, name: str) -> str:
    source = task.inputs[name]
    if isinstance(source, FromFile):
        return f"file {source.key} changed"
    if isinstance(source, FromTask):
        return f"input {name} comes from {source.task}, which changes"
    if source:
        return f"input {name} is collected from {plan[source[0].task].stage}, which changes"
    return f"input {name} changes"
