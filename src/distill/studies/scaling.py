"""The scaling law: how the error of students against their teacher falls with the number of synthetic structures."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from distill.analysis.power_law import PowerLaw, fit_power_law
from distill.base.errors import UserError
from distill.reporting.style import new_figure, styled
from distill.studies.draw import is_numeric, legend, logarithmic, looks_of, show, titled
from distill.studies.errors import Choice, Chosen, Results, select
from distill.studies.groups import CANNOT_TELL
from distill.studies.learning_curves import structures_key
from distill.studies.study import Study
from distill.studies.swept import Swept, draw_panel, notes_of, prepare

CAPTION = (
    "Thin lines: power laws through all models by least squares in logarithms; the interval of an exponent is "
    "Student's t and supposes that a power law holds. It knows the scatter of the fits, not that of another pool of "
    "structures. "
)


@styled
def scaling_law(results: Results | pd.DataFrame, *, key: str | None = None, **choice: Unpack[Chosen]) -> Study:
    """Return error = a · N^-b for each series of distilled students, with the 95 % interval of b.

    The error is that against the teacher where nothing else is chosen: that against DFT ends at the teacher's own.

    Args:
        results: the tables of a sweep.
        key: the swept key along the axis, where it is not the number of structures.
        choice: which number; see :class:`~distill.studies.errors.Choice`.

    Returns:
        A table with one row a series: ``amplitude``, ``exponent``, ``low``, ``high``, ``interval``, relative
        ``scatter``, ``n`` models, ``sizes``, and ``times_for_half``, how many times the structures halve the error.

    Raises:
        UserError: no number of structures was swept, or no series has two of them.
    """
    errors = select(results, Choice(**(Chosen(reference="teacher") | choice)))
    distilled = replace(errors, rows=errors.rows[errors.rows["variant"] == "distilled"])
    swept = prepare(distilled, key or structures_key(errors))
    laws = _laws(swept)
    if not laws:
        raise UserError("no student has errors at two numbers of structures", where="metrics")
    figure = new_figure(8.2, 5.4)
    axes = figure.subplots()
    notes = notes_of(swept)
    draw_panel(axes, swept, notes, joined=False)
    _draw_laws(axes, swept, laws)
    said = [f"{series}: N^{_say(law)}" for series, law in laws.items()]
    title = "; ".join(said[:3]) + (f"; {len(said) - 3} more" if len(said) > 3 else "")
    titled(axes, title)
    legend(figure)
    caption = f"{CAPTION}Source: {errors.choice.source}."
    return Study("scaling-law", title, caption, _table(laws, errors.choice.unit), figure, notes)


def _laws(swept: Swept) -> dict[str, PowerLaw]:
    """Return the power law of each series that has one; models that failed are in none."""
    found = {}
    if not is_numeric(swept.rows[swept.key.name]):
        return {}
    rows = swept.rows[(swept.rows["value"] > 0) & swept.rows[swept.key.name].notna()]
    for series, group in rows.groupby("series", sort=False):
        law = fit_power_law(group[swept.key.name].to_numpy(dtype=float), group["value"].to_numpy(dtype=float))
        if law is not None:
            found[str(series)] = law
    return found


def _draw_laws(axes: Axes, swept: Swept, laws: dict[str, PowerLaw]) -> None:
    look_of = looks_of(swept.table["series"])
    for series, law in laws.items():
        sizes = swept.rows.loc[swept.rows["series"] == series, swept.key.name].dropna().to_numpy(dtype=float)
        along = np.geomspace(sizes.min(), sizes.max(), 50)
        axes.plot(along, law.at(along), color=look_of[series].color, lw=0.9, label=f"{series}: N^{_say(law)}")
    if axes.get_xscale() != "log":
        logarithmic(axes.xaxis, swept.rows[swept.key.name].dropna().to_numpy(dtype=float))
    values = swept.rows["value"].dropna().to_numpy(dtype=float)
    show(axes, values[values > 0], swept.table[["low", "high"]].to_numpy(), log=True)


def _say(law: PowerLaw) -> str:
    spread = f" [{-law.high:.2f}, {-law.low:.2f}]" if np.isfinite(law.low) else f" ({CANNOT_TELL} how well)"
    if law.low <= 0 <= law.high:
        spread += f" ({CANNOT_TELL} whether it falls)"
    return f"{-law.exponent:.2f}{spread}".replace("-", "−")


def _table(laws: dict[str, PowerLaw], unit: str) -> pd.DataFrame:
    rows = [
        {
            "series": series,
            "amplitude": law.amplitude,
            "exponent": law.exponent,
            "low": law.low,
            "high": law.high,
            "interval": "95 %" if np.isfinite(law.low) else CANNOT_TELL,
            "scatter": law.scatter,
            "n": law.n,
            "sizes": law.sizes,
            "times_for_half": 2 ** (1 / law.exponent) if law.exponent > 0 else np.nan,
            "unit": unit,
        }
        for series, law in laws.items()
    ]
    return pd.DataFrame(rows)
