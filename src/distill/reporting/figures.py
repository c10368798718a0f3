"""Figures of accuracy: parity, the headline comparison, learning curves.

Each function returns one figure with units on every axis and the number that matters in the title.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from distill.base.arrays import Array
from distill.reporting.data import Curve, Parity, name_with_seed
from distill.reporting.models import Model
from distill.reporting.style import COLOURS, GREY, Look, grid, look, new_figure, styled
from distill.reporting.tables import QUANTITIES, Cell, ErrorTable, show

PARITY = {
    "energy_per_atom": ("energy per atom", "eV/atom"),
    "forces": ("force component", "eV/Å"),
}
"""Quantities that have a parity plot: how the axis names them, and its unit."""


@styled
def parity(entries: Sequence[Parity], quantity: str, table: ErrorTable) -> Figure | None:
    """Return predicted against DFT values, one panel a model; None where nobody predicted ``quantity``."""
    pairs = [(entry, values) for entry in entries if (values := _values(entry, quantity)) is not None]
    if not pairs:
        return None
    columns, rows = grid(len(pairs))
    figure = new_figure(3.7 * columns, 3.9 * rows + 0.3, layout="compressed")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    families = sorted({family for entry, _ in pairs for family in entry.config_type})
    for panel, (entry, (family, x, y)) in zip(panels, pairs, strict=False):
        _parity_panel(panel, families, family, x, y)
        name, unit = PARITY[quantity]
        panel.set_xlabel(f"DFT {name} ({unit})")
        panel.set_ylabel(f"predicted {name} ({unit})")
        panel.set_title(f"{entry.of.label}\n{_mae(table.cell(entry.of, quantity), quantity)}")
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 6), markerscale=2)
    return figure


def _mae(cell: Cell | None, quantity: str) -> str:
    """Return the MAE of a model as the title of its panel, which shows one seed where the MAE is of several."""
    if cell is None or cell.value is None:
        return show(cell, quantity)
    of = f"{len(cell.each)} of " if cell.failed else ""
    seeds = f" ({of}{cell.seeds} seeds)" if cell.seeds > 1 else ""
    return f"MAE {show(cell, quantity)} {QUANTITIES[quantity].unit}{seeds}"


def _values(entry: Parity, quantity: str) -> tuple[Array, Array, Array] | None:
    """Return family, reference and prediction of every value that has a label, ``[M]`` each, or None."""
    family = np.array(entry.config_type, dtype=object)
    if quantity == "energy_per_atom":
        reference, predicted = entry.reference_energy, entry.predicted_energy
    else:
        reference, predicted = entry.reference_forces, entry.predicted_forces
        family = np.repeat(family, 3 * np.asarray(entry.n_atoms))
    if reference is None or predicted is None:
        return None
    labelled = ~np.isnan(np.ravel(reference))
    return family[labelled], np.ravel(reference)[labelled], np.ravel(predicted)[labelled]


def _parity_panel(panel: Axes, families: list[str], family: Array, x: Array, y: Array) -> None:
    finite = np.isfinite(x) & np.isfinite(y)
    for i, name in enumerate(families):
        chosen = finite & (family == name)
        style = look(i)
        panel.scatter(
            x[chosen], y[chosen], s=9, c=style.color, marker=style.marker, alpha=0.55, lw=0, label=name, rasterized=True
        )
    if not finite.any():
        panel.text(0.5, 0.5, "no finite prediction", transform=panel.transAxes, ha="center")
        return
    ends = np.array([min(x[finite].min(), y[finite].min()), max(x[finite].max(), y[finite].max())])
    margin = 0.04 * max(np.ptp(ends), 1e-6)
    limits = ends + np.array([-margin, margin])
    panel.plot(limits, limits, color=GREY, lw=1, zorder=1, label="exact")
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    if not finite.all():
        panel.text(0.03, 0.95, f"{np.sum(~finite)} values not finite", transform=panel.transAxes, va="top", fontsize=8)


@styled
def force_errors(table: ErrorTable, look_of: Mapping[Model, Look]) -> Figure | None:
    """Return the headline figure: the force MAE of every model against DFT.

    One seed has its bootstrap interval, several have mean, standard deviation and a tick for each; seeds that failed
    are not drawn but counted.
    """
    cells = [(model, table.cell(model, "forces")) for model in table.models_against("dft")]
    found = [(model, cell) for model, cell in cells if cell is not None]
    if not found:
        return None
    figure = new_figure(7.2, 0.46 * len(found) + 1.35)
    axes = figure.subplots()
    factor = QUANTITIES["forces"].factor
    for row, (model, cell) in enumerate(found):
        if cell.value is None:
            axes.text(0.02, row, f"  {show(cell, 'forces')}", va="center", transform=axes.get_yaxis_transform())
            continue
        style, value = look_of[model], cell.value * factor
        low, high = (end * factor for end in _bar(cell))
        spread = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.errorbar(value, row, xerr=spread, fmt=style.marker, color=style.color, capsize=4, ms=7)
        if len(cell.each) > 1:
            axes.plot(
                np.array(cell.each) * factor, np.full(len(cell.each), row), "|", color=style.color, ms=15, mew=1.3
            )
        lost = f", {len(cell.failed)} of {cell.seeds} seeds failed" if cell.failed else ""
        beside = (max(high, factor * max(cell.each)), row)
        label = f"{show(cell, 'forces')}{lost}"
        axes.annotate(label, beside, (8, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(found)), [model.label for model, _ in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    _force_scale(axes, [max(_bar(cell)[1], *cell.each) for _, cell in found if cell.value is not None])
    if any(cell.failed and cell.each for _, cell in found):  # a longer text beside the number
        axes.set_xlim(right=1.2 * axes.get_xlim()[1])
    axes.grid(axis="y", visible=False)
    several = (
        ";\nof several seeds: standard deviation, and a tick for each" if any(c.deviation for _, c in found) else ""
    )
    axes.set_xlabel(f"force MAE on the {table.split} set (meV/Å); bar: 95 % interval{several}")
    axes.set_title(_headline(table, found))
    return figure


def _bar(cell: Cell) -> tuple[float, float]:
    """Return the ends of the bar of a number that is there: its interval, or its standard deviation to both sides."""
    value = cell.value or 0.0
    if cell.deviation is not None:
        return value - cell.deviation, value + cell.deviation
    return (value if cell.low is None else cell.low), (value if cell.high is None else cell.high)


def _force_scale(axes: Axes, values: Sequence[float]) -> None:
    """Leave room for the numbers; one broken model must not squeeze the others into a corner."""
    if not values:
        return
    low, high = (QUANTITIES["forces"].factor * end for end in (min(values), max(values)))
    if high > 30 * low > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(low / 3, high * 5)
    else:
        axes.set_xlim(0, 1.3 * high)


def _headline(table: ErrorTable, found: Sequence[tuple[Model, object]]) -> str:
    students = [m for m, _ in found if m.model != "teacher"] or [m for m, _ in found]
    best = [f"{m.label}: {re.split(r' [±[]', show(table.cell(m, 'forces'), 'forces'))[0]}" for m in students]
    return "Force MAE in meV/Å: " + ";\n".join("; ".join(best[i : i + 2]) for i in range(0, len(best[:4]), 2))


@styled
def learning_curves(curves: Sequence[Curve]) -> Figure | None:
    """Return loss and force error against step, one column of two panels a training; None without trainings."""
    if not curves:
        return None
    columns, rows = grid(len(curves))
    figure = new_figure(4.0 * columns, 4.4 * rows)
    parts = figure.subfigures(rows, columns, squeeze=False).ravel()
    for part, curve in zip(parts, curves, strict=False):
        _training(part, curve, name_with_seed(curve, curves))
    return figure


def _training(part: SubFigure, curve: Curve, name: str) -> None:
    above, below = part.subplots(2, 1, sharex=True)
    _line(above, curve.step, curve.train_loss, COLOURS[0], "-", "", "training")
    _line(above, curve.step, curve.valid_loss, COLOURS[1], "--", "o", "validation")
    _line(below, curve.step, 1000 * np.asarray(curve.valid_force_mae), COLOURS[2], "-", "s", "validation")
    best = _at_best(curve)
    title = f"{name}\n" + ("no force error" if best is None else f"{1000 * best:.0f} meV/Å at the kept step")
    if curve.status != "finished":
        title = f"{name}\n{curve.status.upper()}" + (f": {curve.note}" if curve.note else "")
    above.set_title(title, color="black" if curve.status == "finished" else "#a03000")
    above.set_ylabel("loss (dimensionless)")
    below.set_ylabel("force MAE (meV/Å)")
    below.set_xlabel("optimisation step")
    for axes in (above, below):
        _finish(axes, curve)
    if above.lines:
        above.legend(fontsize=8)


def _finish(axes: Axes, curve: Curve) -> None:
    """Mark the kept step, tint what did not finish, and write plain numbers on the logarithmic axis."""
    if curve.status != "finished":
        axes.set_facecolor("#fdeee6")
    if not axes.lines:
        axes.text(0.5, 0.5, "no values were recorded", transform=axes.transAxes, ha="center", color=GREY)
        axes.tick_params(labelleft=False, labelbottom=False)
        return
    if curve.best_step is not None:
        axes.axvline(curve.best_step, color=GREY, ls=":", lw=1, label=f"kept: step {curve.best_step:.0f}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))


def _line(axes: Axes, step: Array, values: Array, color: str, linestyle: str, marker: str, label: str) -> None:
    """Draw the values that are there and that a logarithmic axis can show."""
    step, values = np.asarray(step, dtype=float), np.asarray(values, dtype=float)
    drawn = np.isfinite(values) & (values > 0)
    if drawn.any():
        axes.plot(step[drawn], values[drawn], color=color, ls=linestyle, marker=marker, ms=3, label=label)


def _at_best(curve: Curve) -> float | None:
    """Return the validation force MAE at the kept step, or the last one before it."""
    values = np.asarray(curve.valid_force_mae, dtype=float)
    known = np.isfinite(values)
    if curve.best_step is not None:
        known &= np.asarray(curve.step) <= curve.best_step
    return float(values[known][-1]) if known.any() else None
