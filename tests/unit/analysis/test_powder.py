"""Powder patterns: the lines of silicon where Bragg puts them, with heights from tables."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.signal import find_peaks

from distill.analysis.powder import powder_pattern
from distill.base.errors import UserError
from distill.structures.frames import Frames

CUBIC = bulk("Si", a=5.4309, cubic=True)


def bragg(squares, wavelength: float):
    """2θ of lines h² + k² + l² of silicon, degrees."""
    return 2 * np.degrees(np.arcsin(wavelength * np.sqrt(squares) / (2 * 5.4309)))


def form_factor(s):
    """Of silicon, after D. T. Cromer, J. B. Mann, Acta Cryst. A24, 321 (1968)."""
    heights, widths = [6.2915, 3.0353, 1.9891, 1.5410], [2.4386, 32.3337, 0.6785, 81.6937]
    return 1.1407 + np.exp(-np.outer(s**2, widths)) @ heights


def test_the_lines_of_silicon():
    """111, 220 and 311 with the multiplicities 8, 12 and 24; 200 and 222 are extinct. Heights are those of other
    tables of form factors to 1 %, places to half a step."""
    found = powder_pattern(Frames.from_atoms([CUBIC]), radiation=1.5406, longest=60)
    peaks = find_peaks(found.values, height=0.5)[0]
    lines = bragg(np.array([3, 8, 11]), 1.5406)
    assert found.angle[peaks] == pytest.approx(lines, abs=0.011)
    theta = np.radians(lines / 2)
    geometry = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    known = np.array([8 * 32, 12 * 64, 24 * 32]) * form_factor(np.sin(theta) / 1.5406) ** 2 * geometry
    assert found.values[peaks] == pytest.approx(100 * known / known[0], abs=1)


def test_cells_and_copies_do_not_matter():
    patterns = [
        powder_pattern(Frames.from_atoms(atoms), step=0.05).values
        for atoms in ([CUBIC], [CUBIC * (2, 1, 1)], [bulk("Si", a=5.4309), CUBIC])
    ]
    assert patterns[0] == pytest.approx(patterns[1], abs=0.01) and patterns[0] == pytest.approx(patterns[2], abs=0.01)


def test_thermal_displacements_weaken_lines_at_large_angles():
    """As exp(-q² u²) for displacements of u in each direction; six snapshots leave some noise."""
    rng, width = np.random.default_rng(0), 0.1
    snapshots = []
    for _ in range(6):
        atoms = CUBIC * 2
        atoms.positions += rng.normal(0, width, atoms.positions.shape)
        snapshots.append(atoms)
    still, moving = (powder_pattern(Frames.from_atoms(f), longest=100, step=0.05) for f in ([CUBIC], snapshots))
    lines = [np.argmin(np.abs(still.angle - angle)) for angle in bragg(np.array([3, 24]), 1.54184)]
    lost = moving.values[lines] / still.values[lines]
    q = 4 * np.pi * np.sin(np.radians(still.angle[lines] / 2)) / 1.54184
    assert lost[1] / lost[0] == pytest.approx(np.exp(-(q[1] ** 2 - q[0] ** 2) * width**2), rel=0.15)


def test_what_has_no_pattern_is_refused():
    silicon = Frames.from_atoms([CUBIC])
    with pytest.raises(UserError, match="Did you mean 'CuKa'"):
        powder_pattern(silicon, radiation="CuKA")
    with pytest.raises(UserError, match="no powder pattern from 5 to 6"):
        powder_pattern(silicon, shortest=5, longest=6)
    with pytest.raises(UserError, match="no pattern from"):
        powder_pattern(silicon, shortest=50, longest=40)
    molecule = CUBIC.copy()
    molecule.pbc = False
    with pytest.raises(UserError, match="periodic in all directions"):
        powder_pattern(Frames.from_atoms([molecule]))
