"""The runner walks a plan: what is cached is linked, the rest goes to the executor as soon as its inputs are there.

A failed task stops only what depends on it. Whatever ends the run, finished tasks stay finished, and the next run
continues the others from where they stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from distill.base.artifact import Manifest
from distill.base.errors import DistillError
from distill.workflow.display import Display, make_display, warn
from distill.workflow.executors import EXECUTORS
from distill.workflow.executors.base import Executor, Outcome
from distill.workflow.explain import forced_tasks
from distill.workflow.machine import other_versions, usable_cores, versions
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import Recipe
from distill.workflow.rundir import RunFolder
from distill.workflow.store import Store, plain
from distill.workflow.tasks import Task
from distill.workflow.users import READ_ONLY, using
from distill.workflow.work import make_submission

POLL_S = 0.3
SHOWN = 3
"""Tasks that failed besides the first which are named; ``distill status`` shows all."""


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: ``runs/<name>``, with links to the results and ``summary.json``.
        summary: the content of ``summary.json``.
        ran: ids of the tasks that were done now.
        cached: ids of the tasks that were finished before.
        links: the published results.
    """

    folder: Path
    summary: dict[str, Any]
    ran: tuple[str, ...]
    cached: tuple[str, ...]
    links: tuple[Path, ...]


class Folder(Protocol):
    """Where people find what a plan made."""

    store: Store

    def prepare(self, plan: Plan) -> None:
        """Say what is planned, remove what is no longer true, and link what is finished already."""

    def publish(self, task: Task) -> None:
        """Link the outputs of a finished task under their readable names."""


@dataclass
class State:
    """Where a run stands: what waits, what runs, what ended and how.

    Attributes:
        waiting: tasks that are not begun.
        running: tasks that are under way, by their ids.
        done: the manifests of finished tasks.
        errors: what went wrong, by the id of the task.
        skipped: tasks that are not done for want of another, and that one's id.
        cached: ids of the tasks that were finished before.
        reduced: whether stages did without what failed.
    """

    waiting: list[Task]
    running: dict[str, Task] = field(default_factory=dict)
    done: dict[str, Manifest] = field(default_factory=dict)
    errors: dict[str, DistillError] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    reduced: bool = False

    def ready(self) -> list[Task]:
        """Return the waiting tasks whose needs are done, in the order of the plan.

        Of tasks that may continue each other one is done at a time, the largest first: the others are parts of it.
        """
        ready = [task for task in self.waiting if all(need in self.done for need in task.needs)]
        first: dict[str, Task | None] = {task.resume_key: None for task in self.running.values() if task.resume_key}
        for task in ready:
            before = first.setdefault(task.resume_key, task)
            if before is not None and task.extent > before.extent:
                first[task.resume_key] = task
        return [task for task in ready if not task.resume_key or first[task.resume_key] is task]


def store_of(runs: str | Path = "runs", store: str | Path | None = None) -> Store:
    """Return the store at ``store``, or the one that all runs below ``runs`` share."""
    return Store(Path(store) if store is not None else Path(runs) / ".store")


def run_recipe(
    recipe: Recipe,
    *,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    device: str = "auto",
    force: Iterable[str] = (),
    progress: bool = True,
) -> RunResult:
    """Do everything of a recipe that is not done yet.

    Args:
        recipe: the recipe.
        runs: the folder of the folders of runs.
        store: the folder of artifacts; ``<runs>/.store`` if None.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        force: names of stages to do again, with everything that depends on them.
        progress: show what happens on the error stream.

    Raises:
        DistillError: bad input, or a task failed; independent tasks are finished first.
    """
    began = time.monotonic()
    plan = make_plan(recipe, device)
    folder = RunFolder(Path(runs) / recipe.name, store_of(runs, store))
    summary: dict[str, Any] = {}

    def finish(plan: Plan, state: State) -> None:
        summary.update(summary_of(plan, state, time.monotonic() - began))
        folder.write_summary(summary)

    plan, state = work_through(plan, folder, finish, device=device, force=force, progress=progress)
    if state.errors:
        raise final_error(state)
    ran = tuple(task.id for task in plan if task.id not in state.cached)
    return RunResult(folder.path, summary, ran, state.cached, tuple(folder.links(plan)))


