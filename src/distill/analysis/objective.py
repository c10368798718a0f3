"""What a search for hyperparameters makes small: errors of energies and of forces, each as one number.

The energy of a structure is an extensive sum, so that its error grows like the square root of the number of atoms where
the errors of atoms are independent: E / sqrt(N) makes small and large structures count alike, as XPOT has it
(doi:10.1063/5.0155618).
"""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames


def objective_errors(reference: Frames, predicted: Frames) -> dict[str, float | None]:
    """Return the two errors of predictions; what the reference does not say is left out.

    Returns:
        ``energy_rmse_eV_per_sqrt_atom``, the root mean square over structures of the error of E / sqrt(N), and
        ``forces_rmse_eV_per_A``, that over Cartesian components; None where nothing is compared or a prediction is not
        finite.
    """
    root = np.sqrt(reference.n_atoms)
    energies = [None if one is None else one / root for one in (reference.energy, predicted.energy)]
    return {
        "energy_rmse_eV_per_sqrt_atom": _rmse(*energies),
        "forces_rmse_eV_per_A": _rmse(reference.forces, predicted.forces),
    }


def _rmse(reference: Array | None, predicted: Array | None) -> float | None:
    """Return the root mean square difference where the reference is known."""
    if reference is None or predicted is None or not (known := np.isfinite(reference)).any():
        return None
    found = float(np.sqrt(np.mean((predicted[known] - reference[known]) ** 2)))
    return found if np.isfinite(found) else None
