"""The memory of velocities and its spectrum: vibrations as an infrared spectrometer spaces them, and diffusion.

Velocities are those of samples that are close in time: a spectrum ends at half of the rate of samples, 1668 1/cm for
10 fs, and faster vibrations fold back into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units

from distill.base.arrays import Array
from distill.base.errors import UserError

SPEED_OF_LIGHT = 2.99792458e-5
"""cm/fs."""
FEWEST = 20
"""Samples of a run at least."""


@dataclass(frozen=True)
class VelocityCorrelation:
    """The autocorrelation of velocities, the mean over atoms and all origins of time.

    Attributes:
        time_ps: ``[L]`` ps, from 0.
        values: <v(0) v(t)> of all ``d`` components together, ``[L]`` Å²/ps².
        diffusion: its integral from 0 to each time over d, ``[L]`` Å²/ps: the diffusion coefficient, as far as it
            converges (M. S. Green, J. Chem. Phys. 22, 398 (1954); R. Kubo, J. Phys. Soc. Jpn. 12, 570 (1957)).
    """

    time_ps: Array
    values: Array
    diffusion: Array


@dataclass(frozen=True)
class VibrationalSpectrum:
    """How the kinetic energy is spread over frequencies.

    Attributes:
        wavenumber: ``[W]`` 1/cm, from 0 in equal steps.
        values: share of the kinetic energy for each 1/cm, ``[W]`` cm: sum times step is 1. For harmonic motion it is
            the density of vibrational states.
        temperature: of the velocities by equipartition, k T for each of the ``N d`` components, K.
    """

    wavenumber: Array
    values: Array
    temperature: float


def velocity_correlation(velocities: Array, step_fs: float, longest_ps: float | None = None) -> VelocityCorrelation:
    """Return the autocorrelation of velocities up to a longest time, a quarter of the run if None.

    Args:
        velocities: ``[T, N, d]`` in ASE's unit, sqrt(eV/u), without the motion of the whole.
        step_fs: time between two samples, fs.
        longest_ps: ps.

    Raises:
        UserError: fewer than 20 samples, numbers that are not finite, or a longest time beyond the run.
    """
    speeds = _checked(velocities, step_fs) * (1000 * units.fs)  # Å/ps
    samples, _, d = speeds.shape
    last = samples // 4 if longest_ps is None else round(longest_ps * 1000 / step_fs)
    if not 1 <= last < samples:
        raise UserError(f"no correlation over {longest_ps} ps in a run of {samples * step_fs / 1000:g} ps")
    spectrum = np.zeros(samples + 1)  # padded with as many zeros, so that the end does not meet the beginning
    for atom in range(speeds.shape[1]):
        spectrum += (np.abs(np.fft.rfft(speeds[:, atom], 2 * samples, axis=0)) ** 2).sum(axis=1)
    sums = np.fft.irfft(spectrum)[: last + 1]
    values = sums / ((samples - np.arange(last + 1)) * speeds.shape[1])
    step_ps = step_fs / 1000
    steps = (values[1:] + values[:-1]) / 2 * step_ps
    return VelocityCorrelation(np.arange(last + 1) * step_ps, values, np.append(0, steps.cumsum()) / d)


def vibrational_spectrum(
    velocities: Array, step_fs: float, masses: Array, resolution: float = 10.0
) -> VibrationalSpectrum:
    """Return the spectrum of the mass-weighted velocities, by P. D. Welch, IEEE Trans. Audio 15, 70 (1967).

    The run is cut into pieces that overlap by half, each under a Hann window, and as long as the resolution asks for:
    a line is about 1.4 times as wide at half of its height as the resolution.

    Args:
        velocities: ``[T, N, d]`` in ASE's unit, sqrt(eV/u), without the motion of the whole.
        step_fs: time between two samples, fs.
        masses: ``[N]`` u.
        resolution: step of the spectrum, 1/cm: 3.3 ps are needed for 10.

    Raises:
        UserError: as :func:`velocity_correlation`, or a run that is too short for the resolution.
    """
    speeds = _checked(velocities, step_fs)
    samples, atoms, d = speeds.shape
    length = round(1 / (SPEED_OF_LIGHT * resolution * step_fs)) if resolution > 0 else 0
    if not FEWEST <= length <= samples:
        best = 1 / (SPEED_OF_LIGHT * step_fs * samples)
        raise UserError(
            f"{samples} samples every {step_fs:g} fs have no spectrum in steps of {resolution:g} 1/cm",
            remedy=f"Give a resolution from {best:.3g} to {best * samples / FEWEST:.3g}, or run longer",
        )
    window = np.hanning(length + 1)[:-1]
    begins = np.arange(0, samples - length + 1, max(1, length // 2))
    power = np.zeros(length // 2 + 1)
    for atom, mass in enumerate(masses):
        for begin in begins:
            piece = speeds[begin : begin + length, atom] * window[:, None]
            power += mass * (np.abs(np.fft.rfft(piece, axis=0)) ** 2).sum(axis=1)
    power[1 : (length + 1) // 2] *= 2  # frequencies below 0
    step = 1 / (SPEED_OF_LIGHT * length * step_fs)
    twice = float(np.einsum("tnk,n->", speeds**2, masses)) / samples  # twice the kinetic energy
    if not power.sum() > 0:
        raise UserError("nothing moves, and there is no spectrum")
    return VibrationalSpectrum(
        np.arange(len(power)) * step, power / (power.sum() * step), twice / (atoms * d * units.kB)
    )


def _checked(velocities: Array, step_fs: float) -> Array:
    """Return velocities as numbers, refused where there is no correlation."""
    speeds = np.asarray(velocities, dtype=float)
    if speeds.ndim != 3 or len(speeds) < FEWEST:
        raise UserError(f"correlations need {FEWEST} samples of velocities [T, N, d], and have {speeds.shape}")
    if not np.isfinite(speeds).all() or not step_fs > 0:
        raise UserError("velocities must be finite and the time between samples positive")
    return speeds
