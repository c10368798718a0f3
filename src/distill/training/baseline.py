"""Whether a fit is worth anything: its errors beside those of energies per element alone and of no forces at all."""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.potentials.networks.student import fit_reference_energies
from distill.structures.composition import element_counts
from distill.structures.frames import Frames
from distill.training.curve import FitResult


def no_better_than_nothing(result: FitResult, train: Frames, valid: Frames, counted: Array | None = None) -> list[str]:
    """Return a sentence for each kind of label that the fit predicts no better than a model without any network.

    That model has the least-squares energies per element of the training structures, and no forces. Errors are the mean
    absolute ones of the state that was kept.

    Args:
        result: how the fit went.
        train: what it learnt from.
        valid: what it was judged by.
        counted: which energies of ``valid`` count, ``[B]``; all of them if None.
    """
    best, said = result.best, []
    if best is None:
        return []
    if train.energy is not None and valid.energy is not None:
        spread = energy_spread(train, valid if counted is None else valid[np.flatnonzero(counted)])
        if best.valid_energy_mae > spread:
            what = f"energies of the validation structures are wrong by {1000 * best.valid_energy_mae:.1f} meV/atom"
            said.append(
                f"{what}, those of the elements alone by {1000 * spread:.1f}: fit longer or weigh energies more"
            )
    if valid.forces is not None:
        size = float(np.nanmean(np.abs(valid.forces)))
        if best.valid_forces_mae > size:
            what = f"forces of the validation structures are wrong by {1000 * best.valid_forces_mae:.0f} meV/Å"
            said.append(f"{what} and their own mean size is {1000 * size:.0f}: fit longer or weigh forces more")
    return said


def energy_spread(train: Frames, valid: Frames) -> float:
    """Return the mean absolute error of energies per element, fitted to ``train``, on ``valid``, eV/atom."""
    if train.energy is None or valid.energy is None:
        raise ValueError("these structures have no energies")
    energies, _ = fit_reference_energies(train)
    left = valid.energy - element_counts(valid) @ energies[list(valid.elements)]
    left = left[np.isfinite(valid.energy)] / valid.n_atoms[np.isfinite(valid.energy)]
    return float(np.abs(left).mean()) if len(left) else np.inf
