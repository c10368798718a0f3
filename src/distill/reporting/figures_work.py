"""Figures of the work: reference energies and forgetting, how the synthetic structures grew, what each task took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distill.base.progress import duration
from distill.reporting.data import Growth, StageCost, Tuning
from distill.reporting.style import COLOURS, GREY, new_figure, styled


@styled
def tuning(tuned: Tuning) -> Figure:
    """Return the residual energy of every training structure and, after fine-tuning, the change of other materials."""
    figure = new_figure(9.0 if tuned.forgotten else 5.2, 3.6)
    panels = figure.subplots(1, 2 if tuned.forgotten else 1, squeeze=False)[0]
    families = list(dict.fromkeys(tuned.config_type))
    residual, of = 1000 * np.asarray(tuned.residual), np.array(tuned.config_type)
    for k, family in enumerate(families):
        place = np.flatnonzero(of == family)
        panels[0].plot(place, residual[place], "os^Dv"[k % 5], color=COLOURS[k % len(COLOURS)], ms=4.5, label=family)
    panels[0].axhline(0, color=GREY, lw=0.8)
    panels[0].set_xlabel("training structure (number)")
    panels[0].set_ylabel("DFT − zero-shot (meV/atom)")
    whose = f"{tuned.of}: " if tuned.of else ""
    panels[0].set_title(f"{whose}reference energies leave {np.nanmean(np.abs(residual)):.0f} meV/atom")
    if len(families) > 1:
        panels[0].legend(fontsize=8.5)
    if tuned.forgotten and tuned.change is not None and tuned.size is not None:
        names, values = list(tuned.forgotten), [1000 * change for change in tuned.forgotten.values()]
        _bars(panels[1], names, values, [f"{value:.0f}" for value in values], "change of the forces (meV/Å)")
        panels[1].set_title(f"others changed by {1000 * tuned.change:.0f} of {1000 * tuned.size:.0f} meV/Å")
    return figure


@styled
def growth(grown: Growth) -> Figure | None:
    """Return histograms of generation, displacement and energy, and the funnel of proposals; None where all lack."""
    panels: list[Callable[[Axes], None]] = []
    if grown.generation is not None and len(grown.generation):
        panels.append(lambda axes: _generations(axes, grown))
    for values, origin in ((grown.displacement, "parent"), (grown.displacement_from_seed, "seed")):
        if (d := _finite(values)) is not None:
            label, title = f"mean displacement from the {origin} (Å)", f"median displacement {np.median(d):.2f} Å"
            panels.append(partial(_histogram, values=d, label=label, title=title))
    if (e := _finite(grown.energy)) is not None:
        above = f"median {1000 * np.median(e):+.0f} meV/atom"
        panels.append(partial(_histogram, values=1000 * e, label="energy relative to the seed (meV/atom)", title=above))
    if grown.funnel:
        panels.append(lambda axes: _funnel(axes, grown))
    if not panels:
        return None
    rows = -(-len(panels) // 2)
    figure = new_figure(8.2, 2.9 * rows)
    places = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, draw in zip(places, panels, strict=False):
        draw(axes)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    return figure


def _finite(values: object) -> np.ndarray | None:
    """Return the finite values as an array, or None where there are none."""
    if values is None:
        return None
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    return array if len(array) else None


def _generations(axes: Axes, grown: Growth) -> None:
    generation, count = np.unique(np.asarray(grown.generation), return_counts=True)
    axes.bar(generation, count, color=COLOURS[0], width=0.8)
    axes.set_xlabel("generation (steps from the seed structure)")
    axes.set_ylabel("structures (count)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"{count.sum()} structures, up to generation {generation.max()}")


def _histogram(axes: Axes, values: np.ndarray, label: str, title: str) -> None:
    axes.hist(values, bins=min(40, max(8, int(np.sqrt(len(values)) * 1.5))), color=COLOURS[0], ec="white", lw=0.4)
    axes.axvline(np.median(values), color=COLOURS[1], ls="--", lw=1.3)
    axes.set_xlabel(label)
    axes.set_ylabel("structures (count)")
    axes.set_title(title)


def _funnel(axes: Axes, grown: Growth) -> None:
    names, counts = list(grown.funnel), list(grown.funnel.values())
    _bars(axes, names, counts, [f"{count}" for count in counts], "structures (count)")
    calls = ""
    if grown.teacher_calls is not None:
        calls = f", {grown.teacher_calls} teacher calls ({grown.teacher_calls / max(counts[-1], 1):.1f} each)"
    axes.set_title(f"{counts[-1]} of {counts[0]} left{calls}")


@styled
def costs(stages: Sequence[StageCost]) -> Figure | None:
    """Return wall time and peak memory of every task as horizontal bars; tasks taken from the store are hatched."""
    if not stages:
        return None
    measured = [s.peak_memory_mib for s in stages if s.peak_memory_mib is not None]
    figure = new_figure(9.0 if measured else 6.5, 0.34 * len(stages) + 1.3)
    panels = figure.subplots(1, 2 if measured else 1, sharey=True, squeeze=False)[0]
    names, cached = [s.task for s in stages], [s.cached for s in stages]
    times = [s.wall_s for s in stages]
    _bars(panels[0], names, times, [duration(t) for t in times], "wall time (s)", cached)
    panels[0].set_title(f"total {duration(sum(times))}" + (" (hatched: from the store)" if any(cached) else ""))
    if measured:
        memory = [s.peak_memory_mib or 0.0 for s in stages]
        texts = ["not measured" if s.peak_memory_mib is None else f"{s.peak_memory_mib:.0f}" for s in stages]
        _bars(panels[1], names, memory, texts, "peak memory (MiB)", cached)
        panels[1].set_title(f"highest {max(measured) / 1024:.1f} GiB")
    return figure


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    label: str,
    hatched: Sequence[bool] | None = None,
) -> None:
    places = range(len(names))
    bars = axes.barh(places, values, color=COLOURS[0], height=0.65, ec="white", lw=0)
    for bar, hatch in zip(bars, hatched or [False] * len(names), strict=True):
        if hatch:
            bar.set(facecolor="#cfe0ee", edgecolor=COLOURS[0], hatch="////")
    axes.bar_label(bars, texts, padding=4, fontsize=8.5, color=GREY)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.22)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
