"""What the command line and notebooks call: one function per verb, taking a recipe's path or a loaded recipe."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from distill.workflow.explain import Verdict, explain_plan
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import Recipe, load_recipe
from distill.workflow.rundir import read_plan
from distill.workflow.runner import RunResult, run_recipe, store_of
from distill.workflow.status import TaskStatus, run_status

if TYPE_CHECKING:
    from distill.evaluation import Evaluation
    from distill.given import Model, Structures
    from distill.structures.checks.finding import Finding

RECIPE_SUFFIXES = (".yaml", ".yml")


def run(recipe: str | Path | Recipe, **options: Any) -> RunResult:
    """Run a recipe; the options are those of :func:`distill.workflow.runner.run_recipe`."""
    return run_recipe(_recipe(recipe), **options)


def plan(recipe: str | Path | Recipe, device: str = "auto") -> Plan:
    """Return the tasks of a recipe, with their inputs and hashes; nothing is done.

    ``device`` is that of the run, on which timings depend.
    """
    return make_plan(_recipe(recipe), device)


def explain(
    recipe: str | Path | Recipe,
    *,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    force: Iterable[str] = (),
    device: str = "auto",
) -> dict[str, Verdict]:
    """Return for every task of a recipe whether it is cached, and why not; ``device`` is that of the run."""
    planned = plan(recipe, device)
    return explain_plan(planned, store_of(runs, store), read_plan(Path(runs) / planned.recipe.name), tuple(force))


def check(source: str | Path | Recipe, overrides: Iterable[str] = ()) -> list[Finding]:
    """Return what is doubtful in a recipe's data, or in one file of structures; ``overrides`` change a recipe.

    What is found is what the run's first stage finds; nothing is written.
    """
    from distill.stages.check import Check, check_data, check_file

    if not isinstance(source, Recipe) and not is_recipe(source):
        return check_file(Path(source))
    recipe = _recipe(source, overrides)
    task = make_plan(recipe)["check"]
    inputs = {name: getattr(origin, "path", None) for name, origin in task.inputs.items()}
    return check_data(inputs, cast(Check.Settings, task.settings), recipe.seed)


def evaluate(model: Model, data: Structures, **options: Any) -> Evaluation:
    """Predict structures with a potential, and compare with their labels where they have any.

    ``model`` is a folder such as ``runs/quickstart/models/painn``, a potential or an ASE calculator; ``data`` is an
    extended XYZ file, :class:`distill.Frames`, or one or several ASE structures. The options are those of
    :func:`distill.evaluation.evaluate`: ``name``, ``out``, ``device``, ``keys``, ``seed``, ``progress``,
    ``trust_code``, ``environment``.
    """
    from distill.evaluation import evaluate

    return evaluate(model, data, **options)


def status(run: str | Path, runs: str | Path = "runs") -> list[TaskStatus]:
    """Return how far each task of a run is; ``run`` is its folder or its name."""
    return run_status(run, runs)


def is_recipe(path: str | Path) -> bool:
    """Return whether a file is a recipe, by its name."""
    return Path(path).suffix.lower() in RECIPE_SUFFIXES


def _recipe(recipe: str | Path | Recipe, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe, and warn of keys that were given by former names."""
    if isinstance(recipe, Recipe):
        return recipe
    loaded = load_recipe(recipe, overrides)
    for note in loaded.notes:
        warnings.warn(note, FutureWarning, stacklevel=3)
    return loaded
