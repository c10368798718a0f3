"""The study that any swept key has: errors over its values. Those of single keys are this one with their own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Unpack

import pandas as pd
from matplotlib.axes import Axes

from distill.reporting.style import grid, new_figure, styled
from distill.studies.draw import draw_over, legend, looks_of, noted, titled
from distill.studies.errors import Choice, Chosen, Errors, Results, select
from distill.studies.groups import compared, failures_sentence, gathered, moved_along, say, with_series
from distill.studies.keys import Key, find_key, text
from distill.studies.study import Study

CAPTION = (
    "Small open marks: single models. Large marks and bars: mean and 95 % interval of the mean (Student's t) over "
    "seeds, or over repeats of the whole chain where there are several. Horizontal lines and bands: what does not "
    "depend on the key."
)
"""How all figures of this kind are read."""


@dataclass(frozen=True)
class Swept:
    """Errors over a key, ready to be drawn.

    Attributes:
        errors: one number of every model.
        key: what is along the axis.
        rows: the models with their ``series``.
        table: the groups, one row a series and value.
    """

    errors: Errors
    key: Key
    rows: pd.DataFrame
    table: pd.DataFrame


def over(results: Results | pd.DataFrame, key: str, **choice: Unpack[Chosen]) -> Study:
    """Return the errors of all models over a swept key.

    Args:
        results: the tables of a sweep.
        key: the key, dotted or by its end: ``students.painn.cutoff`` or ``cutoff``.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Raises:
        UserError: the key was not swept, or there is no such number.
    """
    return study_of(prepare(select(results, Choice(**choice)), key), name=f"over-{key.replace('.', '-')}")


def prepare(errors: Errors, key: str | Key, along: Sequence[str] = ()) -> Swept:
    """Return the groups of models over a key; the foundation model before fine-tuning is left out.

    The table has the other keys too, and the columns ``along``, where a group has but one value.
    """
    key = find_key(errors.keys, key) if isinstance(key, str) else key
    rows = errors.rows[errors.rows["variant"] != "zero_shot"]
    rows = with_series(rows, errors.keys, key.name)
    extra = [*(k.name for k in errors.keys if k.name != key.name), *along]
    by = ["model", "variant", "series", key.name]
    return Swept(errors, key, rows, gathered(rows, by, errors.choice, extra))


@styled
def study_of(
    swept: Swept, name: str, add: Callable[[Axes], None] | None = None, *, caption: str = "", title: str = ""
) -> Study:
    """Return the study of prepared errors; ``add`` draws what a study has besides."""
    figure = new_figure(8.2, 5.4)
    axes = figure.subplots()
    title, notes = title or headline(swept), notes_of(swept)
    draw_panel(axes, swept, notes)
    titled(axes, title)
    if add is not None:
        add(axes)
    legend(figure)
    source = f"{CAPTION} {caption}".strip() + f" Source: {swept.errors.choice.source}."
    return Study(name, title, source, swept.table, figure, notes)


@styled
def panels_of(panels: Sequence[Swept], name: str, title: str, caption: str = "") -> Study:
    """Return a study of panels beside each other; its table says in ``over`` and ``quantity`` which row is of which."""
    columns, lines = grid(len(panels))
    figure = new_figure(4.6 * columns + 0.8, 4.6 * lines + 0.6)
    notes = tuple(dict.fromkeys(note for one in panels for note in notes_of(one)))
    for axes, one in zip(figure.subplots(lines, columns, squeeze=False).ravel(), panels, strict=False):
        draw_panel(axes, one)
        axes.set_title("\n".join(wrap(headline(one), 52)))
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("\n".join(notes), fontsize=9)
    legend(figure)
    tables = [one.table.assign(over=one.key.name, quantity=one.errors.choice.quantity) for one in panels]
    sources = "; ".join(dict.fromkeys(one.errors.choice.source for one in panels))
    return Study(
        name, title, f"{CAPTION} {caption} Source: {sources}.", pd.concat(tables, ignore_index=True), figure, notes
    )


def draw_panel(axes: Axes, swept: Swept, notes: tuple[str, ...] = (), *, joined: bool = True) -> None:
    """Draw the errors over the key, with names and units of both axes; ``joined`` means are joined by lines."""
    draw_over(axes, swept.rows, swept.table, swept.key.name, looks_of(swept.table["series"]), joined)
    noted(axes, swept.key.label, notes)
    axes.set_ylabel(swept.errors.choice.label)


def headline(swept: Swept) -> str:
    """Return the lowest mean among the students that depend on the key, and where it is."""
    key, choice, best = swept.key, swept.errors.choice, best_group(swept)
    if best is None:
        return f"{choice.words}: every model failed"
    which = "highest" if choice.statistic == "r2" else "lowest"
    return f"{which} {choice.words} {say(best, choice.unit)}: {best['series']}, {key.said(best[key.name])}"


def best_group(swept: Swept) -> pd.Series | None:
    """Return the group of the lowest mean among the students that depend on the key (of R²: the highest), or None."""
    found = _by_mean(swept)
    return None if found.empty else found.iloc[0]


def _by_mean(swept: Swept) -> pd.DataFrame:
    """Return the groups that depend on the key, the best first; teachers only where there is nothing else."""
    found = swept.table[swept.table[swept.key.name].notna() & swept.table["mean"].notna()]
    found = found[found["model"] != "teacher"] if (found["model"] != "teacher").any() else found
    return found.sort_values("mean", ascending=swept.errors.choice.statistic != "r2", kind="stable")


def _not_told_apart(swept: Swept) -> str:
    """Return that the best group cannot be told from the next one, where that is so."""
    found, name = _by_mean(swept), swept.key.name
    if len(found) < 2:
        return ""
    first, second = (
        swept.rows[(swept.rows["series"] == group["series"]) & (swept.rows[name].map(text) == text(group[name]))]
        for _, group in found.head(2).iterrows()
    )
    apart, other = compared(second, first), found.iloc[1]
    if apart.low > 0 or apart.high < 0:
        return ""
    where = f"{other['series']}, {swept.key.said(other[name])}"
    return f"cannot tell the best from the next ({where}: {say(apart, swept.errors.choice.unit)} apart)"


def notes_of(swept: Swept) -> tuple[str, ...]:
    """Return what a reader has to know: failures, what cannot be told apart, keys that were changed together."""
    notes = [failures_sentence(swept.rows), _not_told_apart(swept)]
    single = swept.table[(swept.table["independent"] == 1) & (swept.table["model"] != "teacher")]
    if len(single):
        means = "one mean is" if len(single) == 1 else f"{len(single)} of the means are"
        notes.append(f"{means} of a single model, whose scatter cannot be told")
    along = moved_along(swept.rows[swept.rows[swept.key.name].notna()], swept.errors.keys, swept.key.name)
    if along:
        notes.append(f"changed together with it: {', '.join(key.words for key in along)}")
    return tuple(filter(None, notes))


def varies(errors: Errors, key: Key) -> bool:
    """Whether models differ in a key, be it that some have no value of it."""
    groups = errors.rows.groupby(["model", "variant"])[key.name]
    return bool(errors.rows[key.name].nunique() > 1 or (groups.nunique(dropna=False) > 1).any())
