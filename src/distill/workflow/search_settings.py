"""What a recipe says of a search: whose settings are searched, in which space, for what, and by which sampler."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.base.settings import Settings

Goal = Literal["error", "ms_per_atom"]


class Dimension(Settings):
    """One searched key: a range, or choices; a list in the recipe means choices."""

    low: float | None = None
    """The lowest value."""
    high: float | None = None
    """The highest value."""
    log: bool = False
    """Search its logarithm: for what is varied by factors."""
    integer: bool = False
    """Whole numbers only."""
    step: float | None = Field(None, gt=0)
    """Only low, low + step, low + 2 step ...; of integers 1 if it is not said."""
    choices: list[bool | int | float | str | None] = []
    """Values of which one is taken, in place of a range."""
    when: dict[str, bool | int | float | str | None] = {}
    """Other searched keys and the values that they need to have for this one to count, as in {optimiser: muon}."""

    @model_validator(mode="before")
    @classmethod
    def _choices(cls, given: Any) -> Any:
        return {"choices": given} if isinstance(given, list) else given

    @model_validator(mode="after")
    def _range_or_choices(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None or self.log or self.integer or self.step:
                raise ValueError("give a range (low, high) or choices, not both")
            if any(one in self.choices[:k] for k, one in enumerate(self.choices)) or len(self.choices) < 2:
                raise ValueError("give at least two choices, each once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or a list of choices")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithm needs low above 0")
        if self.log and self.step:
            raise ValueError("give log or step, not both")
        if self.integer and any(one is not None and one != int(one) for one in (self.low, self.high, self.step)):
            raise ValueError("low, high and step of integers are integers")
        return self


class Objective(Settings):
    """The error that is made small."""

    alpha: float = Field(0.4, ge=0, le=1)
    """alpha * RMSE(E / sqrt N) + (1 - alpha) * RMSE(force components), in eV and eV/Å."""
    on: Literal["synthetic", "valid"] | None = None
    """Structures it is measured on: synthetic, the students' validation families by the teacher's labels; valid, the
    DFT validation structures, where the teacher's fine-tuning is searched; null, which of them it is."""


class SearchSettings(Settings):
    """A search for the values of a student's, or of the teacher's, settings that make the error small."""

    student: str
    """Whose settings are searched: the name of a student, or teacher for its fine-tuning."""
    trials: int = Field(30, ge=2, le=10_000)
    """Trials in all."""
    initial: int = Field(8, ge=2)
    """Trials that are spread over the space (a scrambled Halton sequence) before the sampler learns from them."""
    fidelity: dict[str, Any] = {}
    """Dotted keys and the values that make trials cheap, as in {students.painn.structures: 100}; the best and the
    recipe's own values are then trained without them."""
    space: dict[str, Dimension] = Field(min_length=1)
    """Dotted keys and where each is searched: {low, high, log, integer, step}, or a list of choices; with when: {key:
    value}, only where another searched key has that value."""
    objective: Objective | list[Goal] = Objective()
    """What is made small: the error, as {alpha, on}; or [error, ms_per_atom], both."""
    sampler: Literal["gp", "tpe", "nsga2", "random"] = "gp"
    """Who proposes: a Gaussian process, a tree of Parzen estimators, an evolution, or chance."""
    prune: bool = False
    """Of a student with several seeds, train no more seeds where the first is worse than the median of the first ones
    before. For tpe alone: the others learn nothing from a trial that is given up."""

    @field_validator("objective")
    @classmethod
    def _both(cls, objective: Objective | list[Goal]) -> Objective | list[Goal]:
        if isinstance(objective, list) and sorted(objective) != ["error", "ms_per_atom"]:
            raise ValueError("give {alpha, on} for the error alone, or [error, ms_per_atom]")
        return objective

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.initial > self.trials:
            raise ValueError(f"initial is {self.initial}, more than all {self.trials} trials: lower it")
        if self.prune and self.sampler != "tpe":
            raise ValueError(
                f"prune: {self.sampler} learns nothing from a pruned trial: use sampler: tpe, or do not prune"
            )
        if self.prune and self.several:
            raise ValueError("prune: a trial with two objectives cannot be pruned: choose one of them")
        before: list[str] = []
        for key, dimension in self.space.items():
            for other, value in dimension.when.items():
                self._refuse_condition(key, other, value, before)
            before.append(key)
        return self

    def _refuse_condition(self, key: str, other: str, value: Any, before: list[str]) -> None:
        if other not in before:
            raise ValueError(f"space.{key}.when: {other} must be searched too, and stand before it")
        choices = self.space[other].choices
        if not choices or value not in choices:
            known = f"its choices are {', '.join(map(str, choices))}" if choices else "it has no choices"
            raise ValueError(f"space.{key}.when: {other} is never {value}: {known}")

    @property
    def several(self) -> bool:
        """Whether there are two objectives."""
        return isinstance(self.objective, list)

    @property
    def error(self) -> Objective:
        """How the error is made of those of energies and forces."""
        return self.objective if isinstance(self.objective, Objective) else Objective()