def work_through(
    plan: Plan,
    folder: Folder,
    finish: Callable[[Plan, State], None],
    *,
    device: str = "auto",
    force: Iterable[str] = (),
    progress: bool = True,
    executor: Executor | None = None,
) -> tuple[Plan, State]:
    """Do what of a plan is not done yet; what failed is in the state that is returned.

    Args:
        plan: the plan.
        folder: where people find the results.
        finish: writes what the folder says of the whole, from the plan as it was in the end and how its tasks ended.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        force: names of stages to do again, with everything that depends on them.
        progress: show what happens on the error stream.
        executor: who does it, and goes on living: for plans one after another; None: the recipe's, which ends.

    Returns:
        The plan as it was in the end, where stages may have done without what failed, and how its tasks ended.
    """
    artifacts = folder.store
    forced = [plan[task_id] for task_id in forced_tasks(plan, force)]
    with using(artifacts.root, plan.recipe.name, _hashes(plan), _hashes(forced), lambda: _discard(artifacts, forced)):
        artifacts.sweep()
        state, notes = _look_through(plan, artifacts)
        state.cached = tuple(state.done)
        warn(progress, [*(plan.notes() if state.waiting else ()), *notes])
        _or_read_only(lambda: folder.prepare(plan), state)
        if state.waiting:
            own = executor or executor_of(plan.recipe)
            try:
                plan = _execute(plan, state, folder, device, progress, own)
            finally:
                if executor is None:
                    own.stop()
        _or_read_only(lambda: finish(plan, state), state)
    return plan, state


def _hashes(tasks: Iterable[Task]) -> set[str]:
    return {task.hash for task in tasks}


def _discard(artifacts: Store, tasks: Iterable[Task]) -> None:
    for task in tasks:
        artifacts.discard(task)


def _look_through(plan: Iterable[Task], artifacts: Store) -> tuple[State, list[str]]:
    """Return what is done and what is not, and what has to be said of artifacts that are not as they were written.

    Every file that a finished task has left is read and hashed.
    """
    state, notes = State([]), []
    for task in plan:
        manifest, damaged = artifacts.looked_through(task)
        if manifest is None:
            state.waiting.append(task)
        else:
            state.done[task.id] = manifest
        if damaged:
            what = "it is made again" if manifest is None else "no result depends on it"
            notes.append(f"{task.id}: {', '.join(damaged)} of {artifacts.artifact(task)} is damaged; {what}")
    return state, notes


def _or_read_only(write: Callable[[], None], state: State) -> None:
    """Write what is for people; where nothing can be written that is no failure of a run that has nothing to do."""
    try:
        write()
    except OSError as error:
        if state.waiting or error.errno not in READ_ONLY:
            raise


def executor_of(recipe: Recipe) -> Executor:
    """Return the executor that a recipe asks for; nothing is started."""
    settings = recipe.executor
    executor: Executor = EXECUTORS[settings.kind](settings)
    return executor


def _execute(plan: Plan, state: State, folder: Folder, device: str, progress: bool, executor: Executor) -> Plan:
    """Do what waits, and return the plan as it was in the end: stages may have done without what failed."""
    display: Display | None = None
    with ExitStack() as users:
        try:
            found = executor.start(device, plan.width())
            display = make_display(progress, folder.store, len(plan), len(state.done))
            while state.running or state.ready():
                for task in state.ready()[: executor.workers - len(state.running)]:
                    _begin(plan, task, state, executor, display, found)
                outcome = executor.wait(POLL_S)
                if outcome is not None:
                    plan = _end(plan, outcome, state, folder, display, users)
                display.refresh()
        finally:
            if display is not None:
                display.close()
    return plan


def _begin(plan: Plan, task: Task, state: State, executor: Executor, display: Display, device: str) -> None:
    threads = plan.threads(task, executor.workers, usable_cores())
    state.waiting.remove(task)
    state.running[task.id] = task
    display.started(task)
    executor.submit(make_submission(plan, task, display.store, device, threads))


