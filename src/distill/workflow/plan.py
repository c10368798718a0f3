"""A plan: the recipe's tasks with their inputs and the hash of everything their result depends on. No work is done.

Two tasks with equal hashes give equal results, so the hash names the artifact. It covers the stage and its version, the
settings that the stage reads, the seed, the labels that matter, the hashes of the tasks it reads, the content of files
and of code that the recipe names, the machine where speed is the result, and the versions of programs that a result is
about; neither names nor places of files, nor the order of keys.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from distill.base.artifact import Labels, LabelValue, suffix
from distill.base.consent import Code
from distill.base.errors import UserError, nearest
from distill.base.files import content_hash, hash_value
from distill.base.html import table
from distill.base.settings import Settings
from distill.stages.base import Stage
from distill.workflow.machine import described
from distill.workflow.problems import problems
from distill.workflow.recipe import Recipe
from distill.workflow.sources import fingerprint
from distill.workflow.tasks import FromFile, FromTask, Input, Task, from_tasks


@dataclass
class Plan:
    """The tasks of a recipe, each after those it needs; stages that tolerate it do without those that ``failed``."""

    recipe: Recipe
    tasks: list[Task] = field(default_factory=list)
    device: str = "auto"
    failed: frozenset[str] = frozenset()
    wanted: Sequence[str] | None = None
    """The stages that it is made up to; None for all of them."""
    _by_id: dict[str, Task] = field(default_factory=dict, init=False, compare=False)
    _by_stage: dict[str, list[Task]] = field(default_factory=lambda: defaultdict(list), init=False, compare=False)
    _levels: Counter[int] = field(default_factory=Counter, init=False, compare=False)
    _lost: set[str] = field(default_factory=set, init=False, compare=False)
    """What failed, and what cannot be done for want of it."""

    def __repr__(self) -> str:
        return f"Plan({self.recipe.name!r}: {len(self)} tasks)"

    def _repr_html_(self) -> str:
        """Return the tasks of each stage; a notebook shows it."""
        rows = [(stage, len(tasks), _ids(tasks)) for stage, tasks in self._by_stage.items()]
        return table(f"{self.recipe.name}: {len(self)} tasks", ("stage", "tasks", "which"), rows)

    @cached_property
    def stages(self) -> Mapping[str, type[Stage]]:
        """The stages of the recipe's table, by name."""
        return dict(self.recipe.stages)

    def __post_init__(self) -> None:
        self._lost |= self.failed
        given, self.tasks = self.tasks, []
        for task in given:
            self.add(task)

    def add(self, task: Task) -> None:
        """Append a task; those that it needs are there."""
        self.tasks.append(task)
        self._by_id[task.id] = task
        self._by_stage[task.stage].append(task)
        self._levels[task.level] += 1
        if not self._lost.isdisjoint(task.needs):
            self._lost.add(task.id)

    def of_stage(self, stage: str) -> Sequence[Task]:
        """Return the tasks of one stage."""
        return self._by_stage.get(stage, ())

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, task_id: str) -> Task:
        """Return a task by its id; raises :class:`UserError` with the nearest id where there is none."""
        if task_id not in self._by_id:
            raise UserError(f"there is no task {task_id!r}", where="plan", remedy=nearest(task_id, self._by_id))
        return self._by_id[task_id]

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._by_id

    def without(self, failed: Iterable[str]) -> Plan:
        """Return the plan in which stages that tolerate it do without the tasks whose ids are given.

        Of a plan that is a part of the recipe's, it is the same part.
        """
        reduced = make_plan(self.recipe, self.device, failed, self.wanted)
        return Plan(
            self.recipe, [task for task in reduced if task.id in self], self.device, reduced.failed, self.wanted
        )

    def until(self, stages: Iterable[str]) -> Plan:
        """Return the plan with the tasks of some stages and all that they need, and what failed on the way."""
        last = [task for stage in stages for task in self.of_stage(stage)]
        last += [task for task in self if task.id in self._lost]
        wanted = {one for task in last for one in self._with_needed(task)}
        return Plan(self.recipe, [task for task in self if task.id in wanted], self.device, self.failed, tuple(stages))

    def notes(self) -> list[str]:
        """Return what the user should know before anything is done, each sentence once."""
        return list(dict.fromkeys(note for task in self for note in task.notes))

    def code(self, task: Task) -> list[Code]:
        """Return the code that the recipe names for a task and for all that it needs."""
        return list(dict.fromkeys(code for one in sorted(self._with_needed(task)) for code in self[one].code))

    def hashed_code(self, task: Task) -> dict[str, str]:
        """Return what that code was when it was hashed."""
        hashed: dict[str, str] = {}
        for one in self._with_needed(task):
            hashed |= self[one].hash_inputs.get("code", {})
        return hashed

    def width(self) -> int:
        """Return how many tasks the widest level has."""
        return max(self._levels.values(), default=0)

    def threads(self, task: Task, workers: int, cores: int) -> int:
        """Return how many threads ``task`` may use when processes share ``cores``.

        The cores are divided by the most tasks that may run beside it, whether or not they do: the number depends on
        the recipe and the machine alone, and with it the rounding of sums.
        """
        beside = self._levels[task.level]  # tasks of a level are independent
        if beside < workers:
            beside = 1 + len(self.independent_of(task))
        return max(1, cores // max(1, min(workers, beside)))

    def independent_of(self, task: Task) -> set[str]:
        """Return the ids of the tasks that neither need ``task`` nor are needed by it, and so may run beside it."""
        return {other.id for other in self.tasks} - self._with_needed(task) - self.with_dependents([task.id])

    def _with_needed(self, task: Task) -> set[str]:
        """Return the ids of a task and of all that it needs."""
        needed: set[str] = set()
        waiting = [task.id]
        while waiting:
            found = waiting.pop()
            needed.add(found)
            waiting += set(self[found].needs) - needed
        return needed

    def with_dependents(self, ids: Iterable[str]) -> set[str]:
        """Return ``ids`` and the ids of all tasks that depend on them."""
        found = set(ids)
        for task in self.tasks:
            if found.intersection(task.needs):
                found.add(task.id)
        return found


def make_plan(
    recipe: Recipe, device: str = "auto", failed: Iterable[str] = (), until: Sequence[str] | None = None
) -> Plan:
    """Return the plan of a recipe.

    Args:
        recipe: the recipe.
        device: that it is to run on: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; timings depend on it.
        failed: ids of tasks that stages do without, as far as they can.
        until: the stages that are wanted, with all that they need; everything if None.

    Raises:
        UserError: a file is missing or cannot be what it is named for, or settings contradict each other.
    """
    plan = Plan(recipe, device=device, failed=frozenset(failed))
    names = list(plan.stages)
    for name in names if until is None else names[: 1 + max(map(names.index, until))]:
        stage = plan.stages[name]
        if _in_place_of(plan, name) != name:
            continue
        section = recipe.sections.get(stage.section)
        every = [one.labels for one in plan.of_stage(stage.each)]
        followed = [dict(one) for one in stage.follows(section, every)] if stage.each else [{}]
        for labels in [one | more for one in followed for more in stage.fan_out(section, one)]:
            plan.add(_make_task(plan, name, stage, labels))  # one by one: a task may need its siblings
    _refuse_double_names(plan)
    return plan if until is None else plan.until(until)


def _ids(tasks: Sequence[Task], most: int = 3) -> str:
    """Return the ids of tasks, of many the first."""
    shown = ", ".join(task.id for task in tasks[:most])
    return f"{shown}, ..." if len(tasks) > most else shown


def task_settings(recipe: Recipe, stage: type[Stage], labels: Labels) -> Settings:
    """Return the validated settings of one task of ``stage``."""
    section = recipe.sections.get(stage.section)
    values = stage.select(section, labels)
    values |= {name: recipe.value(recipe.place(key, labels)) for name, key in stage.reads.items()}
    settings_class = stage.settings_class(values, labels)
    try:
        return settings_class(**values)
    except ValidationError as error:
        found = problems(error, settings_class, values)[0]
        place = recipe.place(stage.section, labels)
        own = [str(label) for label in labels.values() if str(label) in recipe.keys_at(place)][:1]
        place = ".".join([place, *own])
        raise UserError(found.what, where=f"{recipe.path}: {place}", remedy=found.remedy) from None


def _make_task(plan: Plan, name: str, stage: type[Stage], labels: Labels) -> Task:
    recipe = plan.recipe
    settings = task_settings(recipe, stage, labels)
    named = {key: f"recipe:{place}" for key, place in stage.files(recipe.sections.get(stage.section), labels).items()}
    inputs = {key: _resolve(plan, stage, labels, key, spec) for key, spec in {**stage.inputs, **named}.items()}
    left = {key: _left(plan, inputs[key], key in stage.spares) for key in stage.tolerates}
    missing = {key: gone for key, rest in left.items() if (gone := _gone(plan, inputs[key], rest))}
    inputs |= left
    files = {key: one.path for key, one in inputs.items() if isinstance(one, FromFile) and one.path}
    waits = tuple(
        one.id for stage_before in stage.waits for one in plan.of_stage(stage_before) if one.id not in plan._lost
    )
    stage.check_files(files, settings)
    before = [*(source.task for source in from_tasks(inputs.values())), *waits]
    hash_inputs = {
        "stage": name,
        "version": stage.version,
        "settings": settings.model_dump(mode="json"),
        "seed": recipe.seed,
        "labels": stage.hashed(labels),
        "inputs": {key: _hash_input(plan, source) for key, source in inputs.items()},
    }
    code = stage.code(files, settings)
    if sources := fingerprint(code):
        hash_inputs["code"] = sources
    if missing:
        hash_inputs["missing"] = missing
    if stage.timed:
        hash_inputs["machine"] = described(plan.device)
    if programs := stage.programs(settings):
        hash_inputs["programs"] = programs
    return Task(
        id=f"{name}[{','.join(map(str, labels.values()))}]" if labels else name,
        stage=name,
        labels=labels,
        settings=settings,
        keys=_recipe_keys(recipe, stage, labels, type(settings).model_fields),
        inputs=inputs,
        outputs=stage.outputs,
        publish={output: form.format(**labels, suffix=suffix(labels)) for output, form in stage.publish.items()},
        hash_inputs=hash_inputs,
        hash=hash_value(hash_inputs),
        seed=recipe.seed,
        resume_key=_resume_key(stage, hash_inputs),
        extent=tuple(float(getattr(settings, name)) for name in stage.extends if _is_number(getattr(settings, name))),
        level=1 + max((plan[one].level for one in before), default=-1),
        code=code,
        waits=waits,
        missing=missing,
        notes=stage.notes(settings),
    )


def _resume_key(stage: type[Stage], hash_inputs: Mapping[str, Any]) -> str:
    if not stage.extends:
        return ""
    shared = {name: value for name, value in hash_inputs["settings"].items() if name not in stage.extends}
    return hash_value({**hash_inputs, "settings": shared})


def _resolve(plan: Plan, stage: type[Stage], labels: Labels, name: str, spec: str | Mapping[str, str]) -> Input:
    """Return where an input comes from, by the rules that :class:`Stage` states."""
    chosen = spec if isinstance(spec, str) else spec.get(str(labels["variant"]))
    if chosen is None:
        return None
    if chosen.startswith("recipe:"):
        key = plan.recipe.place(chosen.removeprefix("recipe:"), labels)
        return FromFile(key, plan.recipe.file(key))
    chosen, particular, variant = chosen.partition("@")
    source, _, output = chosen.partition(".")
    stages = plan.stages
    if output and output not in stages[source].outputs:
        raise ValueError(f"{stage.__name__} reads {chosen}, but {source} has no output {output!r}")
    if (one := _in_place_of(plan, source)) != source:
        return FromTask(plan.of_stage(one)[0].id, output)
    tasks = plan.of_stage(source)
    if particular:
        section = plan.recipe.sections.get(stage.section)
        differs = {"variant": variant} if variant else stage.linked(section, labels).get(name)
        if differs is None:
            return None
        tasks = [task for task in tasks if task.labels.items() <= {**labels, **differs}.items()]
    elif stage.each and _root(stages, source) == _root(stages, stage.each):
        tasks = [task for task in tasks if task.labels.items() <= labels.items()]
    elif _is_fanned_out(stages, source):
        return tuple(FromTask(task.id, output) for task in tasks)
    if len(tasks) != 1:
        raise ValueError(f"{stage.__name__} reads {chosen}, of which there are {len(tasks)}")
    return FromTask(tasks[0].id, output)


def _left(plan: Plan, collected: Input, none_is_enough: bool) -> Input:
    """Return a collected input without what failed or cannot be done for want of that.

    Where nothing is left it is all of it, unless none is enough.
    """
    if not isinstance(collected, tuple):
        return collected
    left = tuple(source for source in collected if source.task not in plan._lost)
    return left if left or none_is_enough else collected


def _gone(plan: Plan, collected: Input, left: Input) -> list[dict[str, LabelValue]]:
    """Return the labels of the tasks that a collected input does without."""
    if not (isinstance(collected, tuple) and isinstance(left, tuple)):
        return []
    return [dict(plan[one.task].labels) for one in collected if one not in left]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_place_of(plan: Plan, name: str) -> str:
    """Return the stage whose one task stands for a stage that would have joined several; else the stage itself."""
    several = plan.stages[name].only_for_several
    return several if several and len(plan.of_stage(several)) == 1 else name


def _root(stages: Mapping[str, type[Stage]], name: str) -> str:
    """Return the stage whose fan-out ``name`` follows in the end."""
    while stages[name].each:
        name = stages[name].each
    return name


def _is_fanned_out(stages: Mapping[str, type[Stage]], name: str) -> bool:
    own = stages[_root(stages, name)].fan_out
    return getattr(own, "__func__", own) is not getattr(Stage.fan_out, "__func__", None)


def _hash_input(plan: Plan, source: Input) -> Any:
    """Return what the hash covers of one input; collected inputs carry labels, because the stage sees them."""
    if source is None:
        return None
    if isinstance(source, tuple):
        return [{**_hash_input(plan, one), "labels": dict(plan[one.task].labels)} for one in source]
    if isinstance(source, FromTask):
        return {"task": plan[source.task].hash, "output": source.output}
    return {"file": content_hash(source.path)} if source.path else None


def _recipe_keys(recipe: Recipe, stage: type[Stage], labels: Labels, fields: Iterable[str]) -> dict[str, str]:
    """Return the dotted key that each settings field comes from: the section's, or that of a label inside it."""
    section = recipe.place(stage.section, labels)
    known = {name: f"{section}.{name}" for name in recipe.keys_at(section)}
    for place in [known[str(label)] for label in labels.values() if str(label) in known]:
        for name in recipe.keys_at(place):
            known.setdefault(name, f"{place}.{name}")
    read = {field: recipe.place(key, labels) for field, key in stage.reads.items()}
    return {field: read.get(field) or known.get(field, f"{section}: {field}") for field in fields}


def _refuse_double_names(plan: Plan) -> None:
    owners: dict[str, str] = {}
    for task in plan:
        for name in task.publish.values():
            if owners.setdefault(name, task.id) != task.id:
                raise UserError(f"{owners[name]} and {task.id} would both be published as {name}")
