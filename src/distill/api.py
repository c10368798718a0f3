"""What the command line and notebooks call: one function per verb, taking a recipe's path or a loaded recipe."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from distill.base.errors import Interrupted, UserError
from distill.base.files import read_json
from distill.base.html import table
from distill.results import REPORT, Run, SweepResult
from distill.searching import Search, SearchResult
from distill.workflow.explain import Verdict, explain_plan
from distill.workflow.merge import MergedPlan
from distill.workflow.overrides import Overrides, Values, as_values, folder_name, plain_value
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import Recipe, load_recipe
from distill.workflow.rundir import previous_plan
from distill.workflow.runner import run_recipe, store_of
from distill.workflow.status import TaskStatus, run_status
from distill.workflow.sweep import name_of_sweep
from distill.workflow.sweep_run import SWEEP, SweptRecipe, run_sweep

if TYPE_CHECKING:
    from distill.evaluation import Evaluation
    from distill.given import Model, Structures
    from distill.structures.checks.finding import Finding

RECIPE_SUFFIXES = (".yaml", ".yml")


def run(recipe: str | Path | Recipe, overrides: Overrides = (), **options: Any) -> Run | SweepResult | SearchResult:
    """Run a recipe; all variants of one that has a sweep, and the trials of one that has a search.

    Args:
        recipe: its file, or as it was loaded.
        overrides: values that are replaced, as in ``{"students.painn.cutoff": 4.5}``.
        options: those of :func:`distill.workflow.runner.run_recipe`: ``runs``, ``store``, ``device``, ``force``,
            ``progress``.

    Raises:
        DistillError: bad input, or a task failed; independent tasks are finished first. Of a sweep, failures are in the
            result.
        Interrupted: the user stopped it; the same call continues.
    """
    loaded = _recipe(recipe, overrides)
    if loaded.settings.search is not None:
        return _searched(loaded, options)
    if loaded.settings.sweep is not None:
        return Sweep(loaded).run(**options)
    with _one_line():
        done = run_recipe(loaded, **options)
    return Run(done.folder, done.ran, done.cached)


def plan(recipe: str | Path | Recipe, device: str = "auto", overrides: Overrides = ()) -> Plan:
    """Return the tasks of a recipe, with their inputs and hashes; nothing is done.

    Of a search, those of the initial design and of the recipe's own values in full; the others are not known before.
    ``device`` is that of the run, on which timings depend; ``overrides`` replace values of the recipe.
    """
    loaded = _recipe(recipe, overrides)
    if loaded.settings.search is not None:
        return Search(loaded).plan(device)
    return Sweep(loaded).plan(device) if loaded.settings.sweep is not None else make_plan(loaded, device)


def explain(
    recipe: str | Path | Recipe | Plan,
    *,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    force: Iterable[str] = (),
    device: str = "auto",
    overrides: Overrides = (),
) -> dict[str, Verdict]:
    """Return for every task of a recipe, or of its plan, whether it is cached, and why not.

    ``device`` is that of the run, and has with ``overrides`` no meaning for a plan.
    """
    planned = recipe if isinstance(recipe, Plan) else plan(recipe, device, overrides)
    return explain_plan(planned, store_of(runs, store), previous_plan(planned.recipe, Path(runs)), tuple(force))


def sweep(
    recipe: str | Path | Recipe,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    zip: Sequence[Mapping[str, Sequence[Any]]] = (),
    variants: Mapping[str, Values] | None = None,
    exclude: Sequence[Values] = (),
    seeds: int | None = None,
    repeat: int = 1,
    until: str = "evaluate",
    overrides: Overrides = (),
    name: str | None = None,
) -> Sweep:
    """Return many variants of a recipe, to be planned and run; each is validated, nothing is done.

    Args:
        recipe: its file, or as it was loaded.
        grid: dotted keys and the values of each, as in ``{"students.painn.cutoff": [4, 5]}``; multiplied.
        zip: mappings of keys that go together, with equally many values.
        variants: names and the values that each stands for.
        exclude: combinations that are left out.
        seeds: seeds of every student, the spread of its fits.
        repeat: how often the whole chain is done, each time with another seed.
        until: the stage that variants are done up to.
        overrides: values that are replaced in all of them.
        name: of the sweep, and so of its folder; called by what is varied if None.

    Raises:
        UserError: a variant is no valid recipe; says which.
    """
    loaded = _recipe(recipe, overrides)
    asked: dict[str, Any] = {
        "grid": {key: plain_value(list(values), key) for key, values in (grid or {}).items()},
        "zip": [{key: plain_value(list(values), key) for key, values in entry.items()} for entry in zip],
        "variants": {label: as_values(values) for label, values in (variants or {}).items()},
        "exclude": [as_values(values) for values in exclude],
        "seeds": seeds,
        "repeat": repeat,
        "until": until,
    }
    return Sweep(loaded.override({"sweep": asked}, name or name_of_sweep(loaded.name, asked), "sweep"))


def search(
    recipe: str | Path | Recipe,
    asked: Mapping[str, Any] | None = None,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    **options: Any,
) -> SearchResult:
    """Search for values of a student's, or of the teacher's, settings that make the error small.

    Args:
        recipe: its file, or as it was loaded.
        asked: what the section ``search`` of a recipe says: ``student``, ``space``, ``trials`` ...; that of the recipe
            if None.
        overrides: values that are replaced in all trials.
        name: of the search, and so of its folder; called by recipe and student if None.
        options: those of :func:`distill.workflow.search_run.run_search`: ``runs``, ``store``, ``device``, ``progress``.

    Raises:
        DistillError: bad input, a task that all trials need failed, or every trial did.
        Interrupted: the user stopped it; the same call continues.
    """
    loaded = _recipe(recipe, overrides)
    if asked is not None:
        called = name or folder_name(f"{loaded.name}-search-{asked.get('student', '')}")
        loaded = loaded.override({"search": dict(asked)}, called, "search")
    return _searched(loaded, options)


def _searched(recipe: Recipe, options: dict[str, Any]) -> SearchResult:
    if tuple(options.pop("force", ())):
        raise UserError("a search does no stage again", "force", "Run the recipe without search once, with force")
    with _one_line():
        return Search(recipe).run(**options)


def check(source: str | Path | Recipe, overrides: Overrides = ()) -> list[Finding]:
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


def _recipe(recipe: str | Path | Recipe, overrides: Overrides = ()) -> Recipe:
    """Return the recipe with values replaced, and warn of keys that were given by former names."""
    if isinstance(recipe, Recipe):
        return recipe.override(overrides) if as_values(overrides) else recipe
    loaded = load_recipe(recipe, overrides)
    for note in loaded.notes:
        warnings.warn(note, FutureWarning, stacklevel=3)
    return loaded


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn an interrupt into one that a notebook shows as one line."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


class Sweep:
    """Many variants of one recipe, each of them validated.

    Args:
        recipe: a recipe with a sweep.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._swept = SweptRecipe.of(recipe)
        self.recipe = recipe
        self.variants = {one.name: one.recipe for one in self._swept.variants}
        """The variants by name, each a recipe."""

    def __repr__(self) -> str:
        return (
            f"Sweep({self.recipe.name!r}: {len(self.variants)} variants of {', '.join(self._swept.keys) or 'nothing'})"
        )

    def _repr_html_(self) -> str:
        """Return the variants and their values; a notebook shows it."""
        rows = [(one.name, *one.values.values()) for one in self._swept.variants]
        return table(f"{self.recipe.name}: {len(rows)} variants", ("variant", *self._swept.keys), rows)

    def plan(self, device: str = "auto") -> MergedPlan:
        """Return one plan of all variants: what several of them need is one task. Nothing is done."""
        return self._swept.plan(device)

    def run(
        self,
        *,
        runs: str | Path = "runs",
        store: str | Path | None = None,
        device: str = "auto",
        force: Iterable[str] = (),
        progress: bool = True,
    ) -> SweepResult:
        """Do what is not done yet, and write tables and page; what fails is in ``failures`` of the result.

        The arguments are those of :func:`distill.workflow.runner.run_recipe`.

        Raises:
            DistillError: bad input.
            Interrupted: the user stopped it; the same call continues.
        """
        with _one_line():
            done = run_sweep(self._swept, runs=runs, store=store, device=device, force=force, progress=progress)
            if done.changed or not (done.folder / REPORT).exists():
                from distill.studies.page import write_page

                write_page(done.folder)
        return SweepResult(done.folder, done.ran, done.cached, read_json(done.folder / SWEEP))
