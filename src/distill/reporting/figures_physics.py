"""Figures of physics: the energy-volume curve and molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.base.arrays import Array
from distill.reporting.data import Dynamics, EnergyVolume, name_with_seed
from distill.reporting.models import Model
from distill.reporting.style import GREY, Look, new_figure, styled

TEMPERATURE_CEILING = 3.0
"""Temperatures above this multiple of the target are off the scale, so that an explosion does not hide the others."""


@styled
def energy_volume(curves: Sequence[EnergyVolume], look_of: Mapping[Model, Look]) -> Figure | None:
    """Return energy above each model's own minimum against volume, with lattice constant and bulk modulus."""
    if not curves:
        return None
    figure = new_figure(8.4, 4.4)
    axes = figure.subplots()
    for curve in curves:
        _energy_volume_curve(axes, curve, look_of[curve.of], f"{name_with_seed(curve, curves)}\n{describe(curve)}")
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel("energy above the minimum (meV/atom)")
    axes.set_title(f"Energy-volume curve of {curves[0].structure}{_agreement(curves)}")
    # The curves are bowls: the middle of the top is empty.
    axes.legend(loc="upper center", fontsize=8.5, ncols=1 if len(curves) < 4 else 2)
    return figure


def _energy_volume_curve(axes: Axes, curve: EnergyVolume, style: Look, label: str) -> None:
    volumes, energies, fit = np.asarray(curve.volumes), np.asarray(curve.energies), curve.fit
    known = np.isfinite(energies)
    base = fit.energy if fit.energy is not None else energies[known].min(initial=np.inf)
    points: dict[str, Any] = {"color": style.color, "marker": style.marker, "ms": 5}
    if fit.volume is None:
        axes.plot(volumes[known], 1000 * (energies[known] - base), ls=":", lw=1, label=label, **points)
        return
    fine = np.linspace(volumes.min(), volumes.max(), 200)
    axes.plot(fine, 1000 * (fit.energies(fine) - base), color=style.color, ls=style.linestyle)
    axes.plot(volumes, 1000 * (energies - base), ls=style.linestyle, lw=0, label=label, **points)


def describe(curve: EnergyVolume) -> str:
    """Return lattice constant (or volume) and bulk modulus as text, or why there are none."""
    fit = curve.fit
    if fit.volume is None or fit.bulk_modulus is None:
        return fit.failure or "no fit"
    a0 = fit.lattice_constant(curve.atoms_per_cell) if curve.atoms_per_cell else None
    size = f"a₀ = {a0:.3f} Å" if a0 is not None else f"V₀ = {fit.volume:.2f} Å³/atom"
    return f"{size}, B = {fit.bulk_modulus:.0f} GPa"


def _agreement(curves: Sequence[EnergyVolume]) -> str:
    """Return how far the distilled students are from their teacher in length, as the end of a title."""
    volume = {
        variant: [c.fit.volume for c in curves if c.of.variant == variant and c.fit.volume is not None]
        for variant in ("finetuned", "distilled")
    }
    if not volume["finetuned"] or not volume["distilled"]:
        return ""
    worst = max(abs(np.cbrt(v / volume["finetuned"][0]) - 1) for v in volume["distilled"])
    return f": distilled within {100 * worst:.2f} % of the teacher's lattice constant"


@styled
def dynamics(runs: Sequence[Dynamics], look_of: Mapping[Model, Look]) -> Figure | None:
    """Return temperature and shortest distance against time, one column a simulation, one line a model and seed."""
    names = list(dict.fromkeys(run.name for run in runs))
    if not names:
        return None
    figure = new_figure(4.3 * max(len(names), 1.6), 5.2)
    panels = figure.subplots(2, len(names), sharex="col", squeeze=False)
    for column, name in enumerate(names):
        _simulation(panels[0, column], panels[1, column], [run for run in runs if run.name == name], look_of)
    handles = {label: h for p in panels[0] for h, label in zip(*p.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=3, fontsize=8.5)
    return figure


def _series(axes: Axes, time: Array, values: Array, style: Look, label: str = "") -> None:
    """Draw every sample faintly and the mean over a thirtieth of the run on top."""
    window = max(len(values) // 30, 1)
    axes.plot(time, values, color=style.color, lw=0.6, alpha=0.4)
    if len(values):
        smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
        start = (window - 1) // 2
        axes.plot(time[start : start + len(smooth)], smooth, color=style.color, ls=style.linestyle, label=label)


def _simulation(above: Axes, below: Axes, runs: Sequence[Dynamics], look_of: Mapping[Model, Look]) -> None:
    verdict = runs[0].verdict
    target, band = verdict.target_temperature, verdict.temperature_band
    above.axhspan(target - band, target + band, color="#e9e9e9", zorder=0, label="target ± 2σ (canonical)")
    highest = 0.0
    for run in runs:
        style = look_of[run.of]
        time, temperature = np.asarray(run.time_fs) / 1000, np.asarray(run.temperature)
        _series(above, time, temperature, style, name_with_seed(run, runs))
        _series(below, time, np.asarray(run.min_distance), style)
        highest = max(highest, np.max(temperature, initial=0.0, where=np.isfinite(temperature)))
        if not run.verdict.survived and len(time):
            below.plot(time[-1], run.min_distance[-1], "x", color=style.color, ms=9, mew=2.5)
    ceiling = TEMPERATURE_CEILING * target
    if highest > ceiling:
        above.set_ylim(0, ceiling)
        above.text(0.98, 0.95, f"peak {highest:.0f} K, off scale", transform=above.transAxes, ha="right", color=GREY)
    failed = [run for run in runs if not run.verdict.survived]
    result = f"{len(failed)} of {len(runs)} failed (×)" if failed else "all survived"
    above.set_title(f"{runs[0].name}: {result}")
    above.set_ylabel("temperature (K)")
    below.set_ylabel("shortest distance (Å)")
    below.set_xlabel("time (ps)")
