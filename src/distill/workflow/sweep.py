"""A sweep: one recipe, many variants of it, each a recipe of its own with values replaced and a name that says which.

``grid`` multiplies its keys, each entry of ``zip`` moves several keys together, ``variants`` names sets of values, and
``repeat`` is the whole chain once more with another seed. All of them are multiplied with each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.base.errors import UserError, nearest
from distill.workflow.overrides import Values, folder_name, name_of, short_names
from distill.workflow.recipe import Recipe
from distill.workflow.sweep_settings import SweepSettings

MOST_VARIANTS = 10_000
SEEDS = "students.*.seeds"
"""The key that ``seeds`` of a sweep stands for."""


@dataclass(frozen=True)
class Point:
    """One variant of a sweep, before its recipe is made.

    Attributes:
        name: of the variant, and of its folder.
        values: dotted keys and what the recipe gets there, without the seed.
        repeat: which of the repetitions.
    """

    name: str
    values: Mapping[str, Any]
    repeat: int = 0


def swept_keys(settings: SweepSettings) -> list[str]:
    """Return the dotted keys that are varied, in the order of the recipe."""
    named = [key for values in settings.variants.values() for key in values]
    zipped = [key for entry in settings.zip for key in entry]
    return list(dict.fromkeys([*named, *settings.grid, *zipped]))


def points(settings: SweepSettings) -> list[Point]:
    """Return the variants of a sweep, repetitions last.

    Raises:
        UserError: a key is varied twice, a value is given twice, or nothing is left.
    """
    _refuse_double_keys(settings)
    _refuse_unknown(settings)
    axes = list(_axes(settings))
    if not axes and settings.seeds is None and settings.repeat == 1:
        raise UserError("nothing is varied", "sweep", "Name a key and its values, as in students.painn.cutoff=4,5")
    total = settings.repeat
    for axis in axes:
        total *= len(axis)
    if total > MOST_VARIANTS:
        raise UserError(f"{total} variants", "sweep", f"At most {MOST_VARIANTS}; sweep fewer values")
    keys = swept_keys(settings)
    found = []
    for chosen in itertools.product(*axes):
        values = {key: value for _, part in chosen for key, value in part.items()}
        if not any(_matches(values, out) for out in settings.exclude):
            found.append((_name(chosen, keys), values))
    if not found:
        raise UserError("every variant is excluded", "sweep.exclude", "Exclude fewer values")
    names = _unique([name for name, _ in found])
    return [
        Point(folder_name(f"{name}_repeat-{repeat}") if repeat else name, values, repeat)
        for repeat in range(settings.repeat)
        for name, (_, values) in zip(names, found, strict=True)
    ]


Part = tuple[str, Values]
"""One place of an axis: its name where it has one, and its values."""


def _axes(settings: SweepSettings) -> Iterator[Sequence[Part]]:
    if settings.variants:
        yield list(settings.variants.items())
    for key, values in settings.grid.items():
        yield [("", {key: value}) for value in values]
    for entry in settings.zip:
        yield [("", dict(zip(entry, row, strict=True))) for row in zip(*entry.values(), strict=True)]


def _name(chosen: Sequence[Part], keys: Sequence[str]) -> str:
    """Return the name of a variant: that which it has, then the other keys and their values; ``base`` of no values."""
    own = [name for name, _ in chosen if name]
    rest = {key: value for name, part in chosen if not name for key, value in part.items()}
    short = [name_of({key: value}, keys) for key, value in rest.items()]
    return folder_name("_".join([*own, *short])) or "base"


def _unique(names: Sequence[str]) -> list[str]:
    """Return names of which none is another one: characters that folders cannot have may have made them equal."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else folder_name(f"{name}.{counts[name]}"))
    return found


def _matches(values: Values, out: Values) -> bool:
    return all(key in values and values[key] == value for key, value in out.items())


def _refuse_double_keys(settings: SweepSettings) -> None:
    named = {key for values in settings.variants.values() for key in values}
    every = [*named, *settings.grid, *(key for entry in settings.zip for key in entry)]
    twice = sorted({key for key in every if every.count(key) > 1})
    if twice:
        raise UserError(f"{', '.join(twice)} is varied twice", "sweep", "Name it in one of grid, zip and variants")
    for key, values in settings.grid.items():
        same = next((value for k, value in enumerate(values) if value in values[:k]), None)
        if same is not None or values.count(None) > 1:
            raise UserError(f"{key} has the value {same} twice", "sweep.grid", "Name every value once")
    if "name" in every or "seed" in every:
        raise UserError("name and seed are not varied", "sweep", "repeat does the whole chain with other seeds")


def _refuse_unknown(settings: SweepSettings) -> None:
    """Refuse exclusions that exclude nothing because nothing has their key or value."""
    keys = swept_keys(settings)
    for out in settings.exclude:
        for key, value in out.items():
            if key not in keys:
                raise UserError(f"{key} is not varied", "sweep.exclude", nearest(key, keys))
            known = [part[key] for axis in _axes(settings) for _, part in axis if key in part]
            if value not in known:
                said = ", ".join(map(str, known))
                raise UserError(f"{key} is never {value}", "sweep.exclude", f"Its values are {said}")
    if not all(settings.exclude):
        raise UserError("an empty entry excludes everything", "sweep.exclude", "Name keys and values")


def name_of_sweep(base: str, asked: Mapping[str, Any]) -> str:
    """Return what a sweep over a recipe is called that has no sweep of its own: by what is varied."""
    keys = [key for part in (*asked["variants"].values(), asked["grid"], *asked["zip"]) for key in part]
    short = dict.fromkeys(short_names(dict.fromkeys(keys)).values())
    more = [name for name in ("seeds", "repeat") if (asked[name] or 1) > 1]
    return folder_name("-".join([base, *short, *([] if short else more)]))


@dataclass(frozen=True)
class Variant:
    """One variant of a sweep.

    Attributes:
        name: of the variant, and of its folder.
        values: dotted keys as the sweep has them, and what each is in this variant.
        repeat: which of the repetitions.
        recipe: the variant as a recipe of its own.
    """

    name: str
    values: Mapping[str, Any]
    repeat: int
    recipe: Recipe


def variants_of(recipe: Recipe) -> list[Variant]:
    """Return the variants of a recipe that has a sweep, each validated.

    Raises:
        UserError: there is no sweep, or a variant is no valid recipe; says which.
    """
    settings: SweepSettings | None = recipe.settings.sweep
    if settings is None:
        remedy = "Add a section sweep, or name keys: distill sweep RECIPE students.painn.cutoff=4,5"
        raise UserError("nothing is varied", str(recipe.path), remedy)
    if settings.until not in recipe.stages:
        raise UserError(f"there is no stage {settings.until!r}", "sweep.until", nearest(settings.until, recipe.stages))
    plain = recipe.without_studies()
    keys = swept_keys(settings)
    found = []
    for point in points(settings):
        more = {SEEDS: settings.seeds} if settings.seeds is not None else {}
        more |= {"seed": recipe.seed + point.repeat} if point.repeat else {}
        own = plain.override({**more, **point.values}, point.name, f"variant {point.name}")
        values = {key: point.values[key] if key in point.values else _present(own, key) for key in keys}
        found.append(Variant(point.name, values, point.repeat, own))
    return found


def _present(recipe: Recipe, key: str) -> Any:
    """Return what a recipe has at a key that a named variant leaves as it is; None where that is no single value."""
    try:
        value = recipe.value(key)
    except KeyError:
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else None
