"""The training objective and the errors that a learning curve shows.

Energies enter per atom, and stresses as the virial per atom (stress times volume by number of atoms), an energy of the
same kind: structures of different sizes and densities weigh the same. Labels that a structure lacks do not count.

A batch may be divided into micro-batches, or among several processes: each of them divides its sums by the counts of
the whole batch, so that they add up to the objective of the batch. (For RMSE each of them has a root of its own.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from distill.potentials.interface.batch import Batch, Prediction

TERMS = ("energy", "forces", "virial", "atomic_energy", "hessian")

Kind = Literal["huber", "mae", "rmse"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the objective, and how a residual counts.

    Attributes:
        energy: weight of the energy per atom (eV/atom).
        forces: weight of the force components (eV/Å).
        virial: weight of the components of the virial per atom (eV/atom).
        atomic_energy: weight of the energies of single atoms (eV), where the teacher gave them.
        hessian: weight of the Hessian times a vector (eV/Å²), where the teacher gave it.
        kind: ``"huber"``, ``"mae"`` (mean absolute error) or ``"rmse"`` (root mean square error).
        huber: residual at which Huber's loss turns from quadratic to linear, in the unit of each term.
        later: weights, by term, from the share ``turn`` of all steps on; empty: the same throughout.
        turn: see ``later``.
        balance: whether every term is divided by its running mean, so that weights say how much of the gradient it is.
    """

    energy: float = 10.0
    forces: float = 10.0
    virial: float = 1.0
    atomic_energy: float = 0.0
    hessian: float = 0.0
    kind: Kind = "huber"
    huber: float = 0.05
    later: Mapping[str, float] = field(default_factory=dict)
    turn: float = 0.75
    balance: bool = False

    def at(self, done: float) -> dict[str, float]:
        """Return the weights of the terms when the share ``done`` of all steps is taken."""
        own = {name: float(getattr(self, name)) for name in TERMS}
        return own | dict(self.later) if done >= self.turn else own

    @property
    def final(self) -> dict[str, float]:
        """The weights at the end, by which validation judges all along."""
        return self.at(1.0)

    def wants(self, name: str) -> bool:
        """Return whether a term ever counts."""
        return any(weights[name] > 0 for weights in (self.at(0.0), self.final))


def residuals(prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Return prediction minus label of each labelled quantity; zero, without a gradient, where a label is NaN.

    ``energy`` ``[B]`` and ``virial`` ``[B, 3, 3]`` are per atom, in eV/atom; ``forces`` is ``[N, 3]`` eV/Å.
    """
    found: dict[str, Tensor] = {}
    atoms = batch.atoms_per_structure()
    if batch.energy is not None:
        found["energy"] = _difference(prediction.energy, batch.energy, batch.energy.isfinite()) / atoms
    if batch.forces is not None:
        found["forces"] = _difference(prediction.forces, batch.forces, batch.forces.isfinite())
    if batch.stress is not None and prediction.stress is not None:
        volume_per_atom = (torch.linalg.det(batch.cells).abs() / atoms).to(batch.dtype).view(-1, 1, 1)
        labelled = torch.isfinite(batch.stress).all(dim=-1).all(dim=-1).view(-1, 1, 1)
        found["virial"] = _difference(prediction.stress, batch.stress, labelled) * volume_per_atom
    return found


def _difference(predicted: Tensor, label: Tensor, labelled: Tensor) -> Tensor:
    """Return what is predicted minus its label, and zero where there is none: what stands there is not looked at."""
    return torch.where(labelled, predicted, 0.0) - torch.where(labelled, label, 0.0)


def penalties(error: Tensor, weights: LossWeights, of_each: Tensor | None = None) -> Tensor:
    """Return the sum over the residuals of what each counts, times ``of_each`` where labels count differently.

    Huber's loss is divided by its threshold, so that its linear part is the absolute error and weights keep their
    meaning when ``huber`` changes.
    """
    if weights.kind == "huber":
        zero = torch.zeros_like(error)
        loss = torch.nn.functional.huber_loss(error, zero, delta=weights.huber, reduction="none")
    else:
        loss = error.abs() if weights.kind == "mae" else error.square()
    total = (loss if of_each is None else loss * of_each).sum().float()
    return total / weights.huber if weights.kind == "huber" else total


def weights_of_labels(batch: Batch) -> dict[str, Tensor]:
    """Return how much the labels of each quantity count where they count differently, to multiply residuals with."""
    if "energy_weight" not in batch.extra:
        return {}
    of_structure, of_atom = batch.extra["energy_weight"], batch.extra["forces_weight"]
    return {"energy": of_structure, "virial": of_structure.view(-1, 1, 1), "forces": of_atom.unsqueeze(1)}


def mean_penalty(total: Tensor, count: int, weights: LossWeights) -> Tensor:
    """Return the value of a term from the sum of its penalties."""
    mean = total / count
    return (mean + 1e-24).sqrt() if weights.kind == "rmse" else mean


def micro_batch_terms(
    errors: Mapping[str, Tensor],
    weights: LossWeights,
    part: Mapping[str, int],
    whole: Mapping[str, int],
    of_each: Mapping[str, Tensor] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """Return what a part of a batch contributes to each term of its objective.

    Args:
        errors: residuals of the part.
        weights: how residuals count.
        part: how many labelled numbers of each quantity the part has.
        whole: how many the batch has.
        of_each: how much each label of a quantity counts, see :func:`weights_of_labels`.
    """
    return {
        name: mean_penalty(penalties(error, weights, of_each.get(name)), part[name], weights)
        * (part[name] / whole[name])
        for name, error in errors.items()
        if part[name]
    }


def combine(terms: Mapping[str, Tensor], weights: Mapping[str, float], *, balance: bool = False) -> Tensor:
    """Return the objective from its terms: the weighted sum, or where terms are balanced their weighted geometric mean.

    The gradient of the logarithm of the latter is that of the sum of terms divided by their values.
    """
    chosen = [(weights[name], term) for name, term in terms.items() if weights[name] > 0]
    if not chosen:
        raise ValueError("no labelled quantity has a weight above zero")
    if not balance:
        return torch.stack([weight * term for weight, term in chosen]).sum()
    logarithms = torch.stack([weight * (term + 1e-12).log() for weight, term in chosen]).sum()
    return (logarithms / sum(weight for weight, _ in chosen)).exp()
