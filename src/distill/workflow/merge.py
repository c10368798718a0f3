"""One plan of many recipes: what several of them need is one task, done once, whoever asked for it.

Tasks with equal hashes are the same. One that looks alike in all recipes keeps its id; the others carry the name of the
first recipe that has them, as in ``cutoff-4.0/train[painn,distilled,0]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from distill.base.html import table
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import Recipe
from distill.workflow.tasks import FromTask, Input, Task

Key = tuple[str, str]
"""What a task is, whatever it is called: its stage and its hash."""


@dataclass
class MergedPlan(Plan):
    """A plan of several recipes.

    Attributes:
        members: the plan of each recipe, by the recipe's name.
        ids: what the task of a member, by its own id, is called here.
    """

    members: Mapping[str, Plan] = field(default_factory=dict)
    ids: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"MergedPlan({len(self.members)} recipes, {self.planned} tasks, {len(self)} distinct)"

    def _repr_html_(self) -> str:
        """Return how many tasks of each stage there are, and how many different ones; a notebook shows it."""
        planned = Counter(task.stage for plan in self.members.values() for task in plan)
        rows = [(stage, number, len(self.of_stage(stage))) for stage, number in planned.items()]
        title = f"{self.recipe.name}: {len(self.members)} variants, {self.planned} tasks, {len(self)} of them different"
        return table(title, ("stage", "tasks", "different"), rows)

    @property
    def planned(self) -> int:
        """How many tasks the recipes have, each counted for itself."""
        return sum(map(len, self.members.values()))

    def of_member(self, member: str) -> Iterator[tuple[Task, str]]:
        """Yield the tasks of a recipe, and what each is called here."""
        for task in self.members[member]:
            yield task, self.ids[member, task.id]

    def owners(self, task: Task) -> Iterator[tuple[str, Task]]:
        """Yield the recipes that have a task, and the task as each has it."""
        yield from self._owners.get((task.stage, task.hash), ())

    def without(self, failed: Iterable[str]) -> MergedPlan:
        """Return the plan in which stages that tolerate it do without the tasks whose ids are given."""
        failed = frozenset(failed)
        members = {}
        for name, plan in self.members.items():
            own = {task.id for task, called in self.of_member(name) if called in failed}
            members[name] = plan.without(own) if own else plan
        reduced = merge(self.recipe, members, self)
        reduced.failed = failed
        return reduced

    def __post_init__(self) -> None:
        super().__post_init__()
        self._owners: dict[Key, list[tuple[str, Task]]] = {}
        for name, plan in self.members.items():
            for task in plan:
                self._owners.setdefault((task.stage, task.hash), []).append((name, task))


def plan_together(recipe: Recipe, variants: Sequence[Recipe], until: Sequence[str], device: str = "auto") -> MergedPlan:
    """Return one plan of several recipes, up to the stages named.

    Args:
        recipe: whose name, executor and stages the plan has.
        variants: the recipes, of different names.
        until: the last stages.
        device: as of :func:`~distill.workflow.plan.make_plan`.

    Raises:
        UserError: as :func:`~distill.workflow.plan.make_plan` does, for any of them.
    """
    return merge(recipe, {one.name: make_plan(one, device, until=until) for one in variants})


def merge(recipe: Recipe, members: Mapping[str, Plan], before: MergedPlan | None = None) -> MergedPlan:
    """Return one plan of several; where it takes the place of ``before``, tasks keep their ids."""
    called = _names(members, before)
    tasks: dict[str, Task] = {}
    ids: dict[tuple[str, str], str] = {}
    for name, plan in members.items():
        for task in plan:
            ids[name, task.id] = own = called[task.stage, task.hash]
            if own not in tasks:
                inputs = {key: _renamed(one, name, ids) for key, one in task.inputs.items()}
                tasks[own] = replace(task, id=own, inputs=inputs, publish={})
    device = next((plan.device for plan in members.values()), "auto")
    return MergedPlan(recipe, list(tasks.values()), device, members=members, ids=ids)


def _names(members: Mapping[str, Plan], before: MergedPlan | None) -> dict[Key, str]:
    """Return what each task is called."""
    called = {} if before is None else {(task.stage, task.hash): task.id for task in before}
    alike: dict[str, set[str]] = {}
    for plan in members.values():
        for task in plan:
            alike.setdefault(task.id, set()).add(task.hash)
    for name, plan in members.items():
        for task in plan:
            if (task.stage, task.hash) not in called:
                first = task.id if len(alike[task.id]) == 1 else f"{name}/{task.id}"
                called[task.stage, task.hash] = first if before is None else before.ids.get((name, task.id), first)
    return called


def _renamed(source: Input, member: str, ids: Mapping[tuple[str, str], str]) -> Input:
    if isinstance(source, FromTask):
        return FromTask(ids[member, source.task], source.output)
    if isinstance(source, tuple):
        return tuple(FromTask(ids[member, one.task], one.output) for one in source)
    return source
