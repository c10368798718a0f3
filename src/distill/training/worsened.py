"""What a fit made worse: errors on the validation structures that are larger after it than before."""

from __future__ import annotations

import numpy as np

from distill.structures.frames import Frames

LARGER = 1.05
"""How many times larger an error has to be to count; less comes of a trade of energies for forces."""


def worsened(truth: Frames, before: Frames, after: Frames) -> list[str]:
    """Return a sentence for each of energy and forces whose mean absolute error has grown, or none.

    Args:
        truth: labelled structures that nothing was fitted to.
        before: what the potential predicted of them before the fit.
        after: and after it.
    """
    errors = [dict(zip(("energies", "forces"), _errors(truth, guess), strict=True)) for guess in (before, after)]
    units = {"energies": "meV/atom", "forces": "meV/Å"}
    return [
        f"fine-tuning made the {name} of the validation structures worse: {1000 * old:.3g} {units[name]} before, "
        f"{1000 * new:.3g} after; lower the learning rate, bring more structures, or set teacher.finetune: null"
        for name, old in errors[0].items()
        if not (new := errors[1][name]) <= LARGER * old and np.isfinite(old)
    ]


def _errors(truth: Frames, guess: Frames) -> tuple[float, float]:
    """Return the mean absolute errors of the energies per atom, eV, and of the forces, eV/Å; 0 without labels."""
    energies = np.abs(truth.energy_per_atom - guess.energy_per_atom) if truth.energy is not None else np.zeros(1)
    forces = np.abs(np.asarray(truth.forces) - np.asarray(guess.forces)) if truth.forces is not None else np.zeros(1)
    known = truth.energy is None or np.isfinite(np.asarray(truth.energy))
    labelled = truth.forces is None or np.isfinite(np.asarray(truth.forces))
    return _mean(energies, known), _mean(forces, labelled)


def _mean(errors: np.ndarray, known: np.ndarray | bool) -> float:
    counted = errors[np.broadcast_to(known, errors.shape)]
    return float(counted.mean()) if len(counted) else 0.0
