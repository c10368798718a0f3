"""Run a search: the initial design, then trial after trial, then the best and the recipe's own values in full.

Trials are told in the order of their numbers and each is in the journal before it begins, so that the same command
continues a search that was killed as if it had not been.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

from distill.base.errors import WorkError
from distill.base.streams import say
from distill.workflow.merge import MergedPlan
from distill.workflow.plan import Plan
from distill.workflow.recipe import Recipe
from distill.workflow.runner import State, executor_of, final_error, store_of, work_through
from distill.workflow.search_measure import Measured, measured, shared_failure
from distill.workflow.search_proposals import Journal, Trial, need_optuna
from distill.workflow.search_recipe import SearchedRecipe
from distill.workflow.search_result import SEARCH, Finals, best_of, line_of, objective_sentence, write_result
from distill.workflow.search_space import counts
from distill.workflow.sweep_folder import SweepFolder


class SearchFolder(SweepFolder):
    """The folder of a search: below ``variants/`` a folder for each trial, which stays as others are added."""

    def _former(self, present: set[str]) -> list[str]:
        return []


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        folder: ``runs/<name>``, with ``search.json``, ``trials.csv`` and ``best.yaml``.
        ran: how many tasks were done now.
        said: the content of ``search.json``.
        changed: whether it is another one than before.
    """

    folder: Path
    ran: int
    said: dict[str, Any]
    changed: bool


def run_search(
    searched: SearchedRecipe,
    *,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> SearchOutcome:
    """Do what is not done yet of a search, and write its tables.

    The arguments are those of :func:`distill.workflow.runner.run_recipe`. A trial that fails is infinitely bad and
    stops nothing.

    Raises:
        DistillError: bad input, a task that all trials need failed, or every trial did.
    """
    need_optuna()
    folder = SearchFolder(Path(runs) / searched.recipe.name, store_of(runs, store))
    journal = Journal(folder.path, searched.identity(device), searched.settings, searched.recipe.seed)
    before = folder.path / SEARCH
    last = before.read_bytes() if before.exists() else b""
    work = _Work(searched, folder, journal, device, progress)
    try:
        work.initial_design()
        work.proposals()
        finals = work.finals()
    finally:
        work.executor.stop()
    said = write_result(folder.path, searched, journal, finals)
    if finals is None:
        lost = next((one.told["message"] for one in journal.trials if one.failed), "")
        raise WorkError(f"every trial failed, the first of them: {lost}", str(folder.path), "Search elsewhere")
    return SearchOutcome(folder.path, work.ran, said, before.read_bytes() != last)


@dataclass
class _Work:
    """A search at work.

    Attributes:
        ran: how many tasks were done.
    """

    searched: SearchedRecipe
    folder: SearchFolder
    journal: Journal
    device: str
    progress: bool
    ran: int = 0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.settings = self.searched.settings
        self.executor = executor_of(self.searched.recipe)
        self._say(objective_sentence(self.searched))

    def initial_design(self) -> None:
        """Do the trials of the initial design that are not done, as one plan."""
        while len(self.journal.trials) < self.settings.initial:
            self.journal.begin()
        waiting = [one for one in self.journal.trials[: self.settings.initial] if one.state == "running"]
        if waiting:
            for trial, found in zip(waiting, self._measure(waiting), strict=True):
                self._tell(trial, found)

    def proposals(self) -> None:
        """Do the trials that the sampler proposes, each after the one before."""
        for number in range(self.settings.initial, self.settings.trials):
            trials = self.journal.trials
            trial = trials[number] if number < len(trials) else self.journal.begin()
            if trial.state != "running":
                continue
            if (same := self._failed_before(trial)) is not None:
                self._tell(trial, Measured(message=f"as trial {same.number}, which failed"))
            elif not self._pruned(trial):
                self._tell(trial, self._measure([trial])[0])

    def finals(self) -> Finals | None:
        """Train the best and the recipe's own values in full; None where no trial has a number."""
        best = best_of(self.journal.trials[: self.settings.trials])
        if best is None:
            return None
        values = counts(self.settings.space, best.point)
        members = [self.searched.full("best", values), self.searched.full("default", {})]
        self._say(f"in full: the best (trial {best.number}) and the recipe's own values")
        plan, state = self._work_through(members)
        found = [measured(self.searched, one.name, plan, state, self.folder.store) for one in members]
        return Finals(best, found[0], found[1])

    def _measure(self, trials: Sequence[Trial], more: dict[str, Any] | None = None) -> list[Measured]:
        members = [self.searched.trial(one.number, one.point, more) for one in trials]
        plan, state = self._work_through(members)
        return [measured(self.searched, one.name, plan, state, self.folder.store) for one in members]

    def _work_through(self, members: list[Recipe]) -> tuple[MergedPlan, State]:
        plan = self.searched.plan(members, self.device)

        def finish(plan: Plan, state: State) -> None:
            self.folder.write_summaries(cast(MergedPlan, plan), state, time.monotonic() - self._began)

        done, state = work_through(
            plan, self.folder, finish, device=self.device, progress=self.progress, executor=self.executor
        )
        self.ran += len(state.done) - len(state.cached)
        if shared_failure(self.searched, plan, state) is not None:
            raise final_error(state)
        return cast(MergedPlan, done), state

    def _tell(self, trial: Trial, found: Measured) -> None:
        self.journal.tell(trial.number, found.objectives(self.settings.several), found.as_told())
        self._after(trial.number)

    def _pruned(self, trial: Trial) -> bool:
        """Return whether a trial was given up after its first seed, which is worse than the median of those before."""
        before = [one.told["first_error"] for one in self.journal.trials if one.told.get("first_error") is not None]
        if not self.settings.prune or not before:
            return False
        (first,) = self._measure([trial], {f"{self.searched.place}.seeds": 1})
        if first.error is None or first.error <= median(before):
            return False
        self.journal.tell_pruned(trial.number, first.error, first.as_told() | {"message": "pruned after one seed"})
        self._after(trial.number)
        return True

    def _failed_before(self, trial: Trial) -> Trial | None:
        """Return an earlier trial of the same settings that failed; where nothing else is left they are proposed."""
        mine = counts(self.settings.space, trial.point)
        same = (one for one in self.journal.trials[: trial.number] if counts(self.settings.space, one.point) == mine)
        return next((one for one in same if one.failed), None)

    def _after(self, number: int) -> None:
        self._say(line_of(self.settings, self.journal.trials, number))
        write_result(self.folder.path, self.searched, self.journal, None)

    def _say(self, text: str) -> None:
        if self.progress:
            say(text)
