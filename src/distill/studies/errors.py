"""One number of each model out of the tables of a sweep: selected, in the units of figures, every model once.

A model that failed stays in as a row without a number, so that whoever takes a mean also counts what is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import pandas as pd

from distill.analysis.errors import ALL
from distill.base.errors import UserError, nearest
from distill.reporting.models import VARIANTS
from distill.reporting.tables import PURE, QUANTITIES, STATISTICS
from distill.studies.keys import Key, keys_of, text, values

ENDED_WELL = ("finished", "stopped early", "out of time")
"""How a training ends whose model counts; one of any other end is in no mean."""

HEAD = ("model", "variant", "seed", "repeat")
FACTS = ("train_structures", "train_labels", "parameters", "train_s")
"""What ``metrics.csv`` says of a model besides its errors."""
COLUMNS = (*HEAD, "status", "valid_loss", "value", "failed", "model_hash", *FACTS)
TAKEN = (
    *COLUMNS,
    *("identity", "place", "series", "arch", "sweep", "over", "quantity"),
    *("mean", "low", "high", "interval", "deviation", "n", "independent", "best", "n_failed", "unit"),
    *("against_teacher", "teacher", "expected", "teacher_error", "compared_with", "difference", "steps"),
    *("surrogate", "densities", "generation", "relative_energy", "fit", "chain", "share", "repeats"),
)
"""What columns of the studies' tables are called besides; a key with such an end has a longer name."""
NEEDED = (*HEAD[:3], "split", "reference", "config_type", "quantity", "statistic", "value")


class Results(Protocol):
    """What studies work on: the tables of a sweep; a plain DataFrame of ``metrics.csv`` will do as well."""

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a number of a model."""

    @property
    def models(self) -> pd.DataFrame | None:
        """One row a model, or None."""

    @property
    def failures(self) -> pd.DataFrame | None:
        """One row a failed task, or None."""


@dataclass(frozen=True)
class Tables:
    """The tables of a sweep as they were read.

    Attributes:
        metrics: ``metrics.csv``.
        models: ``models.csv``, or None.
        failures: ``failures.csv``, or None.
    """

    metrics: pd.DataFrame
    models: pd.DataFrame | None = None
    failures: pd.DataFrame | None = None

    @classmethod
    def read(cls, folder: str | Path) -> Tables:
        """Read the tables of a sweep's folder; raises UserError where it has no ``metrics.csv``."""
        folder = Path(folder)
        if not (folder / "metrics.csv").is_file():
            remedy = "Give the folder of a sweep, runs/<name>"
            raise UserError("has no metrics.csv", where=str(folder), remedy=remedy)
        found = [_read(folder / f"{name}.csv") for name in ("metrics", "models", "failures")]
        return cls(*found)


class Chosen(TypedDict, total=False):
    """Which number of the models a study is about; what is left out is the mean absolute force error against DFT.

    The keys are those of :class:`Choice`.
    """

    quantity: str
    statistic: str
    reference: str
    split: str


@dataclass(frozen=True)
class Choice:
    """Which number of the models a study is about.

    Attributes:
        quantity: ``forces``, ``energy_per_atom`` or ``stress``.
        statistic: ``mae``, ``rmse``, ``r2`` or ``max``.
        reference: ``dft`` or ``teacher``.
        split: ``test``, or ``synthetic`` for families of synthetic structures that no student saw.
    """

    quantity: str = "forces"
    statistic: str = "mae"
    reference: str = "dft"
    split: str = "test"

    def __post_init__(self) -> None:
        """Refuse a quantity or statistic that there is not."""
        for name, known in (("quantity", QUANTITIES), ("statistic", STATISTICS)):
            if getattr(self, name) not in known:
                raise UserError(f"unknown {name} {getattr(self, name)!r}", remedy=nearest(getattr(self, name), known))

    @property
    def unit(self) -> str:
        """The unit that numbers are shown in."""
        return "dimensionless" if self.statistic in PURE else QUANTITIES[self.quantity].unit

    @property
    def factor(self) -> float:
        """What eV and Å are multiplied with for that."""
        return 1.0 if self.statistic in PURE else QUANTITIES[self.quantity].factor

    @property
    def words(self) -> str:
        """The number in few words, e.g. ``force MAE``."""
        titles = {"forces": "force", "energy_per_atom": "energy", "stress": "stress"}
        return f"{titles[self.quantity]} {STATISTICS[self.statistic]}"

    @property
    def against(self) -> str:
        """What it is measured against, and on what, e.g. ``against DFT, test set``."""
        where = {"test": "test set", "synthetic": "unseen families"}.get(self.split, f"{self.split} set")
        return f"against {'DFT' if self.reference == 'dft' else 'the ' + self.reference}, {where}"

    @property
    def label(self) -> str:
        """What an axis says."""
        return f"{self.words} {self.against} ({self.unit})"

    @property
    def source(self) -> str:
        """Which rows of ``metrics.csv`` it is."""
        names = ("quantity", "statistic", "reference", "split")
        return f"metrics.csv, rows with config_type {ALL}, " + ", ".join(f"{n} {getattr(self, n)}" for n in names)


