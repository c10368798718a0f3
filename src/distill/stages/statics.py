"""The static physics that a recipe asks for, done with one model: settings and files in, results out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.progress import Progress
from distill.stages.start import describe, start
from distill.stages.static_kinds import Dimers, Elastic, EnergyVolume, Gradients, Static

if TYPE_CHECKING:
    from distill.analysis.quantities import StaticResult
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames


@dataclass(frozen=True)
class Given:
    """What there is besides the settings: the model, the training structures, and where work is reported."""

    potential: Potential
    frames: Path
    progress: Progress


def static_result(run: Static, given: Given) -> StaticResult:
    """Return what one model says of one entry of the recipe."""
    return _DRIVERS[type(run)](run, given)


def _dimers(run: Dimers, given: Given) -> StaticResult:
    from distill.statics.dimers import dimers
    from distill.structures.read import read_frames

    elements = read_frames(given.frames)[0].elements
    return dimers(elements, given.potential, progress=given.progress, **run.model_dump(exclude={"kind"}))


def _gradients(run: Gradients, given: Given) -> StaticResult:
    from distill.statics.gradients import gradients

    frames, name = _looked_at(run, given.frames)
    return gradients(frames, given.potential, name=name, progress=given.progress)


def _looked_at(run: Gradients, path: Path) -> tuple[Frames, str]:
    """Return training structures, evenly over the file, with the one that is named, and what they are called."""
    import numpy as np

    from distill.structures.frames import Frames, concatenate
    from distill.structures.read import read_frames

    every = read_frames(path)[0]
    chosen = np.unique(np.linspace(0, len(every) - 1, run.frames).round().astype(int))
    name = f"{len(chosen)} training structure{'s' if len(chosen) > 1 else ''}"
    bare = Frames.from_atoms(every[chosen].to_atoms())
    if run.structure is None:
        return bare, name
    atoms = start(run.structure, path)
    return concatenate([bare, Frames.from_atoms([atoms])]), f"{name} and {describe(run.structure, atoms)}"


def _energy_volume(run: EnergyVolume, given: Given) -> StaticResult:
    from distill.statics.energy_volume import energy_volume

    atoms, crystal = start(run.structure, given.frames), run.structure.crystal
    return energy_volume(
        atoms,
        given.potential,
        name=describe(run.structure, atoms),
        strain=run.strain,
        points=run.points,
        cubic_cell_atoms=len(atoms) // math.prod(run.structure.repeat) if crystal and crystal.cubic else None,
        perfect=crystal is not None,
        lattice_constant_tolerance=run.lattice_constant_tolerance,
        bulk_modulus_tolerance=run.bulk_modulus_tolerance,
    )


def _elastic(run: Elastic, given: Given) -> StaticResult:
    from distill.statics.elastic import elastic

    atoms = start(run.structure, given.frames)
    return elastic(
        atoms,
        given.potential,
        name=describe(run.structure, atoms),
        strain=run.strain,
        tolerance=run.tolerance,
        progress=given.progress,
        **run.relax.model_dump(),
    )


_DRIVERS: dict[type[Static], Callable[[Any, Given], StaticResult]] = {
    Dimers: _dimers,
    Gradients: _gradients,
    EnergyVolume: _energy_volume,
    Elastic: _elastic,
}
