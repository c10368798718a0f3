"""A recipe with a search: what a trial of it is, as a recipe of its own, and what its space may hold.

A trial of a student is everything up to its predictions of the validation families; one of the teacher ends with its
fine-tuning. What is not judged, other students and the baselines, is left out. Trials are tasks of the store like all
others, so that equal settings are found there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distill.base.errors import UserError, nearest
from distill.base.files import hash_value
from distill.workflow.merge import MergedPlan, plan_together
from distill.workflow.plan import make_plan
from distill.workflow.recipe import Recipe, build_recipe
from distill.workflow.search_settings import Dimension, SearchSettings
from distill.workflow.search_space import Point, counts, initial_design

TEACHER = "teacher"
TIMED_ATOMS = 200
"""Atoms of the cell in which students are timed, where the recipe does not say it."""
NOT_JUDGED = ("seeds", "direct", "refine")
"""Settings of a student that change nothing of what trials are compared by."""


@dataclass(frozen=True)
class SearchedRecipe:
    """A recipe that has a search, found to be possible.

    Attributes:
        recipe: the recipe.
        settings: of the search.
        base: the recipe without the search, and without the students that are not searched.
    """

    recipe: Recipe
    settings: SearchSettings
    base: Recipe

    @classmethod
    def of(cls, recipe: Recipe) -> SearchedRecipe:
        """Return a recipe's search, once every bound and choice of its space is a valid recipe.

        Raises:
            UserError: there is no search, or its student, a key or a value cannot be; says which.
        """
        settings: SearchSettings | None = recipe.settings.search
        if settings is None:
            remedy = "Add a section search: student, space"
            raise UserError("nothing is searched", str(recipe.path), remedy)
        if recipe.settings.sweep is not None:
            raise UserError("a recipe has sweep or search, not both", str(recipe.path), "Remove one of them")
        found = cls(recipe, settings, _base(recipe, settings.student))
        found._refuse_objective()
        found._refuse_keys()
        found._refuse_values()
        return found

    @property
    def teaches(self) -> bool:
        """Whether the teacher's fine-tuning is searched."""
        return self.settings.student == TEACHER

    @property
    def place(self) -> str:
        """The dotted key below which all searched keys are."""
        return "teacher.finetune" if self.teaches else f"students.{self.settings.student}"

    @property
    def judged(self) -> str:
        """The stage whose summary has the errors."""
        return "finetune" if self.teaches else "unseen"

    @property
    def trained(self) -> str:
        """The stage that fits what is judged."""
        return "finetune" if self.teaches else "train"

    @property
    def until(self) -> tuple[str, ...]:
        """The last stages of a trial."""
        return (self.judged, "timing") if self.settings.several else (self.judged,)

    def trial(self, number: int, point: Point, more: Mapping[str, Any] | None = None) -> Recipe:
        """Return a trial as a recipe of its own, called ``trial-<number>``; ``more`` are further values."""
        values = {**self.settings.fidelity, **counts(self.settings.space, point), **(more or {})}
        return self._with(values, f"trial-{number}")

    def full(self, name: str, values: Point) -> Recipe:
        """Return the recipe with values, without what makes trials cheap."""
        return self._with(values, name)

    def _with(self, values: Mapping[str, Any], name: str) -> Recipe:
        more: dict[str, Any] = {} if self.teaches else {f"{self.place}.direct": False, f"{self.place}.refine": None}
        if self.settings.several and self.base.value("benchmark.atoms") is None:
            more["benchmark.atoms"] = TIMED_ATOMS
        return self.base.override({**more, **values}, name, f"search: {name}")

    def known(self) -> list[Recipe]:
        """Return what is known before anything is done: the initial design, and the recipe's own values in full."""
        design = initial_design(self.settings.space, self.settings.initial, self.recipe.seed)
        return [*(self.trial(number, point) for number, point in enumerate(design)), self.full("default", {})]

    def plan(self, members: list[Recipe], device: str = "auto") -> MergedPlan:
        """Return one plan of several trials."""
        return plan_together(self.recipe, members, self.until, device)

    def identity(self, device: str = "auto") -> str:
        """Return what names this search: all that its trials depend on, and not how many there are."""
        said = self.settings.model_dump(mode="json", exclude={"trials"})
        hashes = [task.hash for task in make_plan(self.full("default", {}), device, until=self.until)]
        return hash_value({"settings": said, "default": hashes})[:16]

    def _refuse_objective(self) -> None:
        on, right = self.settings.error.on, "valid" if self.teaches else "synthetic"
        if on not in (None, right):
            what = f"{self.settings.student} is judged on {right}, not on {on}"
            raise UserError(what, "search.objective.on", "Leave it out")
        if self.teaches and self.settings.several:
            what = "fine-tuning does not change how fast the teacher is"
            raise UserError(what, "search.objective", "Search for the error alone: {alpha: 0.4}")
        key = f"{self.place}.seeds"
        if self.settings.prune and self.settings.fidelity.get(key, self.base.value(key)) < 2:
            what = f"there is nothing to prune: trials of {self.settings.student} have one seed"
            raise UserError(what, "search.prune", f"Set {key}: 3, or do not prune")

    def _refuse_keys(self) -> None:
        for key in self.settings.space:
            if not key.startswith(f"{self.place}."):
                remedy = f"Name keys below {self.place}"
                what = f"{key} would change what trials are judged by"
                raise UserError(what, "search.space", remedy)
            inner = key.removeprefix(f"{self.place}.").split(".")[0]
            if inner in NOT_JUDGED:
                raise UserError(f"{key} changes nothing of what trials are judged by", "search.space", "Leave it out")
            if key in self.settings.fidelity:
                raise UserError(f"{key} is in space and in fidelity", "search", "Leave it out of one of them")

    def _refuse_values(self) -> None:
        """Refuse a bound or a choice with which there would be no recipe, before any work."""
        make_plan(self.full("default", {}), until=self.until)
        for key, dimension in self.settings.space.items():
            conditions = dict(self._conditions(key))
            for value in _extremes(dimension):
                where = f"search.space.{key}"
                try:
                    self._plans({**self.settings.fidelity, **conditions, key: value}, where)
                except UserError as error:
                    raise UserError(error.what, error.where, self._remedy(key, dimension, conditions, error)) from None

    def _plans(self, values: Mapping[str, Any], where: str) -> None:
        make_plan(self._with({}, "trial").override(values, "trial", where), until=self.until)

    def _remedy(self, key: str, dimension: Dimension, conditions: Point, error: UserError) -> str | None:
        """Return what helps: a range of numbers may have been meant as one of integers."""
        if dimension.choices or dimension.integer or dimension.low is None:
            return error.remedy
        try:
            self._plans({**conditions, key: int(dimension.low) + 1}, "search")
        except UserError:
            return error.remedy
        return "Add integer: true"

    def _conditions(self, key: str) -> Iterator[tuple[str, Any]]:
        for other, value in self.settings.space[key].when.items():
            yield from self._conditions(other)
            yield other, value


def _base(recipe: Recipe, student: str) -> Recipe:
    """Return the recipe without its search and without other students; refuses one that it does not have."""
    plain = recipe.without_studies()
    if student == TEACHER:
        if recipe.key_of(TEACHER) != TEACHER:
            what = "a search of one teacher of several cannot tell which"
            raise UserError(what, "search.student", "Search in a recipe with that teacher alone")
        if recipe.value("teacher.finetune") is None:
            raise UserError(
                "the teacher is not fine-tuned", "search.student", "Set teacher.finetune, or name a student"
            )
        return plain
    known = recipe.keys_at("students")
    if student not in known:
        raise UserError(f"there is no student {student!r}", "search.student", nearest(student, [*known, TEACHER]))
    raw = plain.raw | {"students": {student: plain.raw["students"][student]}}
    return build_recipe(raw, plain.path, plain.stages, "", plain.origins)


def _extremes(dimension: Dimension) -> list[Any]:
    if dimension.choices:
        return list(dimension.choices)
    kind = int if dimension.integer else float
    return [kind(bound) for bound in (dimension.low, dimension.high) if bound is not None]