@dataclass(frozen=True)
class Errors:
    """One number of each model.

    Attributes:
        rows: one row a model: :data:`COLUMNS`, one column a key by its name, and ``identity``; ``value`` is in the unit
            of the choice, NaN where ``failed``.
        keys: the swept keys.
        choice: which number it is.
    """

    rows: pd.DataFrame
    keys: tuple[Key, ...]
    choice: Choice

    @property
    def students(self) -> pd.DataFrame:
        """The rows of students."""
        return self.rows[self.rows["model"] != "teacher"]

    @property
    def teachers(self) -> pd.DataFrame:
        """The rows of the fine-tuned teachers."""
        return self.rows[(self.rows["model"] == "teacher") & (self.rows["variant"] == "finetuned")]


def select(results: Results | pd.DataFrame, choice: Choice) -> Errors:
    """Return one number of every model, those without one marked as failed.

    Raises:
        UserError: the table lacks a column, or has no row of that kind.
    """
    tables = results if not isinstance(results, pd.DataFrame) else Tables(results)
    metrics = tables.metrics
    lacking = [name for name in NEEDED if name not in metrics.columns]
    if lacking:
        remedy = "Give the metrics.csv of a run or a sweep, as pandas reads it"
        raise UserError(f"has no column {', '.join(lacking)}", where="metrics", remedy=remedy)
    frames = [frame for frame in (metrics, tables.models, tables.failures) if frame is not None]
    keys = keys_of(dict.fromkeys(name for frame in frames for name in frame.columns), TAKEN)
    rows = _prepared(_picked(metrics, choice), keys)
    rows["value"] = choice.factor * pd.to_numeric(rows["value"], errors="coerce")
    if tables.models is not None:
        rows = _with_others(rows, tables.models, keys, "identity")
    elif tables.failures is not None:
        rows = _with_others(rows, tables.failures, keys, "place")
    rows.loc[rows["value"].isna() & rows["status"].isin(ENDED_WELL), "status"] = "no value"
    rows["failed"] = ~rows["status"].isin(ENDED_WELL)
    rows.loc[rows["failed"], "value"] = float("nan")
    return Errors(_in_order(rows, keys), keys, choice)


def _picked(metrics: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the rows of the choice; raises UserError where there are none."""
    rows = metrics[metrics["config_type"] == ALL]
    for name in ("quantity", "statistic", "reference", "split"):
        known = [str(one) for one in rows[name].dropna().unique()]
        rows = rows[rows[name] == getattr(choice, name)]
        if rows.empty:
            what = f"has no row with {name} {getattr(choice, name)!r}"
            remedy = nearest(getattr(choice, name), known) if known else "No model has an error of this kind"
            raise UserError(what, where="metrics", remedy=remedy)
    return rows


def _prepared(frame: pd.DataFrame, keys: Sequence[Key]) -> pd.DataFrame:
    """Return models once each, with the columns that studies know, their keys, and by what they are recognised.

    ``identity`` is the hash of the task that trained a model, so that one which several variants of a sweep share is
    one; ``place`` says the same in words, for tables without that hash. A model that was judged on several sets of
    structures, as a direct student on the unseen families of each pool, has a row for each.
    """
    rows = frame.reindex(columns=[name for name in COLUMNS if name != "failed"])
    rows["status"] = rows["status"].astype(object).where(rows["status"].notna(), "finished")
    for name in ("seed", "repeat"):
        rows[name] = pd.to_numeric(rows[name], errors="coerce").fillna(0).astype(int)
    for key in keys:
        rows[key.name] = values(frame, key)
    said = rows[[*HEAD, *[key.name for key in keys]]].map(text)
    rows["place"] = said.agg("|".join, axis=1) if len(rows) else pd.Series(dtype=object)
    known = rows["model_hash"].notna()
    own = said[["model", "variant", "seed"]].agg("|".join, axis=1) if len(rows) else rows["place"]
    rows["identity"] = rows["place"].where(~known, own + "|" + rows["model_hash"].astype(str))
    return rows.drop_duplicates(["identity", "value"])


def _in_order(rows: pd.DataFrame, keys: Sequence[Key]) -> pd.DataFrame:
    """Return the rows by model (the teacher first), variant and keys: numbers ascending, names as they appeared."""
    variants = {name: place for place, name in enumerate(VARIANTS)}
    first = pd.factorize(rows["model"].where(rows["model"] != "teacher"))[0]
    columns = [first, rows["variant"].map(variants).fillna(len(variants)).to_numpy(dtype=float)]
    for key in keys:
        number = pd.api.types.is_numeric_dtype(rows[key.name])
        columns.append(rows[key.name].to_numpy(dtype=float) if number else pd.factorize(rows[key.name])[0])
    columns += [rows["repeat"].to_numpy(), rows["seed"].to_numpy()]
    return rows.iloc[np.lexsort(columns[::-1])].reset_index(drop=True)


def _with_others(rows: pd.DataFrame, frame: pd.DataFrame, keys: Sequence[Key], same: str) -> pd.DataFrame:
    """Add the students of another table that have no row yet; one without a number learns what became of it."""
    is_student = frame["model"].notna() & (frame["model"] != "teacher") & (frame["model"] != "")
    others = _prepared(frame[is_student], keys)
    known = others.groupby(same)["status"].first()
    lost = rows["value"].isna() & rows[same].isin(known.index)
    rows = rows.assign(status=rows["status"].where(~lost, rows[same].map(known)))
    new = others[~others[same].isin(rows[same])]
    return pd.concat([rows, new.assign(value=float("nan"))]) if len(new) else rows


def _read(path: Path) -> pd.DataFrame | None:
    """Return a CSV file, in which only what is empty is missing; None where there is none."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.is_file() else None
