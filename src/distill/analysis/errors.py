"""Errors of predictions against references, with intervals that respect how the data hang together.

The atoms of one structure are not independent, so whole structures are resampled: each structure is first reduced to
a few sums, and a bootstrap resample is then a weighted sum of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.base.conventions import UNITS
from distill.base.random import stream
from distill.structures.frames import Frames

STATISTICS = ("mae", "rmse", "r2", "max")
"""Mean absolute error, root mean square error, coefficient of determination, largest absolute error."""

ALL = "all"
"""The name of the group that holds every structure."""

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
"""Rows and columns of the six independent components of a symmetric tensor: xx, yy, zz, yz, xz, xy."""


@dataclass(frozen=True)
class ErrorRow:
    """One number of the error table.

    Attributes:
        config_type: the family of structures, or ``"all"``.
        quantity: ``energy_per_atom``, ``forces`` (Cartesian components) or ``stress`` (six independent components).
        statistic: ``mae``, ``rmse``, ``r2`` or ``max``.
        value: the statistic; None where it is undefined (R² of a constant reference, a prediction that is not finite).
        low: lower end of the bootstrap interval; None for ``max``, for a single structure and where undefined.
        high: upper end of the interval; None where ``low`` is.
        unit: unit of the three numbers, ``"1"`` for R².
        n: structures that the number rests on; those without the label are left out.
    """

    config_type: str
    quantity: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    n: int


@dataclass(frozen=True)
class ErrorSums:
    """What the statistics need to know of each of ``B`` structures; every field is ``[B]``.

    Attributes:
        count: compared values.
        absolute: sum of absolute errors.
        square: sum of squared errors.
        largest: largest absolute error.
        reference: sum of the reference values, measured from their overall mean.
        reference_square: sum of the squares of the same.
    """

    count: Array
    absolute: Array
    square: Array
    largest: Array
    reference: Array
    reference_square: Array

    @classmethod
    def of(cls, reference: Array, predicted: Array, structure: Array, b: int) -> ErrorSums:
        """Reduce values ``[M]`` to sums per structure; ``structure`` ``[M]`` says which of ``b`` each belongs to."""
        error = np.abs(predicted - reference)
        # Variances are differences of squares: measured from the mean they lose no digits to the offset of energies.
        y = reference - reference.mean() if len(reference) else reference
        largest = np.zeros(b)
        with np.errstate(invalid="ignore"):  # a prediction may be NaN, and then so is its maximum
            np.maximum.at(largest, structure, error)

        def total(values: Array) -> Array:
            return np.bincount(structure, weights=values, minlength=b)

        return cls(total(np.ones(len(y))), total(error), total(error**2), largest, total(y), total(y**2))

    def statistics(self, weights: Array) -> dict[str, Array]:
        """Return MAE, RMSE and R² of ``R`` weighted sets of structures, ``[R]`` each; ``weights`` is ``[R, B]``.

        R² = 1 - Σ(ŷ - y)² / Σ(y - ȳ)², with ȳ the mean of the same set; NaN where the reference does not vary.
        """
        n = weights @ self.count
        square = weights @ self.square
        squares = weights @ self.reference_square
        variation = squares - (weights @ self.reference) ** 2 / n
        # Below the rounding error of the difference the reference is constant for all that can be known.
        varies = variation > 1e-12 * np.maximum(squares, np.finfo(float).tiny)
        r2 = np.where(varies, 1 - square / np.where(varies, variation, 1.0), np.nan)
        return {"mae": weights @ self.absolute / n, "rmse": np.sqrt(square / n), "r2": r2}


def error_table(
    reference: Frames,
    predicted: Frames,
    *,
    by: str = "config_type",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[ErrorRow]:
    """Compare two labellings of the same structures.

    Intervals are percentile bootstrap intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13)
    over structures, the atoms of one structure kept together. The resamples depend on the seed, the quantity and the
    group only: two models judged on the same structures are judged on the same resamples. The largest error gets no
    interval, because the bootstrap is not consistent for a maximum (Bickel & Freedman, Ann. Stat. 9, 1196 (1981)).

    Args:
        reference: the labels that count as true, for ``B`` structures.
        predicted: the labels to judge, for the same structures in the same order.
        by: the ``info`` key that groups structures into families.
        resamples: bootstrap resamples.
        seed: the recipe's seed.
        level: probability content of the intervals.

    Returns:
        Rows for ``"all"`` and then each family by name, for each quantity that both sets have. Energies are in
        eV/atom, forces in eV/Å, stress in eV/Å³.

    Raises:
        ValueError: the sets do not hold the same atoms.
    """
    if not np.array_equal(reference.n_atoms, predicted.n_atoms):
        raise ValueError("reference and prediction are not of the same structures")
    rows = []
    for group, members in groups(reference.labels(by)).items():
        for quantity, y, y_hat, structure in _values(reference[members], predicted[members]):
            kept, structure = np.unique(structure, return_inverse=True)
            if len(kept):
                sums = ErrorSums.of(y, y_hat, structure, len(kept))
                rng = stream(seed, "bootstrap", quantity, group)
                rows += _rows(group, quantity, sums, resample(len(kept), resamples, rng), level)
    return rows


def mean_absolute_errors(reference: Frames, predicted: Frames) -> dict[str, float]:
    """Return the mean absolute error of each quantity that both labellings have, without intervals.

    Names and units are those of :func:`error_table`; what has no label in ``reference`` does not count.
    """
    compared = {name: np.abs(y_hat - y) for name, y, y_hat, _ in _values(reference, predicted)}
    return {name: float(errors.mean()) for name, errors in compared.items() if len(errors)}


@dataclass(frozen=True)
class Difference:
    """How much larger one model's mean absolute force error is than another's, eV/Å, with its interval.

    Attributes:
        value: the first model's error minus the second's; of several seeds, the difference of the means over seeds.
        low: lower end of the interval, None for fewer than two structures.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None


