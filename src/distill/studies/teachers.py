"""The teacher: whether a better one makes better students."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from distill.base.errors import UserError
from distill.reporting.style import GREY
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.groups import say, teacher_values
from distill.studies.keys import Key, text
from distill.studies.study import Study
from distill.studies.swept import Swept, best_group, prepare, study_of, varies

CAPTION = "On the grey line a student is as far from DFT as its teacher; along it stand the teachers."


def teacher(results: Results | pd.DataFrame, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of students over those of their teachers, each against DFT.

    A teacher is what agrees in all swept keys that teachers depend on, such as ``teacher.model`` or ``data.n_train``;
    where there are several repeats, its error is the mean over them.

    Args:
        results: the tables of a sweep.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: no key of the teacher was swept, or there are no such numbers.
    """
    errors = select(results, Choice(**choice))
    own = [key for key in errors.keys if errors.teachers[key.name].nunique() > 1]
    if not own:
        remedy = "Sweep teacher.model, teacher.finetune.steps, data.n_train or another key of the teacher"
        raise UserError("all students have the same teacher", where="key", remedy=remedy)
    rows = errors.students
    rows = rows[rows["variant"] != "direct"]
    name = rows[[key.name for key in own]].map(text).agg(", ".join, axis=1)
    rows = rows.assign(teacher=name, teacher_error=teacher_values(errors, rows))
    rows["teacher_error"] = rows.groupby("teacher", dropna=False)["teacher_error"].transform("mean")
    meaning = (f"the teacher's {errors.choice.words} against DFT", errors.choice.unit)
    key = Key("teacher_error", "teacher_error", ("teacher_error",), meaning)
    rest = tuple(one for one in errors.keys if one not in own and varies(errors, one))
    swept = prepare(replace(errors, rows=rows, keys=(*rest, key)), key, along=("teacher",))
    places = rows.groupby("teacher", sort=False)["teacher_error"].first()

    def add(axes: Axes) -> None:
        _label_teachers(axes, places)

    return study_of(swept, "teacher", add, caption=CAPTION, title=_title(swept))


def _title(swept: Swept) -> str:
    best, choice = best_group(swept), swept.errors.choice
    if best is None:
        return f"{choice.words}: every model failed"
    taught = say(pd.Series({"mean": best["teacher_error"], "low": np.nan, "high": np.nan}), choice.unit)
    return f"lowest {choice.words} {say(best, choice.unit)}: {best['series']}, taught by {best['teacher']} ({taught})"


def _label_teachers(axes: Axes, places: pd.Series) -> None:
    """Name the teachers along the axis and draw where a student is as good as its teacher."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    along = np.linspace(low, high, 50)
    axes.plot(along, along, "-", color=GREY, lw=1, zorder=1, label="as far from DFT as the teacher")
    axes.set_xlim(low, high)
    axes.set_ylim(min(bottom, top, float(places.min()) * 0.95), top)
    for name, error in places.dropna().items():
        place = axes.get_xaxis_transform()
        axes.text(error, 0.98, str(name), transform=place, rotation=90, ha="right", va="top", fontsize=8, color=GREY)
