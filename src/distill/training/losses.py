"""The training objective and the errors that a learning curve shows.

Energies enter per atom, and stresses as the virial per atom (stress times volume by number of atoms), an energy of the
same kind: structures of different sizes and densities weigh the same. Labels that a structure lacks do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.potentials.graph import Batch
from distill.potentials.potential import Prediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the objective.

    Attributes:
        energy: weight of the energy per atom (eV/atom).
        forces: weight of the force components (eV/Å).
        virial: weight of the components of the virial per atom (eV/atom).
        huber: residual at which the loss turns from quadratic to linear, in the unit of each term.
    """

    energy: float = 10.0
    forces: float = 10.0
    virial: float = 1.0
    huber: float = 0.05


def residuals(prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Return prediction minus label of each labelled quantity as flat tensors.

    ``energy`` and ``virial`` are per atom, in eV/atom; structures without a stress label (NaN) are left out.
    """
    found: dict[str, Tensor] = {}
    atoms = torch.bincount(batch.structure, minlength=batch.n_structures)
    if batch.energy is not None:
        found["energy"] = (prediction.energy - batch.energy) / atoms
    if batch.forces is not None:
        found["forces"] = (prediction.forces - batch.forces).flatten()
    if batch.stress is not None and prediction.stress is not None:
        volume_per_atom = (torch.linalg.det(batch.cells).abs() / atoms).view(-1, 1, 1)
        virial = (prediction.stress - batch.stress) * volume_per_atom
        found["virial"] = virial[torch.isfinite(batch.stress).all(dim=-1).all(dim=-1)].flatten()
    return found


def objective(errors: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Return the weighted sum of the mean Huber losses, each divided by the Huber threshold.

    The division makes the linear part the absolute error, so that weights keep their meaning when ``huber`` changes.
    """
    terms = []
    for name, error in errors.items():
        if error.numel():
            huber = torch.nn.functional.huber_loss(error, torch.zeros_like(error), delta=weights.huber)
            terms.append(getattr(weights, name) * huber.float() / weights.huber)
    return torch.stack(terms).sum()
