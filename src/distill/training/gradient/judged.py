"""Whether a fit has made a potential better, by the very loss on the validation structures that chooses its best step.

It is computed from predictions, so that potentials of any kind can be compared, wherever they run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.training.gradient.losses import LossWeights
from distill.training.gradient.sums import ValidationSums
from distill.training.worsened import REMEDY, worsened


def validation_loss(truth: Frames, predicted: Frames, weights: LossWeights) -> float:
    """Return the objective of ``predicted`` on labelled structures, what a fit's learning curve has as ``valid_loss``.

    Args:
        truth: labelled structures; what has no label does not count.
        predicted: the same structures with a potential's predictions; it is NaN where one of these is.
        weights: of the objective; the final ones count.
    """
    pairs: list[tuple[str, Array | None, Array | None, Array | float]] = [
        ("energy", truth.energy, predicted.energy, 1 / truth.n_atoms),
        ("forces", truth.forces, predicted.forces, 1.0),
    ]
    if truth.stress is not None and predicted.stress is not None and np.isfinite(predicted.stress).any():
        whole = np.isfinite(truth.stress).all(axis=(1, 2), keepdims=True)
        per_atom = (truth.volumes / truth.n_atoms)[:, None, None]
        pairs.append(("virial", np.where(whole, truth.stress, np.nan), predicted.stress, per_atom))
    sums = ValidationSums(weights)
    for name, label, guess, scale in pairs:
        if label is not None and guess is not None:
            error = ((guess - label) * scale)[np.isfinite(label)]
            sums.add({name: torch.from_numpy(error)}, {name: len(error)})
    return sums.objective()


@dataclass(frozen=True)
class Judgement:
    """What a fit did to a potential.

    Attributes:
        worse: whether it should be undone: the loss has not become lower, or is no number any more.
        before: the loss before it.
        after: and after it.
        warnings: what has to be said.
    """

    worse: bool
    before: float
    after: float
    warnings: tuple[str, ...] = ()


def judge_fit(truth: Frames, before: Frames, after: Frames, weights: LossWeights) -> Judgement:
    """Compare a potential before and after a fit, by its loss on labelled structures and by each quantity.

    Args:
        truth: structures that nothing was fitted to.
        before: what it predicted of them before the fit.
        after: and after it.
        weights: of the objective.
    """
    old, new = (validation_loss(truth, guess, weights) for guess in (before, after))
    worse = math.isfinite(old) and not new <= old
    clauses = worsened(truth, before, after)
    details = f" ({'; '.join(clauses)})" if clauses else ""
    if worse:
        said = (
            f"fine-tuning made the loss on the validation structures worse, {old:.3g} before and {new:.3g} "
            f"after{details}: the foundation model is kept as it was, with shifted reference energies; {REMEDY}"
        )
        return Judgement(worse, old, new, (said,))
    if clauses:
        said = f"fine-tuning lowered the loss on the validation structures but raised errors{details}; {REMEDY}"
        return Judgement(worse, old, new, (said,))
    return Judgement(worse, old, new)
