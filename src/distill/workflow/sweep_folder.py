"""The folder of a sweep: the plan of all variants, the tables of the whole, and below ``variants/`` a folder for each.

A variant's folder is as that of a run: links with readable names, ``plan.json`` and ``summary.json``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

from distill.workflow.merge import MergedPlan
from distill.workflow.plan import Plan
from distill.workflow.rundir import PLAN, SPARE, RunFolder
from distill.workflow.runner import State, summary_of
from distill.workflow.store import Store
from distill.workflow.tasks import Task

VARIANTS = "variants"


class SweepFolder:
    """One sweep's folder.

    Args:
        path: the folder, ``runs/<name>``.
        store: the store that links point into.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self.store = store
        self._whole = RunFolder(path, store)
        self._members: dict[str, RunFolder] = {}
        self._plan: MergedPlan | None = None

    def prepare(self, plan: Plan) -> None:
        """Write the plans of the whole and of every variant, and link what is finished already.

        Variants that the sweep no longer has lose their folders, as far as runs made them.
        """
        merged = cast(MergedPlan, plan)
        before = self._plan.members if self._plan else {}
        self._plan = merged
        self._whole.prepare(merged)
        for name in self._former(set(merged.members)):
            self._remove(name)
        for name, member in merged.members.items():
            if before.get(name) is member:  # a failure elsewhere has changed nothing here
                continue
            if name not in self._members:
                self._members[name] = RunFolder(self.path / VARIANTS / name, self.store)
            self._members[name].prepare(member)

    def publish(self, task: Task) -> None:
        """Link the outputs of a finished task in the folders of all variants that have it."""
        for name, own in self._plan.owners(task) if self._plan else ():
            self._members[name].publish(own)

    def write_summaries(self, plan: MergedPlan, state: State, elapsed_s: float) -> None:
        """Write the ``summary.json`` of every variant."""
        cached = set(state.cached)
        for name, member in plan.members.items():
            own = self._state_of(plan, name, state, cached)
            self._members[name].write_summary(summary_of(member, own, elapsed_s))

    @staticmethod
    def _state_of(plan: MergedPlan, member: str, state: State, cached: set[str]) -> State:
        """Return where a variant stands, its tasks by their own ids."""
        called = [
            (task.id, here) for task, here in plan.of_member(member)
        ]  # tasks that are the same have one name here
        names = {here: own for own, here in called}
        return State(
            [],
            done={own: state.done[here] for own, here in called if here in state.done},
            errors={own: state.errors[here] for own, here in called if here in state.errors},
            skipped={own: names.get(why, why) for own, here in called if (why := state.skipped.get(here))},
            cached=tuple(own for own, here in called if here in cached),
        )

    def _former(self, present: set[str]) -> list[str]:
        """Return the names of variants that have a folder and are no longer part of the sweep."""
        folder = self.path / VARIANTS
        if not folder.is_dir():
            return []
        return [one.name for one in folder.iterdir() if (one / PLAN).is_file() and one.name not in present]

    def _remove(self, variant: str) -> None:
        """Remove what runs have put into a variant's folder, and the folder where nothing else is in it."""
        former = RunFolder(self.path / VARIANTS / variant, self.store)
        if former.previous is None:
            return
        for name in former.previous["links"]:
            former.unlink(name)
        for name in (PLAN, SPARE):
            (former.path / name).unlink(missing_ok=True)
        former.drop_summary()
        with suppress(OSError):
            former.path.rmdir()
