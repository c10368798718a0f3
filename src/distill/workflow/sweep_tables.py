"""The tables of a sweep: errors, models and failures of all variants, each model once, however many variants share it.

A model is what the hash of its training says. The columns of the swept keys are empty where a number does not depend on
them: where no task that it comes from reads the key, or variants with different values have it in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.base.artifact import Manifest
from distill.base.files import read_table
from distill.workflow.dependence import dependence
from distill.workflow.merge import MergedPlan
from distill.workflow.plan import Plan
from distill.workflow.runner import State
from distill.workflow.store import Store
from distill.workflow.sweep import Variant
from distill.workflow.tasks import Task

Row = dict[str, Any]

HEAD = ("sweep", "repeat")
"""Columns before those of the swept keys: the variant, or the first of those that share the row, and its repetition."""
MODEL = ("model", "variant", "seed", "status", "valid_loss")
OF_TRAINING = ("train_structures", "train_labels", "parameters", "train_s")
MODELS = (*MODEL, "arch", "model_hash", *OF_TRAINING, "steps", "best_step")
FAILURES = ("task", "stage", "model", "variant", "seed", "status", "message")
DIVERGED = "diverged"
TEACHER = "teacher"
OF_TEACHER = ("ensemble", "finetune")
"""The stages that may make the teacher, the last one there is first."""
PREDICTED = {"test": "predict", "synthetic": "unseen"}
"""The stage that predicts each set of structures."""


@dataclass
class Tables:
    """The tables of a sweep.

    Attributes:
        keys: the swept keys, which are columns of every table.
        columns: names of all columns, by table: ``metrics``, ``models`` and ``failures``.
        rows: the rows of each.
    """

    keys: Sequence[str]
    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """A row of one variant, and the ids of the tasks that it comes from."""

    variant: str
    row: Row
    tasks: Sequence[str]


@dataclass(frozen=True)
class _Once:
    """Takes rows that variants share once.

    Attributes:
        keys: the swept keys.
        variants: the variants by name.
        depends: the id of a task to the keys on which it depends.
    """

    keys: Sequence[str]
    variants: Mapping[str, Variant]
    depends: Mapping[str, frozenset[str]]

    def rows(self, found: Iterable[_Found]) -> list[Row]:
        """Return each row once, with the first variant that has it and the values on which it depends."""
        seen: dict[tuple[Any, ...], list[_Found]] = {}
        for one in found:
            repeat = self.variants[one.variant].repeat
            seen.setdefault((repeat, *one.tasks, *map(str, one.row.values()), *one.row), []).append(one)
        return [self._head(same) | same[0].row for same in seen.values()]

    def _head(self, same: Sequence[_Found]) -> Row:
        variants = [self.variants[one.variant] for one in same]
        needed = frozenset[str]().union(*(self.depends.get(task, frozenset()) for task in same[0].tasks))
        values = {
            key: _shared([_cell(one.values[key]) for one in variants]) if key in needed else "" for key in self.keys
        }
        return {"sweep": variants[0].name, "repeat": variants[0].repeat} | values


def make_tables(
    keys: Sequence[str], variants: Sequence[Variant], plan: MergedPlan, state: State, store: Store
) -> Tables:
    """Return the tables of a sweep that has ended, however it did."""
    models = dict(_models(plan, state))
    metrics = list(_metrics(plan, state, store, models))
    own = list(dict.fromkeys(name for one in metrics for name in one.row if name not in ("model_hash", *OF_TRAINING)))
    trained = [_Found(name, row, (key,)) for key, row in models.items() for name, _ in plan.owners(plan[key])]
    failed = list(_failures(plan, state, models, metrics))
    once = _Once(keys, {variant.name: variant for variant in variants}, dependence(plan, keys))
    tables = Tables(keys)
    for table, columns, found in (
        ("metrics", [*own, "model_hash", *OF_TRAINING], metrics),
        ("models", MODELS, trained),
        ("failures", FAILURES, failed),
    ):
        tables.columns[table] = [*HEAD, *keys, *columns]
        tables.rows[table] = once.rows(found)
    return tables


def _cell(value: object) -> object:
    """Return a value as tables have it: what is not set is ``null``, which is not the same as nothing."""
    return "null" if value is None else value


def _shared(values: Sequence[Any]) -> Any:
    """Return the value that all have in common; nothing where they differ."""
    return values[0] if all(value == values[0] for value in values) else ""


def _models(plan: MergedPlan, state: State) -> Iterator[tuple[str, Row]]:
    """Yield every student that was to be trained, by the id of its task."""
    for task in plan.of_stage("train"):
        manifest = state.done.get(task.id)
        said = manifest["summary"] if manifest else {}
        row: Row = {"model": task.labels["student"], "variant": task.labels["variant"], "seed": task.labels["seed"]}
        row |= {"status": said.get("status", _end(task, state)), "valid_loss": said.get("valid_loss")}
        row |= {"arch": task.hash_inputs["settings"].get("arch"), "model_hash": task.hash}
        row |= _training(manifest) | {name: said.get(name) for name in ("steps", "best_step")}
        yield task.id, row


def _end(task: Task, state: State) -> str:
    if task.id in state.errors:
        return "failed"
    return "not trained" if task.id in state.skipped else "unfinished"


def _training(manifest: Manifest | None) -> Row:
    """Return what a student was trained on, how large it is and how long it took, s."""
    said = manifest["summary"] if manifest else {}
    row: Row = {name: said.get(name) for name in OF_TRAINING if name != "train_s"}
    return row | {"train_s": round(manifest["wall_s"], 3) if manifest else None}


def _metrics(plan: MergedPlan, state: State, store: Store, models: Mapping[str, Row]) -> Iterator[_Found]:
    """Yield the errors of all variants, and of each the model that they are of."""
    for name, member in plan.members.items():
        for evaluated in member.of_stage("evaluate"):
            if plan.ids[name, evaluated.id] in state.done:
                who = _Judged(plan, name, member, models)
                for row in read_table(store.artifact(evaluated) / evaluated.outputs["metrics"]):
                    yield who.found(row)


class _Judged:
    """Who is judged in a variant.

    Args:
        plan: of the sweep.
        name: of the variant.
        member: its plan.
        models: the students by the id of their training.
    """

    def __init__(self, plan: MergedPlan, name: str, member: Plan, models: Mapping[str, Row]) -> None:
        self._name, self._models = name, models
        self._by_labels = {
            (task.stage, *map(str, task.labels.values())): plan.ids[name, task.id]
            for stage in ("train", *PREDICTED.values())
            for task in member.of_stage(stage)
        }
        makers = (task for stage in OF_TEACHER for task in member.of_stage(stage))
        self._teacher = next(makers, None)
        self._teacher_id = plan.ids[name, self._teacher.id] if self._teacher else ""

    def found(self, row: Row) -> _Found:
        """Return a row of errors with what is known of the model, and the tasks that it comes from."""
        labels = (row["model"], row["variant"], row["seed"])
        tasks = [self._by_labels.get((PREDICTED.get(row["split"], ""), *labels), "")]
        tasks += [self._teacher_id] if row["reference"] == TEACHER else []
        model = self._models.get(self._by_labels.get(("train", *labels), ""))
        own = {key: model[key] for key in ("model_hash", *OF_TRAINING)} if model else {}
        if model is None and self._teacher is not None and row["model"] == TEACHER:
            own["model_hash"] = self._teacher.hash
        return _Found(self._name, row | own, tasks)


def _failures(plan: MergedPlan, state: State, models: Mapping[str, Row], metrics: Sequence[_Found]) -> Iterator[_Found]:
    """Yield what failed, and what ended without numbers that can be used, by variant."""
    for here, error in state.errors.items():
        for name, own in plan.owners(plan[here]):
            yield _Found(name, _failure(own, "failed", str(error)), (here,))
    for here, row in models.items():
        if row["status"] == DIVERGED:
            for name, own in plan.owners(plan[here]):
                yield _Found(name, _failure(own, DIVERGED, "training diverged: lower learning_rate"), (here,))
    for one in metrics:
        if one.row.get("status") == "not finite":
            said = {"task": "", "stage": "evaluate", "message": "what it predicts is not finite"}
            who = {column: one.row[column] for column in ("model", "variant", "seed", "status")}
            yield _Found(one.variant, said | who, one.tasks)


def _failure(task: Task, status: str, message: str) -> Row:
    labels = {
        "model": task.labels.get("student", ""),
        **{name: task.labels.get(name, "") for name in ("variant", "seed")},
    }
    return {"task": task.id, "stage": task.stage} | labels | {"status": status, "message": message}
