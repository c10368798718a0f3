"""The folder of a run: readable links to artifacts, ``plan.json`` and ``summary.json``.

Only what a run made here is ever replaced or removed: links into the store and those that the last ``plan.json`` lists,
and the files. The plan is kept twice, because ``distill status`` knows nothing without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.base.errors import UserError
from distill.base.files import write_json
from distill.base.leftovers import passing_name, sweep
from distill.base.sealed import DamagedError, read_sealed, write_sealed
from distill.workflow.plan import Plan
from distill.workflow.recipe import Recipe
from distill.workflow.store import Store
from distill.workflow.tasks import Task

PLAN = "plan.json"
SPARE = ".plan.json"
"""The same once more, for when the first is damaged."""
SUMMARY = "summary.json"


class RunFolder:
    """One run's folder.

    Args:
        path: the folder, ``runs/<name>``.
        store: the store that its links point into.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self.store = store
        self.previous = read_plan(path)
        """The ``plan.json`` of the last run of this name, or None."""

    def prepare(self, plan: Plan) -> None:
        """Write ``plan.json``, remove what is no longer true, and link what is finished already.

        Links that are not this plan's go, and the last summary where there is something to do: it is not true while a
        run lasts. Where all is so already, nothing is written.

        Raises:
            UserError: a file that no run made has the name of the folder, or of a link.
        """
        self._refuse_file()
        wanted = {name: self._target(task, output) for task in plan for output, name in task.publish.items()}
        ours = set(self.previous["links"]) if self.previous else set(self._found())
        for name in wanted:
            self._refuse_foreign(name, ours)
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in {self.path, *((self.path / name).parent for name in ours)}:
            sweep(folder)
        for name in ours:
            link = self.path / name
            if link.is_symlink() and wanted.get(name) != self._pointee(link):
                self.unlink(name)
        said = self._plan_data(plan, sorted(wanted))
        for name in (SPARE, PLAN):
            if _read(self.path / name) != said:
                write_sealed(self.path / name, said)
        unfinished = False
        for task in plan:
            if self.store.has(task):
                self.publish(task)
            else:
                unfinished = True
        if unfinished:
            self.drop_summary()

    def unlink(self, name: str) -> None:
        """Remove a published name, and the folders that it leaves empty."""
        link = self.path / name
        if link.is_symlink():
            link.unlink()
            self._remove_empty_parents(link)

    def drop_summary(self) -> None:
        """Remove ``summary.json``, which is not true while a run lasts."""
        (self.path / SUMMARY).unlink(missing_ok=True)

    def publish(self, task: Task) -> None:
        """Link the outputs of a finished task under their readable names."""
        for output, name in task.publish.items():
            link = self.path / name
            target = self._target(task, output)
            if link.is_symlink() and self._pointee(link) == target:
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            fresh = link.with_name(passing_name("linking", f"-{link.name}"))
            fresh.symlink_to(os.path.relpath(target, link.parent.resolve()))
            fresh.replace(link)

    def links(self, plan: Plan) -> list[Path]:
        """Return the published names that exist."""
        names = [name for task in plan for name in task.publish.values()]
        return [self.path / name for name in names if (self.path / name).exists()]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.path / SUMMARY, summary)

    def _target(self, task: Task, output: str) -> Path:
        return self.store.artifact(task) / task.outputs[output]

    def _pointee(self, link: Path) -> Path:
        return Path(os.path.normpath(link.parent.resolve() / link.readlink()))

    def _found(self) -> Iterator[str]:
        """Yield the names of links into the store, where no plan can be read that lists them."""
        for folder, folders, files in os.walk(self.path):
            for path in (Path(folder, name) for name in (*folders, *files)):
                if path.is_symlink() and self._pointee(path).is_relative_to(self.store.root):
                    yield path.relative_to(self.path).as_posix()

    def _refuse_file(self) -> None:
        """Refuse a file where a folder belongs: a run's, or one that it lies in."""
        for folder in (self.path, *self.path.parents):
            if os.path.lexists(folder) and not folder.is_dir():
                what = "a folder belongs here, and something else is here"
                raise UserError(what, where=str(folder), remedy="Move it away, or rename the run")

    def _refuse_foreign(self, name: str, ours: set[str]) -> None:
        path = self.path / name
        inside = path.is_symlink() and self._pointee(path).is_relative_to(self.store.root)
        if os.path.lexists(path) and not inside and not (path.is_symlink() and name in ours):
            raise UserError("stands where a result belongs", where=str(path), remedy="Move it away or rename the run")

    def _remove_empty_parents(self, link: Path) -> None:
        for folder in link.parents:
            if folder == self.path or any(folder.iterdir()):
                return
            folder.rmdir()

    def _plan_data(self, plan: Plan, links: list[str]) -> dict[str, Any]:
        return {
            "name": plan.recipe.name,
            "recipe": str(plan.recipe.path),
            "store": os.path.relpath(self.store.root, self.path.resolve()),
            "links": links,
            "tasks": {
                task.id: {
                    "stage": task.stage,
                    "hash": task.hash,
                    "labels": dict(task.labels),
                    "needs": list(task.needs),
                    "ingredients": dict(task.hash_inputs),
                }
                for task in plan
            },
        }


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Return the ``plan.json`` of a run's folder, or None where there is none that can be read."""
    return _read(folder / PLAN) or _read(folder / SPARE)


def previous_plan(recipe: Recipe, runs: Path) -> dict[str, Any] | None:
    """Return what the last run of a recipe has planned; of one with replaced values that of the recipe as it was."""
    return read_plan(runs / recipe.name) or read_plan(runs / recipe.base)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, DamagedError):
        return read_sealed(path)
    return None
