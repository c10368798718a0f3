"""Figures of the verdict: how far every quantity is from the teacher's, and observed curves with their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.analysis.means import quantile
from distill.analysis.verdicts import Criterion
from distill.reporting.data import name_with_seed
from distill.reporting.models import Model
from distill.reporting.physics import ObservedCurve, Physics
from distill.reporting.style import GREY, Look, grid, new_figure, styled

FAR = 4.0
"""Tolerances from the teacher at which the axis ends; what is farther lies at its edge."""


@styled
def differences(found: Physics | None, look_of: Mapping[Model, Look]) -> Figure | None:
    """Return every difference over its tolerance with its interval, one row a quantity, one marker a student."""
    rows: dict[str, None] = {}
    for judged in found.judged if found else ():
        rows |= dict.fromkeys(_label(one) for one in judged.verdict.counted if _drawn(one))
    if found is None or not rows:
        return None
    places = {name: -k for k, name in enumerate(sorted(rows))}
    figure = new_figure(8.4, 1.4 + 0.34 * len(rows))
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#e9e9e9", zorder=0)
    for k, judged in enumerate(found.judged):
        style, shift = look_of[judged.of], 0.5 * (k + 0.5) / len(found.judged) - 0.25
        label = name_with_seed(judged, found.judged)
        for one in (one for one in judged.verdict.counted if _drawn(one)):
            _difference(axes, one, places[_label(one)] - shift, style, label)
            label = ""
    axes.set_yticks(list(places.values()), list(places))
    axes.set_xlim(-FAR - 0.3, FAR + 0.3)
    axes.set_xlabel("difference over its tolerance")
    failed = sum(judged.verdict.decision == "reject" for judged in found.judged)
    axes.set_title(f"Every quantity against the teacher's; rejected: {failed} of {len(found.judged)}")
    figure.legend(loc="outside lower left", ncols=3, fontsize=8.5)
    return figure


def _drawn(one: Criterion) -> bool:
    return math.isfinite(one.difference) and math.isfinite(one.tolerance) and not one.note


def _label(one: Criterion) -> str:
    return f"{one.level}  {one.quantity}"


def _difference(axes: Axes, one: Criterion, place: float, style: Look, label: str) -> None:
    """Draw one difference; beyond the axis it is a triangle at its edge."""
    value, low, high = (float(np.clip(x / one.tolerance, -FAR, FAR)) for x in (one.difference, one.low, one.high))
    far = abs(one.difference / one.tolerance) > FAR
    marker = ("<" if value < 0 else ">") if far else style.marker
    if math.isfinite(low):
        axes.plot([low, high], [place, place], color=style.color, lw=1.4)
    axes.plot(value, place, marker=marker, color=style.color, ls="", label=label or None)


@styled
def curves(found: Physics | None, look_of: Mapping[Model, Look]) -> Figure | None:
    """Return observed curves, one panel each: means over replicas with their 95 % bands, and what is known besides."""
    shown = [curve for curve in (found.curves if found else ()) if curve.replicas]
    if not shown:
        return None
    columns, lines = grid(len(shown))
    figure = new_figure(max(4.2 * columns, 6.4), 3.4 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, curve in zip(panels, shown, strict=False):
        _curve(axes, curve, look_of)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles = {label: h for p in panels for h, label in zip(*p.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=3, fontsize=8.5)
    return figure


def _curve(axes: Axes, curve: ObservedCurve, look_of: Mapping[Model, Look]) -> None:
    for (model, seed), replicas in curve.replicas.items():
        style, mean = look_of[model], replicas.mean(axis=0)
        label = model.label if seed == 0 else f"{model.label}, seed {seed}"
        axes.plot(curve.places, mean, color=style.color, ls=style.linestyle, lw=1.2, label=label)
        if len(replicas) > 1:
            half = quantile(len(replicas) - 1) * replicas.std(axis=0, ddof=1) / math.sqrt(len(replicas))
            axes.fill_between(curve.places, mean - half, mean + half, color=style.color, alpha=0.2, lw=0)
    if curve.reference is not None:
        axes.plot(*curve.reference, color=GREY, ls=":", lw=1.6, label=curve.reference_name)
        axes.set_xlim(curve.places[0], curve.places[-1])
    axes.set_xlabel(curve.place)
    axes.set_ylabel(f"{curve.name}{f' ({curve.unit})' if curve.unit else ''}")
    axes.set_title(f"{curve.name}, {curve.run}")
