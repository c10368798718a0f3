"""Who proposes trials, and the journal that remembers them: Optuna, without a server.

A trial is in the journal with all its values before it is begun, and a sampler is made anew for each trial and seeded
by its number. What is proposed then depends on the trials before it and on nothing else, so that a search that was
killed goes on as if it had not been. A trial that failed is told as infinitely bad: one that Optuna calls failed would
be ignored by its Gaussian process and proposed again and again.
"""

from __future__ import annotations

import importlib.util
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.base.errors import UserError
from distill.base.random import stream_seed
from distill.workflow.search_settings import SearchSettings
from distill.workflow.search_space import Point, counts, distributions, initial_design, tidy

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

JOURNAL = "trials.journal"
ATTEMPTS, CHANCES = 3, 30
"""Proposals of settings that were tried before, after which chance proposes, and how often it does."""
LEAST = 1e-12
"""An error below which there is nothing left to make smaller."""
GENERATION = "NSGAIISampler:generation"
"""What Optuna's evolution notes of each trial; the initial design is its first generation."""


@dataclass(frozen=True)
class Trial:
    """A trial as the journal has it.

    Attributes:
        number: 0, 1, ...
        point: a value for every searched key.
        state: ``running``, ``finished`` or ``pruned``.
        objectives: what is made small; infinite where it failed, empty before it is told and where it was pruned.
        told: numbers and words that were noted of it.
    """

    number: int
    point: Point
    state: str
    objectives: tuple[float, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether there is no number for it."""
        return self.state == "finished" and not all(map(math.isfinite, self.objectives))


def need_optuna() -> None:
    """Raise :class:`UserError` where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        remedy = "Install it: pip install 'mlip-distill[search]'"
        raise UserError("a search needs Optuna, which is not installed", "search", remedy)


class Journal:
    """The trials of one search, in ``trials.journal`` of its folder.

    Args:
        folder: of the search.
        identity: what the search is; the journal keeps those of other settings apart.
        settings: of the search.
        seed: of the recipe.
    """

    def __init__(self, folder: Path, identity: str, settings: SearchSettings, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._space = distributions(settings.space)
        self._design = initial_design(settings.space, settings.initial, seed)
        with _quiet():
            from optuna import create_study
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            folder.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
            self._study: Study = create_study(
                study_name=identity, storage=storage, directions=self._directions, load_if_exists=True
            )

    @property
    def _directions(self) -> list[Literal["minimize", "maximize"]]:
        return ["minimize"] * (2 if self._settings.several else 1)

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, by number."""
        return [_trial(one) for one in self._study.get_trials(deepcopy=False)]

    def begin(self) -> Trial:
        """Propose the next trial, and note it as running.

        Trials that are running are to be told before, save for those of the initial design.
        """
        from optuna.trial import TrialState, create_trial

        number = len(self._study.get_trials(deepcopy=False))
        point, notes = (self._design[number], {GENERATION: 0}) if number < len(self._design) else self._propose(number)
        with _quiet():
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING, params=dict(point), distributions=self._space, system_attrs=notes
                )
            )
        return self.trials[number]

    def tell(self, number: int, objectives: Sequence[float], told: Mapping[str, Any]) -> None:
        """Note what came of a trial; infinite objectives where it failed."""
        self._note(number, told)
        self._study.tell(number, list(objectives))

    def tell_pruned(self, number: int, first: float, told: Mapping[str, Any]) -> None:
        """Note that a trial was given up, and what its first seed was."""
        from optuna.trial import TrialState

        self._note(number, told).report(first, 0)
        self._study.tell(number, state=TrialState.PRUNED)

    def _note(self, number: int, told: Mapping[str, Any]) -> Any:
        from optuna.trial import Trial as Live

        trial = Live(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)
        for name, value in told.items():
            trial.set_user_attr(name, value)
        return trial

    def _propose(self, number: int) -> tuple[Point, dict[str, Any]]:
        """Return the next point, one whose settings were not tried before as long as there is such."""
        seen = {self._settings_of(one.params) for one in self._past()}
        for attempt in range(ATTEMPTS + CHANCES):
            kind = self._settings.sampler if attempt < ATTEMPTS else "random"
            point, notes = self._ask(kind, stream_seed(self._seed, "search", number, attempt) % 2**32)
            if self._settings_of(point) not in seen:
                break
        return point, notes

    def _ask(self, kind: str, seed: int) -> tuple[Point, dict[str, Any]]:
        from optuna import create_study

        with _quiet():
            study = create_study(directions=self._directions, sampler=self._sampler(kind, seed))
            study.add_trials([_for_sampler(one) for one in self._past()])
            study.ask(fixed_distributions=self._space)
            asked = study.get_trials()[-1]
        point = {key: tidy(self._settings.space[key], value) for key, value in asked.params.items()}
        return point, dict(asked.system_attrs)

    def _past(self) -> list[FrozenTrial]:
        return [one for one in self._study.get_trials(deepcopy=False) if one.state.is_finished()]

    def _settings_of(self, point: Point) -> str:
        return json.dumps(counts(self._settings.space, point), sort_keys=True)

    def _sampler(self, kind: str, seed: int) -> BaseSampler:
        from optuna import samplers

        if kind == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=0)
        if kind == "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
        if kind == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=self._settings.initial)
        return samplers.RandomSampler(seed=seed)

    def importances(self) -> dict[str, float]:
        """Return which part of the variance of the error each searched key explains by itself (fANOVA), largest first.

        Failed trials are left out; empty where too few are left to tell.
        """
        from optuna import create_study
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        kept = [one for one in self._past() if one.values and all(map(math.isfinite, one.values))]
        if len(kept) < 2 * len(self._space) or len({one.values[0] for one in kept}) < 2:
            return {}
        evaluator = FanovaImportanceEvaluator(seed=stream_seed(self._seed, "search", "importance") % 2**32)
        with _quiet():
            study = create_study(directions=self._directions)
            study.add_trials(kept)
            found = get_param_importances(study, evaluator=evaluator, target=lambda one: float(one.values[0]))
        return {key: float(value) for key, value in found.items() if math.isfinite(value)}

    def front(self) -> list[int]:
        """Return the numbers of the finished trials of which no other one is better in every objective."""
        good = [one for one in self.trials if one.state == "finished" and not one.failed]
        return [one.number for one in good if not any(_dominates(other.objectives, one.objectives) for other in good)]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _for_sampler(one: FrozenTrial) -> FrozenTrial:
    """Return a trial as samplers are told of it: by the logarithms of its numbers, which differ by factors."""
    from optuna.trial import create_trial

    return create_trial(
        state=one.state,
        values=[math.log(max(value, LEAST)) for value in one.values] if one.values else None,
        params=one.params,
        distributions=one.distributions,
        system_attrs=one.system_attrs,
        intermediate_values={step: math.log(max(value, LEAST)) for step, value in one.intermediate_values.items()},
    )


def _trial(one: FrozenTrial) -> Trial:
    state = one.state.name.lower()
    state = {"complete": "finished", "pruned": "pruned"}.get(state, "running")
    return Trial(one.number, one.params, state, tuple(one.values or ()), one.user_attrs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from saying what users of this package can do nothing about, and leave its settings as they were."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
