"""What a search leaves: ``trials.csv``, ``search.json`` and ``best.yaml``, the recipe with the best values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.base.files import write_json, write_table, write_text
from distill.workflow.overrides import replaced, short_names
from distill.workflow.plan import make_plan
from distill.workflow.recipe import Recipe
from distill.workflow.search_measure import APART, Measured
from distill.workflow.search_proposals import Journal, Trial
from distill.workflow.search_recipe import SearchedRecipe
from distill.workflow.search_settings import SearchSettings
from distill.workflow.search_space import counts, on_bounds
from distill.workflow.tasks import FromFile

SEARCH, TRIALS, BEST = "search.json", "trials.csv", "best.yaml"
NUMBERS = (
    *("error", "energy_rmse", "forces_rmse", "ms_per_atom"),
    *("valid_over_train", "parameters", "train_s", "message"),
)
"""Columns of ``trials.csv`` after those of the searched keys; the units are eV, eV/Å and ms."""


@dataclass(frozen=True)
class Finals:
    """The best trial, and its values and the recipe's own trained in full."""

    trial: Trial
    best: Measured
    default: Measured


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the finished trial of lowest error, the first of several; None where there is none."""
    good = [one for one in trials if one.state == "finished" and not one.failed]
    return min(good, key=lambda one: (one.told["error"], one.number), default=None)


def objective_sentence(searched: SearchedRecipe) -> str:
    """Return what is made small, on what, and in which units."""
    alpha = searched.settings.error.alpha
    on = "the DFT validation structures" if searched.teaches else "the validation families, labelled by the teacher"
    second = "; and milliseconds a step for an atom" if searched.settings.several else ""
    error = f"{alpha:g} × RMSE(E / √N) in eV + {1 - alpha:g} × RMSE(force components) in eV/Å"
    return f"error = {error}, on {on}{second}"


def line_of(settings: SearchSettings, trials: Sequence[Trial], number: int) -> str:
    """Return one trial in a line: its values, its error and the best so far."""
    trial, best = trials[number], best_of(trials[: number + 1])
    short = short_names(settings.space)
    values = ", ".join(f"{short[key]} {_text(value)}" for key, value in counts(settings.space, trial.point).items())
    if trial.failed or trial.state == "pruned":
        found = f"failed: {trial.told['message']}" if trial.failed else trial.told["message"]
    else:
        found = f"error {trial.told['error']:.4g}"
        found += f", {trial.told['ms_per_atom']:.3g} ms an atom" if settings.several else ""
    tail = "" if best is None else f" (best {best.told['error']:.4g}, trial {best.number})"
    return f"trial {number} ({number + 1} of {settings.trials}): {values}: {found}{tail}"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_result(folder: Path, searched: SearchedRecipe, journal: Journal, finals: Finals | None) -> dict[str, Any]:
    """Write what is known of a search so far, and return the content of ``search.json``."""
    settings = searched.settings
    trials = [one for one in journal.trials[: settings.trials] if one.state != "running"]
    keys = list(settings.space)
    columns = ["trial", "state", *keys, *NUMBERS]
    write_table(folder / TRIALS, columns, [_row(settings, one) for one in trials])
    best = best_of(trials)
    said: dict[str, Any] = {
        "name": searched.recipe.name,
        "recipe": str(searched.recipe.path),
        "student": settings.student,
        "keys": keys,
        "names": short_names(keys),
        "settings": settings.model_dump(mode="json"),
        "objective": objective_sentence(searched),
        "finished": finals is not None,
        "trials": len(trials),
        "failed": sum(one.failed for one in trials),
        "best": None if best is None else {"trial": best.number, "values": counts(settings.space, best.point)},
        "importance": journal.importances() if finals is not None else {},
        "front": journal.front() if settings.several else [],
    }
    said["full"] = {} if finals is None else {"best": _full(finals.best), "default": _full(finals.default)}
    said["verdict"] = "" if finals is None else verdict(finals.best, finals.default)
    said["warnings"] = [] if finals is None else _warnings(searched, finals)
    write_json(folder / SEARCH, said)
    if best is not None:
        head = f"# {searched.recipe.name}: the recipe with the values of trial {best.number}. {said['verdict']}".strip()
        write_text(folder / BEST, f"{head}\n{_best_recipe(searched.recipe, said['best']['values'], folder)}")
    return said


def _row(settings: SearchSettings, trial: Trial) -> dict[str, Any]:
    values = counts(settings.space, trial.point)
    state = "failed" if trial.failed else trial.state
    row = {"trial": trial.number, "state": state} | {key: values.get(key, "") for key in settings.space}
    return row | {name: "" if (value := trial.told.get(name)) is None else value for name in NUMBERS}


def _full(found: Measured) -> dict[str, Any]:
    return {"errors": list(found.errors)} | found.as_told()


def verdict(best: Measured, default: Measured) -> str:
    """Return who won when both were trained in full: the one with the lower error, if scatter lets one tell."""
    if best.error is None or default.error is None:
        if best.error is None and default.error is None:
            return "Neither the best values nor the recipe's own could be trained in full."
        lost = "The best values" if best.error is None else "The recipe's own values"
        other = "the recipe's own" if best.error is None else "the best ones"
        return f"{lost} failed in full ({(best if best.error is None else default).message}); {other} did not."
    numbers = f"{best.error:.4g} with the best values, {default.error:.4g} with the recipe's own"
    if best.error == default.error:
        return f"No difference in full: {numbers}."
    won = "the best values" if best.error < default.error else "the recipe's own values"
    change = 100 * abs(1 - best.error / default.error)
    how = "lower" if best.error < default.error else "higher"
    if len(best.errors) < 2 or len(default.errors) < 2:
        scatter = "one seed each, so that the scatter of fits is not known: set seeds to learn it"
    elif max(min(best.errors), min(default.errors)) <= min(max(best.errors), max(default.errors)):
        return f"Cannot tell who won in full: {numbers}, and the ranges of their {len(best.errors)} seeds overlap."
    else:
        scatter = f"the ranges of their {len(best.errors)} seeds do not overlap"
    return f"In full {won} won: {numbers}, {change:.0f} % {how} ({scatter})."


def _warnings(searched: SearchedRecipe, finals: Finals) -> list[str]:
    """Return what a reader has to know: an optimum on a bound, and validation that parts from training."""
    space = searched.settings.space
    found = on_bounds(space, counts(space, finals.trial.point))
    for name, one in (("the best values", finals.best), ("the recipe's own values", finals.default)):
        if one.apart is not None and one.apart > APART:
            what = f"with {name} the validation loss is {one.apart:.1f} times the training loss"
            found.append(f"{what}: the fit follows its training structures more closely than others")
    return found


def _best_recipe(recipe: Recipe, values: Mapping[str, Any], folder: Path) -> str:
    """Return the recipe with values, as YAML; files that it names are named from ``folder``."""
    import yaml

    plain = recipe.without_studies()
    files = {
        source.key: os.path.relpath(source.path, folder.resolve())
        for task in make_plan(plain)
        for source in task.inputs.values()
        if isinstance(source, FromFile) and source.path is not None
    }
    raw, _ = replaced(plain.raw, {"name": f"{recipe.name}-best", **files, **values}, "search")
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
