"""Whether forces and stress of a model are the derivatives of its energy, which no dynamics conserves otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from distill.analysis.quantities import StaticResult
from distill.base.progress import Progress
from distill.base.random import stream
from distill.potentials.interface.derivatives import STEP, Slope, along_positions, along_strain
from distill.potentials.interface.ensemble import Ensemble
from distill.potentials.interface.gradient_free import GradientFree
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double
from distill.structures.frames import Frames

ALLOWED = 1e-4
"""Relative error in double precision, ten times what networks have."""
COARSE_STEP, COARSE = 0.01, 0.05
"""Step and relative error where the precision is that of another program: single precision and third derivatives."""


def gradients(
    frames: Frames,
    potential: Potential,
    *,
    name: str,
    coarse_step: float = COARSE_STEP,
    progress: Progress = Progress(),
) -> StaticResult:
    """Return how far forces and stress are from central differences of the energy, in one random direction each.

    Networks are computed in double precision; for what runs in another program steps and allowance are larger.

    Args:
        frames: structures; the stress of those that are periodic in three directions is looked at.
        potential: the model.
        name: what the structures are called.
        coarse_step: Å and strain, of what runs in another program.
        progress: counts structures.
    """
    step, allowed = (STEP, ALLOWED) if has_double(potential) else (coarse_step, COARSE)
    double, rng = in_double(potential), stream(0, "gradients")
    slopes: dict[str, list[Slope]] = {"forces": [], "stress": []}
    with progress.phase("derivatives", len(frames), "structure") as phase:
        for one in double.evaluate(frames):
            slopes["forces"].append(along_positions(double.evaluate, one, rng, step))
            if one.pbc.all() and potential.predicts_stress:
                slopes["stress"].append(along_strain(double.evaluate, one, rng, step))
            phase.advance(1)
    flaws = [text for what, found in slopes.items() if (text := _flaw(what, found, allowed))]
    arrays: dict[str, Any] = {what: [vars(one) for one in found] for what, found in slopes.items()}
    kinds = " and ".join(what for what, found in slopes.items() if found)
    sound = f"{kinds} are the derivatives of the energy ({name})"
    return StaticResult("gradients", name, 0, flaws=flaws, sound="" if flaws else sound, arrays=arrays)


def has_double(potential: Potential) -> bool:
    """Return whether all networks of a potential can be computed in double precision here."""
    if isinstance(potential, Ensemble):
        return all(map(has_double, potential.members.values()))
    return not isinstance(potential, GradientFree)


def _flaw(what: str, slopes: list[Slope], allowed: float) -> str:
    """Return what is wrong with the derivatives of one kind; nothing where all is well."""
    wrong = [one for one in slopes if not one.error <= allowed]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda one: np.nan_to_num(one.error, nan=np.inf))
    unit, say = {"forces": ("eV/Å", "forces say"), "stress": ("eV per strain", "stress says")}[what]
    verb = "are" if what == "forces" else "is"
    return (
        f"{what} {verb} not the derivative of the energy in {len(wrong)} of {len(slopes)} structures: "
        f"it changes by {worst.found:.5g} {unit}, the {say} {worst.said:.5g}"
    )
