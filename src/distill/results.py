"""What notebooks hold: a run, a sweep and their results, read from the folders that they left.

Tables are pandas data frames, figures show as pictures, and students are potentials that ASE can use.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.base.errors import UserError, nearest
from distill.base.files import read_json
from distill.workflow.rundir import SUMMARY, read_plan
from distill.workflow.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

    from distill.potentials.interface.potential import Potential

REPORT = "report.html"


@dataclass(frozen=True)
class Picture:
    """An image file that a notebook shows."""

    path: Path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True)
class Page:
    """A page on disk; a notebook shows a link to it."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        place = html.escape(str(self.path))
        return f'<a href="{place}" target="_blank">{place}</a>'


@dataclass(frozen=True)
class _Key:
    stage: str
    hash: str


@dataclass(frozen=True)
class _Results(ABC):
    """What a folder of results has in common with others.

    Attributes:
        folder: ``runs/<name>``.
        ran: ids of the tasks that were done just now; empty of what was opened.
        cached: ids of the tasks that were finished before.
    """

    folder: Path
    ran: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}: {self._headline()})"

    def _repr_html_(self) -> str:
        line = f"<b>{html.escape(self.folder.name)}</b>: {html.escape(self._headline())}"
        return f"{line}<br>{self.report._repr_html_()}" if self.report.path.exists() else line

    @abstractmethod
    def _headline(self) -> str:
        """Return in one line what came of it."""

    @cached_property
    def metrics(self) -> DataFrame:
        """The errors of all models, one row a number: ``metrics.csv``.

        In a sweep each model is there once, and swept keys are empty where a number does not depend on them.
        """
        return read_table(self.folder / "metrics.csv")

    @property
    def report(self) -> Page:
        """The page of the results; it opens in a browser."""
        return Page(self.folder / REPORT)