def _end(plan: Plan, outcome: Outcome, state: State, folder: Folder, display: Display, users: ExitStack) -> Plan:
    """Book an outcome: publish a finished task at once, or set aside everything that cannot do without a failed one.

    Returns the plan to go on with.
    """
    task = state.running.pop(outcome.id)
    if outcome.manifest is not None:
        state.done[task.id] = outcome.manifest
        folder.publish(task)
        display.finished(task, outcome.manifest)
    elif outcome.error is not None:
        state.errors[task.id] = outcome.error
        display.failed(task, outcome.error)
        plan = _without_failed(plan, state, folder, display, users)
        lost = plan.with_dependents([task.id])
        skipped = [other for other in state.waiting if other.id in lost]
        state.waiting = [other for other in state.waiting if other.id not in lost]
        state.skipped |= {other.id: task.id for other in skipped}
    return plan


def _without_failed(plan: Plan, state: State, folder: Folder, display: Display, users: ExitStack) -> Plan:
    """Return the plan in which stages that tolerate it do without what failed; the present one where none does.

    What waits gives way to its counterparts, of which some may be in the store.
    """
    if not any(stage.tolerates for stage in plan.stages.values()):
        return plan
    try:
        reduced = plan.without(state.errors)
    except DistillError:  # a file of the user's has changed meanwhile, which the tasks that read it will say
        return plan
    changed = [task for task in reduced if task.hash != plan[task.id].hash]
    if not changed or not {task.id for task in changed} <= {task.id for task in state.waiting}:
        return plan
    users.enter_context(using(folder.store.root, plan.recipe.name, _hashes(changed), (), lambda: None))
    found, _ = _look_through(changed, folder.store)
    state.done |= found.done
    display.done += len(found.done)
    state.waiting = [reduced[task.id] for task in state.waiting if task.id in reduced and task.id not in found.done]
    state.reduced = True
    folder.prepare(reduced)
    return reduced


def final_error(state: State) -> DistillError:
    """Return the first failure; how many others there are, and how many tasks were not done, ends its remedy."""
    first = next(iter(state.errors.values()))
    others = list(state.errors)[1:]
    more = [f"{', '.join(others[:SHOWN])}{' and others' if len(others) > SHOWN else ''} failed too"] if others else []
    if state.skipped:
        tasks = "1 task" if len(state.skipped) == 1 else f"{len(state.skipped)} tasks"
        more.append(f"{tasks} could not be done for want of it")
    elif state.reduced:
        more.append("What follows was done without it; the same command tries it again")
    error = type(first)(first.what, where=first.where, remedy=". ".join([*filter(None, [first.remedy]), *more]) or None)
    for note in getattr(first, "__notes__", []):
        error.add_note(note)
    return error


def summary_of(plan: Plan, state: State, elapsed_s: float) -> dict[str, Any]:
    """Return the content of ``summary.json``; a task that is not done has ``error`` or ``skipped`` for numbers."""
    tasks: dict[str, Any] = {}
    for task in plan:
        entry: dict[str, Any] = {"stage": task.stage, "labels": dict(task.labels), "hash": task.hash}
        manifest: Manifest | None = state.done.get(task.id)
        if manifest is not None:
            shown = ("wall_s", "peak_memory_mib", "peak_gpu_memory_mib", "device", "threads", "summary", "warnings")
            entry |= {name: value for name, value in manifest.items() if name in shown}
            entry["cached"] = task.id in state.cached
            entry |= {"made_with": others} if (others := other_versions(manifest.get("versions", {}))) else {}
        elif task.id in state.errors:
            entry["error"] = str(state.errors[task.id])
        else:
            entry["skipped"] = f"{state.skipped[task.id]} failed"
        tasks[task.id] = entry
    return cast(
        dict[str, Any],
        plain(
            {
                "recipe": plan.recipe.resolved(),
                "seed": plan.recipe.seed,
                "versions": versions(),
                "tasks": tasks,
                "totals": _totals(state, elapsed_s),
            }
        ),
    )


def _totals(state: State, elapsed_s: float) -> dict[str, Any]:
    """Return sums over the finished tasks, whenever they were done, and the duration of this run."""
    done = state.done.values()
    return {
        "tasks": len(done),
        "cached": len(state.cached),
        "work_s": round(sum(manifest["wall_s"] for manifest in done), 3),
        "this_run_s": round(elapsed_s, 3),
        "peak_memory_mib": max((m for one in done if (m := one["peak_memory_mib"]) is not None), default=None),
        "warnings": sum(len(manifest["warnings"]) for manifest in done),
    }