def force_error_difference(
    reference: Frames,
    first: Sequence[Frames],
    second: Sequence[Frames],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Compare the mean absolute force errors of two models, each in one or several seeds, on the same ``B`` structures.

    The difference is that of the two means over seeds. Each bootstrap resample draws structures, the same for both
    models (paired, so that what makes a structure hard for both cancels), and for each model as many of its seeds as
    there are, with replacement: the interval says what other structures and other seeds would give. A difference is
    real where it leaves out zero. Drawing from ``s`` seeds makes their scatter too small by √((s - 1) / s) (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, sec. 5.3); with one seed it is not in the interval at all.

    Args:
        reference: the labels that count as true.
        first: predictions of the first model, one set a seed.
        second: likewise of the second.
        resamples: bootstrap resamples.
        seed: the recipe's seed.
        level: probability content of the interval.

    Raises:
        ValueError: a set has no forces, or a model no seeds.
    """
    components = _labelled_components(reference)
    labelled = components > 0
    if not labelled.any():
        raise ValueError("all sets need forces")
    errors = [
        np.array([_force_error_sums(reference, guess)[labelled] for guess in model]) for model in (first, second)
    ]  # [S, B]
    if not all(map(len, errors)):
        raise ValueError("both models need at least one seed")
    components = components[labelled]
    excess = errors[0].mean(axis=0) - errors[1].mean(axis=0)  # [B]
    sampled = None
    if len(components) > 1:
        weights = resample(len(components), resamples, stream(seed, "bootstrap", "forces", ALL))  # [R, B]
        drawn = []
        for name, error in zip(("first", "second"), errors, strict=True):
            seeds = resample(len(error), resamples, stream(seed, "bootstrap", "seeds", name)) / len(error)  # [R, S]
            drawn.append(np.einsum("rs,rs->r", seeds, weights @ error.T))
        sampled = (drawn[0] - drawn[1]) / (weights @ components)
    return Difference(float(excess.sum() / components.sum()), *interval(sampled, level))


def _force_error_sums(reference: Frames, predicted: Frames) -> Array:
    """Return the sum of the absolute errors of the force components of each structure, ``[B]`` eV/Å."""
    if reference.forces is None or predicted.forces is None:
        raise ValueError("all sets need forces")
    error = np.where(np.isfinite(reference.forces), np.abs(predicted.forces - reference.forces), 0.0).sum(axis=1)
    return np.bincount(reference.structure_of_atom, error, len(reference))


def _labelled_components(frames: Frames) -> Array:
    """Return how many force components of each structure have a label, ``[B]``."""
    if frames.forces is None:
        raise ValueError("all sets need forces")
    of_atom = np.isfinite(frames.forces).sum(axis=1)
    return np.bincount(frames.structure_of_atom, of_atom, len(frames))


def finite(frames: Frames) -> bool:
    """Whether all energies, forces and, of periodic structures, stresses that ``frames`` have are finite."""
    stress = None if frames.stress is None else frames.stress[frames.pbc.all(axis=1)]
    return all(values is None or bool(np.isfinite(values).all()) for values in (frames.energy, frames.forces, stress))


def groups(labels: list[str]) -> dict[str, Array]:
    """Return the indices of the structures of ``"all"`` and then of each family, by name."""
    names = np.array(labels, dtype=object)
    families = {name: np.flatnonzero(names == name) for name in sorted(set(labels))}
    return {ALL: np.arange(len(labels))} | {name: i for name, i in families.items() if name != ALL}


def resample(b: int, resamples: int, rng: np.random.Generator) -> Array:
    """Return how often each of ``b`` structures is drawn in each bootstrap resample, ``[resamples, b]``."""
    return rng.multinomial(b, np.full(b, 1 / b), size=resamples).astype(float)


def _values(reference: Frames, predicted: Frames) -> Iterator[tuple[str, Array, Array, Array]]:
    """Yield each common quantity: its name, reference and predicted values ``[M]``, and their structures ``[M]``.

    A reference that is NaN is no label, and is left out.
    """
    b = np.arange(len(reference))
    if reference.energy is not None and predicted.energy is not None:
        known = np.isfinite(reference.energy)
        yield "energy_per_atom", reference.energy_per_atom[known], predicted.energy_per_atom[known], b[known]
    if reference.forces is not None and predicted.forces is not None:
        known = np.isfinite(reference.forces)  # [N, 3]
        structure = np.broadcast_to(reference.structure_of_atom[:, None], known.shape)
        yield "forces", reference.forces[known], predicted.forces[known], structure[known]
    if reference.stress is not None and predicted.stress is not None:
        labelled = np.isfinite(reference.stress).all(axis=(1, 2))
        y, y_hat = (frames.stress[labelled][:, *VOIGT] for frames in (reference, predicted))  # type: ignore[index]
        yield "stress", y.ravel(), y_hat.ravel(), np.repeat(b[labelled], 6)


def _rows(group: str, quantity: str, sums: ErrorSums, weights: Array, level: float) -> list[ErrorRow]:
    n = len(sums.count)
    values = {name: array[0] for name, array in sums.statistics(np.ones((1, n))).items()}
    values["max"] = sums.largest.max()
    finite = np.isfinite(sums.absolute).all()
    sampled = sums.statistics(weights) if n > 1 and finite else {}
    rows = []
    for name in STATISTICS:
        value = float(values[name]) if np.isfinite(values[name]) else None
        low, high = interval(sampled.get(name), level) if value is not None else (None, None)
        rows.append(ErrorRow(group, quantity, name, value, low, high, "1" if name == "r2" else UNITS[quantity], n))
    return rows


def interval(sampled: Array | None, level: float) -> tuple[float | None, float | None]:
    """Return the central interval of the defined resamples, or Nones where there are none."""
    if sampled is None or not np.isfinite(sampled).any():
        return None, None
    low, high = np.nanquantile(sampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