@dataclass(frozen=True, repr=False)
class Run(_Results):
    """A run, as its folder has it."""

    def _headline(self) -> str:
        tasks = self.summary["tasks"] if (self.folder / SUMMARY).exists() else {}
        if not tasks:
            return "not finished"
        lost = [name for name, task in tasks.items() if "error" in task or "skipped" in task]
        said = tasks.get("evaluate", {}).get("summary", {}).get("headline")
        return "; ".join(filter(None, [f"{len(tasks)} tasks", f"{len(lost)} of them not done" if lost else None, said]))

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """The content of ``summary.json``: every number of the run."""
        path = self.folder / SUMMARY
        if not path.exists():
            raise UserError("has no summary.json: it is not finished", str(self.folder), "Run the recipe")
        return dict(read_json(path))

    @property
    def links(self) -> tuple[Path, ...]:
        """The results that the run has published so far."""
        names = (read_plan(self.folder) or {"links": []})["links"]
        return tuple(self.folder / name for name in names if (self.folder / name).exists())

    @cached_property
    def curves(self) -> DataFrame:
        """The course of every training, one row a validation: who was trained, and the columns of its ``curve.csv``."""
        import pandas

        parts = []
        for labels, folder in self._artifacts("train"):
            curve = read_table(folder / "curve.csv")
            for column, name in (("seed", "seed"), ("variant", "variant"), ("model", "student")):
                curve.insert(0, column, labels[name])
            parts.append(curve)
        return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()

    @cached_property
    def verdicts(self) -> DataFrame:
        """The verdict by physics on every student, one row each: ``decision`` and the ``sentence`` that carries it."""
        import pandas

        columns = ("student", "variant", "seed", "decision", "sentence")
        students = read_json(self.folder / "verdict.json")["students"]
        return pandas.DataFrame([{name: one[name] for name in columns} for one in students], columns=list(columns))

    @cached_property
    def physics(self) -> DataFrame:
        """What each student was judged by, one row a quantity: ``physics.csv``."""
        return read_table(self.folder / "physics.csv")

    @cached_property
    def exports(self) -> DataFrame:
        """The students that were taken to other programs, one row each: gate, certificate and folder.

        ``gate`` is whether it passed, empty where it was not run; ``folder`` is empty where nothing was written.
        """
        import pandas

        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for stage, column in (("gate", "passed"), ("certify", "verdict"), ("card", "folder")):
            for labels, folder in self._artifacts(stage):
                said = read_json(folder / "manifest.json")["summary"][column]
                found.setdefault(tuple(labels.values()), {})[stage] = said
        columns = {"gate": "gate", "certify": "certificate", "card": "folder"}
        rows = [(*who, *(one.get(stage) for stage in columns)) for who, one in found.items()]
        return pandas.DataFrame(rows, columns=["student", "variant", "seed", *columns.values()])

    @property
    def figures(self) -> dict[str, Picture]:
        """The figures of the report, by name."""
        return {path.stem: Picture(path) for path in sorted((self.folder / "figures").glob("*.png"))}

    def student(
        self,
        name: str,
        variant: Literal["distilled", "refined", "direct"] = "distilled",
        seed: int | Literal["best"] = "best",
        device: str = "cpu",
        trust_code: bool = False,
    ) -> Potential:
        """Return a trained student.

        Args:
            name: as the recipe has it.
            variant: how it came to be.
            seed: which of several; ``best`` is the one of lowest validation loss among those that did not fail.
            device: a torch device.
            trust_code: as of :func:`distill.load_potential`.

        Raises:
            UserError: there is no such student, or it is not trained.
        """
        from distill.potentials.interface.saving import load

        found = [(labels, folder) for labels, folder in self._artifacts("train") if labels["student"] == name]
        if not found:
            known = {str(labels["student"]) for labels, _ in self._artifacts("train")}
            raise UserError(f"no student {name!r} is trained", str(self.folder), nearest(name, known))
        ours = {int(labels["seed"]): folder for labels, folder in found if labels["variant"] == variant}
        if not ours:
            known = {str(labels["variant"]) for labels, _ in found}
            raise UserError(f"{name} has no variant {variant!r}", str(self.folder), nearest(variant, known))
        chosen = self._best(ours) if seed == "best" else seed
        if chosen not in ours:
            raise UserError(f"{name} {variant} has no seed {chosen}", str(self.folder), f"Its seeds: {sorted(ours)}")
        return load(ours[chosen] / "model", device, trust_code=trust_code)

    def teacher(self, device: str = "cpu", trust_code: bool = False) -> Potential:
        """Return the fine-tuned teacher; the arguments are those of :meth:`student`."""
        from distill.potentials.interface.saving import load

        for stage in ("ensemble", "finetune"):
            for _, folder in self._artifacts(stage):
                return load(folder / "model", device, trust_code=trust_code)
        raise UserError("the teacher is not fine-tuned yet", str(self.folder), "Run the recipe")

    def _best(self, seeds: Mapping[int, Path]) -> int:
        """Return the seed of lowest validation loss; of those that failed only where all did."""
        from distill.analysis.seeds import Seed, best_seed

        said = {seed: read_json(folder / "manifest.json")["summary"] for seed, folder in seeds.items()}
        found = best_seed({seed: Seed(one["status"], one["valid_loss"]) for seed, one in said.items()})
        return min(seeds) if found is None else found

    def _artifacts(self, stage: str) -> list[tuple[Mapping[str, Any], Path]]:
        """Return labels and folder of every finished artifact of a stage."""
        plan = read_plan(self.folder)
        if plan is None:
            raise UserError("there is no such run", str(self.folder))
        store = Store(self.folder / plan["store"])
        entries = [one for one in plan["tasks"].values() if one["stage"] == stage]
        keys = [(one["labels"], _Key(stage, one["hash"])) for one in entries]
        return [(labels, store.artifact(key)) for labels, key in keys if store.has(key)]


@dataclass(frozen=True, repr=False)
class SweepResult(_Results):
    """A sweep, as its folder has it; ``said`` is its ``sweep.json``."""

    said: Mapping[str, Any] = field(default_factory=dict)

    def _headline(self) -> str:
        lost = len(self.failures)
        keys = ", ".join(self.keys) or "nothing"
        failed = f"; {lost} failed" if lost else ""
        return f"{len(self.variants)} variants of {keys}, {len(self.models)} models{failed}"

    @property
    def keys(self) -> list[str]:
        """The dotted keys that were varied, which are columns of the tables."""
        return list(self.said["keys"])

    @cached_property
    def models(self) -> DataFrame:
        """One row a student: how its training ended, on what, how large it is."""
        return read_table(self.folder / "models.csv")

    @cached_property
    def failures(self) -> DataFrame:
        """One row a task that failed or a training that diverged."""
        return read_table(self.folder / "failures.csv")

    @cached_property
    def variants(self) -> dict[str, Run]:
        """The variants by name; each is a run of its own."""
        return {name: Run(self.folder / one["folder"]) for name, one in self.said["variants"].items()}


def read_table(path: Path) -> DataFrame:
    """Return a table of a run's folder; raises UserError where it is not there."""
    import pandas

    if not path.exists():
        raise UserError("is not there", str(path), "Run the recipe to its end")
    return pandas.read_csv(path, keep_default_na=False, na_values=[""])
