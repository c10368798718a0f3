"""Models gathered into groups: the mean over seeds and repeats with its interval, and how many failed.

A group is what differs in nothing but seed and repeat. Its interval is that of the mean of independent models; the best
by validation is a column besides, since published figures often show the best of three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from distill.analysis.means import Mean, difference, mean
from distill.base.arrays import Array
from distill.reporting.models import Model
from distill.reporting.tables import number
from distill.studies.errors import FACTS, Choice, Errors
from distill.studies.keys import Key, missing, text

CANNOT_TELL = "cannot tell"
NEEDED = ("value", "failed", "repeat", "valid_loss", "status")
"""What a group's numbers are made of."""


def gathered(rows: pd.DataFrame, by: Sequence[str], choice: Choice, along: Iterable[str] = ()) -> pd.DataFrame:
    """Return one row a group of models that agree in the columns ``by``, in order of appearance.

    Returns:
        ``by``, the columns ``along`` where a group has but one value, then ``mean``, ``low``, ``high`` (95 % interval
        by Student's t), ``interval`` (``95 %``, or ``cannot tell`` where a single independent model has none),
        ``deviation`` (standard deviation), ``n`` (models in the mean), ``independent`` (those that count as
        independent), ``best`` (the model of lowest validation loss), ``n_failed``, ``failed`` (what became of them),
        ``unit``, and means of what is known of the models besides.
    """
    columns = list(by)
    facts = [name for name in FACTS if name not in columns and rows[name].notna().any()]
    also = [name for name in along if rows[name].notna().any()]
    numbers = rows[facts].apply(pd.to_numeric, errors="coerce")
    arrays = {name: rows[name].to_numpy() for name in (*columns, *also, *NEEDED)}
    groups = rows.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    found = []
    for members in np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1]):
        own = {name: values[members] for name, values in arrays.items()}
        row = {name: own[name][0] for name in columns} | {name: _only(own[name]) for name in also} | _summary(own)
        found.append(row | {"unit": choice.unit})
    means = numbers.groupby(groups).mean()
    names = ("mean", "low", "high", "interval", "deviation", "n", "independent", "best", "n_failed", "failed", "unit")
    return pd.DataFrame(found, columns=[*columns, *also, *names]).join(means)


def compared(first: pd.DataFrame, second: pd.DataFrame) -> Mean:
    """Return by how much the mean of the first group is larger than that of the second, with its 95 % interval.

    Where both have several repeats of the whole chain, repeats are compared pairwise; else Welch's interval over seeds.
    """
    good = [rows[~rows["failed"]] for rows in (first, second)]
    each = [rows.groupby("repeat")["value"].mean() for rows in good]
    shared = each[0].index.intersection(each[1].index)
    if len(shared) > 1:
        return mean((each[0][shared] - each[1][shared]).to_numpy(dtype=float))
    return difference(*[rows["value"].to_numpy(dtype=float) for rows in good])


def with_series(rows: pd.DataFrame, keys: Iterable[Key], x: str | None = None) -> pd.DataFrame:
    """Return the rows with a column ``series``: the model in words, and what it differs in besides ``x``.

    A key that says nothing more once ``x`` is known, because both were changed together, is left out. Models without a
    value of ``x``, among others of their kind that have one, are a series of their own.
    """
    keys = tuple(keys)
    labels = pd.Series("", index=rows.index, dtype=object)
    for (model, variant), group in rows.groupby(["model", "variant"], sort=False):
        own = pd.Series(Model(model, variant).label, index=group.index)
        for key in keys:
            if key.name != x and _tells(group, key.name, x):
                said = group[key.name].map(lambda one, key=key: "" if missing(one) else f", {key.said(one)}")
                own = own + said
        if x is not None and group[x].isna().any() and group[x].notna().any():
            words = next((key.words for key in keys if key.name == x), x)
            own = own.where(group[x].notna(), own + f", {words} not set")
        labels[group.index] = own
    return rows.assign(series=labels)


def moved_along(rows: pd.DataFrame, keys: Iterable[Key], x: str) -> list[Key]:
    """Return the keys that were changed together with ``x``."""
    varied = [key for key in keys if key.name != x and rows[key.name].nunique() > 1]
    groups = [group for _, group in rows.groupby(["model", "variant"], sort=False)]
    return [key for key in varied if not any(_tells(group, key.name, x) for group in groups)]


def say(found: Mean | pd.Series, unit: str = "") -> str:
    """Return a mean with half of its interval as text, e.g. ``38.4 ± 1.2 meV/Å``."""
    value = found.value if isinstance(found, Mean) else found["mean"]
    half = (found.high - found.low) / 2 if isinstance(found, Mean) else (found["high"] - found["low"]) / 2
    if not np.isfinite(value):
        return "no number"
    size = max(abs(value), half if np.isfinite(half) else 0)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4
    spread = f" ± {number(half, digits)}" if np.isfinite(half) else ""
    return f"{number(value, digits)}{spread}{' ' + unit if unit and unit != 'dimensionless' else ''}".replace("-", "−")


def failures_sentence(rows: pd.DataFrame) -> str:
    """Return how many students of a figure failed, and in what way; an empty text where none did."""
    models = rows[rows["model"] != "teacher"].drop_duplicates("identity")
    lost = models[models["failed"]]
    if lost.empty:
        return ""
    ways = ", ".join(f"{many} {status}" for status, many in lost["status"].value_counts(sort=False).items())
    return f"{len(lost)} of {len(models)} students failed and {'is' if len(lost) == 1 else 'are'} in no mean ({ways})"


def teacher_values(errors: Errors, rows: pd.DataFrame) -> pd.Series:
    """Return for each row the error of its own fine-tuned teacher against DFT, in the unit of ``errors``; or NaN.

    The teacher of a model is of the same repeat and agrees in every key that the teacher depends on.
    """
    teachers = errors.teachers
    teachers = teachers[~teachers["failed"]]
    found = pd.Series(np.nan, index=rows.index)
    for _, teacher in teachers.iterrows():
        fits = (rows["repeat"] == teacher["repeat"]) | (teachers["repeat"].nunique() == 1)
        for key in errors.keys:
            if not missing(teacher[key.name]):
                fits &= rows[key.name].map(text) == text(teacher[key.name])
        found = found.where(~fits, teacher["value"])
    return found


def _tells(group: pd.DataFrame, name: str, x: str | None) -> bool:
    """Whether a column distinguishes models of a group that are equal in ``x``."""
    if group[name].map(text).nunique() < 2:
        return False
    return x is None or bool((group.groupby(x, dropna=False)[name].nunique(dropna=False) > 1).any())


def _summary(group: Mapping[str, Array]) -> dict[str, Any]:
    """Return what the columns of :data:`NEEDED` say of one group."""
    good, loss = ~group["failed"].astype(bool), group["valid_loss"].astype(float)
    value = group["value"].astype(float)
    found, judged = mean(value[good], group["repeat"][good]), good & np.isfinite(loss)
    return {
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "interval": "95 %" if np.isfinite(found.low) else CANNOT_TELL,
        "deviation": found.deviation,
        "n": found.n,
        "independent": found.independent,
        "best": float(value[judged][loss[judged].argmin()]) if judged.any() else np.nan,
        "n_failed": int((~good).sum()),
        "failed": ", ".join(dict.fromkeys(group["status"][~good])),
    }


def _only(values: Array) -> Any:
    """Return the value that all of a group have, or NaN."""
    known = list(dict.fromkeys(value for value in values if not missing(value)))
    return known[0] if len(known) == 1 else np.nan
