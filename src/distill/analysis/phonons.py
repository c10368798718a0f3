"""Frequencies of phonons: their density, how far two models are apart, and which are imaginary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.base.arrays import Array

IMAGINARY = 0.1
"""THz; what is less imaginary than that is rounding of a frequency that is zero."""


def density_of_states(
    frequencies: Array, weights: Array, width: float = 0.1, step: float = 0.05
) -> tuple[Array, Array]:
    """Return a grid of frequencies and the density on it, 1/THz, with as large an integral as there are bands.

    Args:
        frequencies: ``[Q, bands]`` THz, those that are imaginary negative.
        weights: ``[Q]``, of the wave vectors.
        width: standard deviation of the Gaussians, THz.
        step: of the grid, THz.
    """
    grid = np.arange(frequencies.min() - 5 * width, frequencies.max() + 5 * width + step, step)
    shares = np.repeat(weights / weights.sum(), frequencies.shape[1])
    bins = np.concatenate([grid - step / 2, grid[-1:] + step / 2])
    counted = np.histogram(frequencies.ravel(), bins, weights=shares)[0] / step
    reach = np.arange(-round(5 * width / step), round(5 * width / step) + 1) * step
    gaussian = np.exp(-(reach**2) / (2 * width**2))
    return grid, np.convolve(counted, gaussian / gaussian.sum(), mode="same")


def imaginary_modes(name: str, wave_vectors: Array, frequencies: Array) -> str:
    """Return what is wrong with a crystal whose displacements lower the energy; nothing where none does.

    Args:
        name: of the crystal.
        wave_vectors: ``[Q, 3]``, in units of the reciprocal lattice of the primitive cell.
        frequencies: ``[Q, bands]`` THz, those that are imaginary negative.
    """
    many = int(np.sum(frequencies < -IMAGINARY))
    if not many:
        return ""
    where = int(np.argmin(frequencies.min(axis=1)))
    at = ", ".join(f"{one:g}" for one in wave_vectors[where].round(4))
    worst = f"the worst of {-frequencies[where].min():.2f}i THz at ({at})"
    return f"{name} is dynamically unstable: {many} of {frequencies.size} frequencies are imaginary, {worst}"


def frequency_difference(arrays: Mapping[str, Any], reference: Mapping[str, Any]) -> float | None:
    """Return the root mean square difference of two models' frequencies at the same wave vectors, THz.

    None where the wave vectors are others. The arguments are arrays of the results of :mod:`distill.statics.phonons`.
    """
    a, b = (np.array(one["wave_vectors"]) for one in (arrays, reference))
    if a.shape != b.shape or not np.allclose(a, b, atol=1e-4):
        return None
    difference = np.sort(arrays["frequencies"], axis=1) - np.sort(reference["frequencies"], axis=1)
    return float(np.sqrt(np.mean(difference**2)))


def frequency_scale(arrays: Mapping[str, Any]) -> float:
    """Return the root mean square of a model's frequencies, THz: what a share of their difference is of."""
    return float(np.sqrt(np.mean(np.square(arrays["frequencies"]))))


def density_difference(arrays: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """Return the share of the modes that lie elsewhere: half the integral of the difference of two densities of states.

    It is 0 for equal and 1 for separate spectra. The arguments are those of :func:`frequency_difference`.
    """
    first, second = (one["density_of_states"] for one in (arrays, reference))
    grid = np.union1d(first["frequencies"], second["frequencies"])
    a, b = (np.interp(grid, one["frequencies"], one["values"], left=0, right=0) for one in (first, second))
    return float(np.trapezoid(np.abs(a - b), grid) / (np.trapezoid(a, grid) + np.trapezoid(b, grid)))
