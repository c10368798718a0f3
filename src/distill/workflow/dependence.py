"""On which keys of a recipe a result depends: those that its task reads, and those of all tasks that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from distill.workflow.overrides import EVERY
from distill.workflow.plan import Plan
from distill.workflow.tasks import FromFile, Task


def dependence(plan: Plan, keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Return for every task, by its id, on which of the dotted ``keys`` it depends (``*``: every name at its place)."""
    found: dict[str, frozenset[str]] = {}
    for task in plan:
        read = list(_read(task))
        own = {key for key in keys if any(_touches(key.split("."), one.split(".")) for one in read)}
        found[task.id] = frozenset(own).union(*(found[need] for need in task.needs))
    return found


def _read(task: Task) -> Iterator[str]:
    """Yield the dotted keys that a task reads itself."""
    yield from task.keys.values()
    yield from (source.key for source in task.inputs.values() if isinstance(source, FromFile))


def _touches(key: Sequence[str], read: Sequence[str]) -> bool:
    """Return whether one key is the other, or around it."""
    return all(one in (other, EVERY) or other == EVERY for one, other in zip(key, read, strict=False))
