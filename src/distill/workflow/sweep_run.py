"""Run a sweep: one plan of all variants, done by one executor, then the tables of the whole.

A variant that fails or diverges stops no other one; it is in ``failures.csv``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.base.files import write_json, write_table
from distill.workflow.merge import MergedPlan, plan_together
from distill.workflow.recipe import Recipe
from distill.workflow.runner import State, store_of, work_through
from distill.workflow.sweep import Variant, swept_keys, variants_of
from distill.workflow.sweep_folder import VARIANTS, SweepFolder
from distill.workflow.sweep_tables import make_tables

SWEEP = "sweep.json"
TABLES = ("metrics", "models", "failures")


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        folder: ``runs/<name>``, with ``sweep.json``, the tables and a folder for each variant.
        ran: ids of the tasks that were done now.
        cached: ids of the tasks that were finished before.
        failures: the rows of ``failures.csv``.
        changed: whether a table is another one than before.
        elapsed_s: how long this run took, s.
    """

    folder: Path
    ran: tuple[str, ...]
    cached: tuple[str, ...]
    failures: Sequence[Mapping[str, Any]]
    changed: bool
    elapsed_s: float


@dataclass(frozen=True)
class SweptRecipe:
    """A recipe that has a sweep, with its variants, each of them validated.

    Attributes:
        recipe: the recipe.
        variants: its variants.
        keys: the dotted keys that are varied.
    """

    recipe: Recipe
    variants: Sequence[Variant] = field(repr=False)
    keys: Sequence[str]

    @classmethod
    def of(cls, recipe: Recipe) -> SweptRecipe:
        """Return the variants of a recipe; raises UserError where one of them is no valid recipe."""
        return cls(recipe, variants_of(recipe), swept_keys(recipe.settings.sweep))

    @cached_property
    def until(self) -> tuple[str, ...]:
        """The stage that variants are done up to."""
        return (str(self.recipe.settings.sweep.until),)

    def plan(self, device: str = "auto") -> MergedPlan:
        """Return one plan of all variants; what several need is one task."""
        return plan_together(self.recipe, [one.recipe for one in self.variants], self.until, device)


def run_sweep(
    swept: SweptRecipe,
    *,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    device: str = "auto",
    force: Iterable[str] = (),
    progress: bool = True,
) -> SweepOutcome:
    """Do everything of a sweep that is not done yet, and write its tables.

    The arguments are those of :func:`distill.workflow.runner.run_recipe`. What fails is in the outcome.

    Raises:
        DistillError: bad input, before anything is done.
    """
    began = time.monotonic()
    folder = SweepFolder(Path(runs) / swept.recipe.name, store_of(runs, store))
    failures: list[Mapping[str, Any]] = []
    before = _content(folder.path)

    def finish(plan: Any, state: State) -> None:
        folder.write_summaries(plan, state, time.monotonic() - began)
        tables = make_tables(swept.keys, swept.variants, plan, state, folder.store)
        for name in TABLES:
            write_table(folder.path / f"{name}.csv", tables.columns[name], tables.rows[name])
        write_json(folder.path / SWEEP, _said(swept, plan))
        failures.extend(tables.rows["failures"])

    _, state = work_through(swept.plan(device), folder, finish, device=device, force=force, progress=progress)
    cached = set(state.cached)
    ran = tuple(one for one in state.done if one not in cached)
    changed = _content(folder.path) != before
    return SweepOutcome(folder.path, ran, state.cached, failures, changed, time.monotonic() - began)


def _content(folder: Path) -> list[bytes]:
    """Return what the tables are, and which sweep they are of."""
    paths = [folder / SWEEP, *(folder / f"{name}.csv" for name in TABLES)]
    return [path.read_bytes() if path.exists() else b"" for path in paths]


def _said(swept: SweptRecipe, plan: MergedPlan) -> dict[str, Any]:
    """Return the content of ``sweep.json``."""
    settings = swept.recipe.settings.sweep
    return {
        "name": swept.recipe.name,
        "recipe": str(swept.recipe.path),
        "keys": list(swept.keys),
        "until": settings.until,
        "seeds": settings.seeds,
        "repeat": settings.repeat,
        "variants": {
            one.name: {"folder": f"{VARIANTS}/{one.name}", "repeat": one.repeat, "overrides": dict(one.values)}
            for one in swept.variants
        },
        "totals": {"tasks": plan.planned, "distinct": len(plan)},
    }
