"""A search for settings, before it is run and after: what notebooks and the command line hold."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.files import read_json
from distill.results import REPORT, Page, Picture, read_table
from distill.workflow.merge import MergedPlan
from distill.workflow.recipe import Recipe
from distill.workflow.search_recipe import SearchedRecipe
from distill.workflow.search_result import BEST, SEARCH, TRIALS, objective_sentence
from distill.workflow.search_run import run_search

if TYPE_CHECKING:
    from pandas import DataFrame


class Search:
    """A search for settings that make the error small, found to be possible.

    Args:
        recipe: a recipe with a search.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._searched = SearchedRecipe.of(recipe)
        self.recipe = recipe

    def __repr__(self) -> str:
        return f"Search({self.recipe.name!r}: {self.text()})"

    def text(self) -> str:
        """Return in words what is done."""
        settings = self._searched.settings
        rest = settings.trials - settings.initial
        spread = f"{settings.trials} trials of {settings.student}: {settings.initial} spread over the space, {rest} by"
        keys = ", ".join(settings.space)
        return f"{spread} {settings.sampler}; searched: {keys}; {objective_sentence(self._searched)}"

    def plan(self, device: str = "auto") -> MergedPlan:
        """Return one plan of the initial design and of the recipe's own values in full. Nothing is done."""
        return self._searched.plan(self._searched.known(), device)

    def run(
        self,
        *,
        runs: str | Path = "runs",
        store: str | Path | None = None,
        device: str = "auto",
        progress: bool = True,
    ) -> SearchResult:
        """Do the trials that are not done yet, and the best and the recipe's own values in full; write tables and page.

        The arguments are those of :func:`distill.workflow.search_run.run_search`.
        """
        done = run_search(self._searched, runs=runs, store=store, device=device, progress=progress)
        if done.changed or not (done.folder / REPORT).exists():
            from distill.studies.search_page import write_search_page

            write_search_page(done.folder)
        return SearchResult(done.folder, done.ran)


@dataclass(frozen=True)
class SearchResult:
    """A search, as its folder has it.

    Attributes:
        folder: ``runs/<name>``.
        ran: how many tasks were done just now; 0 of a search that was opened.
    """

    folder: Path
    ran: int = 0

    def __repr__(self) -> str:
        return f"SearchResult({str(self.folder)!r}: {self.headline})"

    def _repr_html_(self) -> str:
        lines = [f"<b>{html.escape(self.folder.name)}</b>: {html.escape(self.headline)}", html.escape(self.verdict)]
        return "<br>".join(filter(None, [*lines, self.report._repr_html_() if self.report.path.exists() else ""]))

    @cached_property
    def said(self) -> Mapping[str, Any]:
        """The content of ``search.json``."""
        return dict(read_json(self.folder / SEARCH))

    @cached_property
    def trials(self) -> DataFrame:
        """One row a trial: its values, its errors (eV, eV/Å) and how its training went."""
        return read_table(self.folder / TRIALS)

    @property
    def best(self) -> dict[str, Any]:
        """The values of the best trial by their dotted keys, as overrides; empty where every trial failed."""
        return dict((self.said["best"] or {"values": {}})["values"])

    @property
    def best_recipe(self) -> Path:
        """The recipe with these values, without the search."""
        return self.folder / BEST

    @property
    def headline(self) -> str:
        """How many trials there were, and which was best."""
        failed = f", {self.said['failed']} of them failed" if self.said["failed"] else ""
        values = ", ".join(f"{key}: {value}" for key, value in self.best.items())
        best = f"; best: trial {self.said['best']['trial']} ({values})" if values else ""
        return f"{self.said['trials']} trials{failed}{best}{'' if self.said['finished'] else '; not finished'}"

    @property
    def verdict(self) -> str:
        """Who won when the best and the recipe's own values were trained in full; empty before that."""
        return str(self.said["verdict"])

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know, such as an optimum on a bound."""
        return list(self.said["warnings"])

    @property
    def figures(self) -> dict[str, Picture]:
        """The figures of the report, by name."""
        return {path.stem: Picture(path) for path in sorted((self.folder / "figures").glob("*.png"))}

    @property
    def report(self) -> Page:
        """The page of the search; it opens in a browser."""
        return Page(self.folder / REPORT)
