"""Compare labels with the predictions of a teacher that was fitted to other calculations: how alike, and in what ratio.

Only what two levels of theory agree about is compared: forces as they are, energies without reference energies,
stresses without a common pressure. Where predictions are too small to tell anything, nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.structures.composition import element_counts
from distill.structures.frames import Frames

LEAST_FORCE = 0.1
"""eV/Å, root mean square: structures with smaller predicted forces are near a minimum and tell nothing."""
LEAST_ENERGY = 0.002
"""eV/atom, standard deviation: where predicted energies differ by less, errors of the teacher are as large."""
LEAST_STRESS = 0.002
"""eV/Å³, root mean square: 0.3 GPa."""


@dataclass(frozen=True)
class Comparison:
    """Labels against predictions.

    Attributes:
        ratio: root mean square of the labels over that of the predictions, with the sign of their correlation.
        correlation: cosine between the two, about zero.
        values: how many values it rests on, at most.
        size: root mean square of the predictions, in their unit.
    """

    ratio: float
    correlation: float
    values: int
    size: float


def compare_forces(labels: Frames, predicted: Frames) -> Comparison | None:
    """Compare forces by medians over structures, whatever a single one says; None where they tell nothing."""
    assert labels.forces is not None and predicted.forces is not None  # noqa: S101 - the caller has both
    starts = labels.offsets[:-1]
    labelled = np.isfinite(labels.forces)
    x, y = (np.where(labelled, forces, 0.0) for forces in (predicted.forces, labels.forces))
    xx, yy, xy = (np.add.reduceat((a * b).sum(axis=1), starts) for a, b in ((x, x), (y, y), (x, y)))
    components = np.add.reduceat(labelled.sum(axis=1), starts)
    used = (xx > LEAST_FORCE**2 * components / 3) & (yy > 0)
    if not used.any():
        return None
    correlation = float(np.median(xy[used] / np.sqrt(xx[used] * yy[used])))
    ratio = float(np.exp(np.median(np.log(yy[used] / xx[used])) / 2))
    values = int(components[used].sum())
    return Comparison(
        float(np.copysign(ratio, correlation)), correlation, values, float(np.sqrt(xx[used].sum() / values))
    )


def compare_energies(labels: Frames, predicted: Frames) -> Comparison | None:
    """Compare energies per atom, after a least-squares energy for each element is taken out of both."""
    assert labels.energy is not None and predicted.energy is not None  # noqa: S101 - the caller has both
    known = np.flatnonzero(np.isfinite(labels.energy))
    if not len(known):
        return None
    labels, predicted = labels[known], predicted[known]
    fractions = element_counts(labels) / labels.n_atoms[:, None]
    left, singular, _ = np.linalg.svd(fractions, full_matrices=False)
    basis = left[:, singular > 1e-8 * singular.max()]
    y, x = (e - basis @ (basis.T @ e) for e in (labels.energy_per_atom, predicted.energy_per_atom))
    values = len(labels) - basis.shape[1]
    if values < 2 or (x**2).sum() < LEAST_ENERGY**2 * values or not (y**2).sum() > 0:
        return None
    return _comparison(x, y, values)


def compare_stresses(labels: Array, predicted: Array) -> Comparison | None:
    """Compare stresses ``[B, 3, 3]``: shear, and differences of pressure between structures.

    A common pressure is left out: functionals differ in it, so that in a liquid at ambient pressure even its sign may.
    """
    pairs = []
    for tensor in (predicted, labels):
        pressure = np.trace(tensor, axis1=1, axis2=2) / 3
        shear = tensor - pressure[:, None, None] * np.eye(3)
        pairs.append(np.concatenate([shear.ravel(), np.sqrt(3) * (pressure - pressure.mean())]))
    x, y = pairs
    if (x**2).sum() < LEAST_STRESS**2 * 9 * len(labels) or not (y**2).sum() > 0:
        return None
    return _comparison(x, y, 6 * len(labels) - 1)


def _comparison(x: Array, y: Array, values: int) -> Comparison:
    correlation = float(x @ y / np.sqrt((x @ x) * (y @ y)))
    ratio = float(np.copysign(np.sqrt((y @ y) / (x @ x)), correlation))
    return Comparison(ratio, correlation, values, float(np.sqrt((x @ x) / values)))
