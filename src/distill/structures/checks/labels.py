"""Checks of labels by themselves: outliers, magnitudes, forces that do not add up, missing stresses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding, Severity
from distill.structures.checks.geometry import VACUUM, largest_gaps
from distill.structures.checks.placeholders import zero_atoms
from distill.structures.composition import by_formula
from distill.structures.frames import Frames
from distill.structures.levels import mixed_levels
from distill.structures.symmetry import forces_allowed

OUTLIER = 8.0
"""Robust standard deviations (1.4826 times the median absolute deviation) beyond which a label is an outlier; sets of
fewer than :data:`FEW` structures are not judged."""
FEW = 8
OUTLIER_ENERGY = 0.1
"""The least deviation, in eV/atom, that makes an energy an outlier."""
OUTLIER_FORCE = 3.0
"""The least ratio to the median that makes the largest force of a structure an outlier."""
LARGE_FORCE = 30.0
"""eV/Å; liquids and compressed crystals stay below about 15."""
LARGE_STRESS = 1.0
"""eV/Å³, which is 160 GPa; an ordinary stress in GPa or kbar is larger."""
NET_FORCE = 0.01
"""eV/Å times the square root of the number of atoms: what independent errors of 10 meV/Å on each atom add up to."""
SMALL_ENERGY = 0.6
"""eV/atom. Total energies are larger: even of codes that count from neutral atoms, for all matter but the noble gases,
zinc, cadmium and mercury."""
_WEAKLY_BOUND = (2, 10, 18, 30, 36, 48, 54, 80, 86)


def check_energies(data: FileFrames) -> Iterator[Finding]:
    """Outliers among structures of one composition; energies that are per atom, too small, or positive.

    Energies that are more than 1 eV/atom from the others are left to the check for mixed levels of theory.
    """
    if data.frames.energy is None:
        return
    data = data.without(np.isnan(data.frames.energy))
    frames = data.frames
    if frames.energy is None or not len(frames):
        return
    apart = np.isin(np.arange(len(frames)), mixed_levels(frames, frames.energy_per_atom))
    found: list[int] = []
    largest = 0.0
    for members in by_formula(frames):
        others = members[~apart[members]]
        deviation = frames.energy_per_atom[others] - np.median(frames.energy_per_atom[others])
        limit = max(OUTLIER * _robust_deviation(deviation), OUTLIER_ENERGY)
        if len(others) >= FEW and np.abs(deviation).max() > limit:
            found += others[np.abs(deviation) > limit].tolist()
            largest = max(largest, float(deviation.min()), float(deviation.max()), key=abs)
        sizes, energies = frames.n_atoms[members], frames.energy[members]
        if sizes.max() >= 1.5 * sizes.min() and np.ptp(energies) < 0.1 * np.abs(energies).mean():
            what = "energies do not grow with the number of atoms: are they per atom?"
            yield data.finding("warning", "energy-per-atom", what, "Give total energies in eV", members)
            return
    if found:
        what = f"energy per atom is far from others of this composition, by up to {largest:+.3g} eV/atom"
        remedy = "Check that these calculations converged and are of the same level of theory"
        yield data.finding("warning", "energy-outlier", what, remedy, found)
    yield from _magnitude(data)


def _magnitude(data: FileFrames) -> Iterator[Finding]:
    """Energies of no code's total energies in eV: bound matter has negative ones, of some eV per atom at least."""
    typical = float(np.median(data.frames.energy_per_atom))
    if typical > 0:
        what = f"energies are positive ({typical:+.3g} eV/atom in the middle)"
        remedy = "Check the sign; harmless where energies count from other references than free atoms or nuclei"
        yield data.finding("warning", "energy-magnitude", what, remedy)
    elif abs(typical) < SMALL_ENERGY and not set(data.frames.elements) & set(_WEAKLY_BOUND):
        what = f"energies are small ({typical:+.3g} eV/atom in the middle)"
        remedy = "Check that they are total energies, not per atom, in eV (1 Hartree is 27.2114 eV, 1 Ry 13.6057 eV)"
        yield data.finding("warning", "energy-magnitude", what, remedy)


def check_forces(data: FileFrames) -> Iterator[Finding]:
    """Forces that are zero, huge, outliers, or do not add up to zero."""
    frames = data.frames
    if frames.forces is None:
        return
    starts = frames.offsets[:-1]
    largest = np.maximum.reduceat(np.linalg.norm(np.nan_to_num(frames.forces), axis=1), starts)
    if not largest.any() and np.isfinite(frames.forces).any():
        severity: Severity = "error" if forces_allowed(frames).any() else "warning"
        yield data.finding(severity, "zero-forces", "every force is exactly zero", "Check that forces were calculated")
    if (largest > LARGE_FORCE).any():
        what = f"forces are as large as {largest.max():.3g} eV/Å"
        remedy = "Check the unit (Hartree/Bohr is 51.4 eV/Å) and whether these calculations converged"
        yield data.finding("warning", "large-force", what, remedy, largest > LARGE_FORCE)
    outliers = _force_outliers(frames, largest) & (largest <= LARGE_FORCE)
    if outliers.any():
        what = f"forces are far larger than in similar structures, up to {largest[outliers].max():.3g} eV/Å"
        remedy = "Check that these calculations converged and that no atom is misplaced"
        yield data.finding("warning", "force-outlier", what, remedy, outliers)
    held = np.bincount(frames.structure_of_atom, zero_atoms(frames), len(frames)) > 0  # zeros explain their sum
    net = np.linalg.norm(np.add.reduceat(frames.forces, starts), axis=1)  # NaN where a label is missing
    unbalanced = (net > NET_FORCE * np.sqrt(frames.n_atoms)) & ~held
    if unbalanced.any():
        what = f"forces add up to as much as {net[unbalanced].max():.3g} eV/Å, which no potential can fit"
        remedy = "Remove the mean force of each structure, or converge the calculation (grid, charges) further"
        yield data.finding("warning", "net-force", what, remedy, unbalanced)


def _force_outliers(frames: Frames, largest: Array) -> Array:
    """Return which structures ``[B]`` have a largest force far above that of others of their formula and family.

    Logarithms are compared: forces of different temperatures differ by factors, and a set that mixes them has a large
    spread, so that nothing in it is an outlier.
    """
    families = np.array(frames.labels("config_type"))
    found = np.zeros(len(frames), dtype=np.bool_)
    for members in by_formula(frames):
        for family in np.unique(families[members]):
            alike = members[(families[members] == family) & (largest[members] > 0)]
            if len(alike) < FEW:
                continue
            excess = np.log(largest[alike]) - np.median(np.log(largest[alike]))
            found[alike] = excess > max(OUTLIER * _robust_deviation(excess), np.log(OUTLIER_FORCE))
    return found


def _robust_deviation(deviation: Array) -> float:
    """Return what the standard deviation would be without outliers, of deviations from the median."""
    return 1.4826 * float(np.median(np.abs(deviation)))


def check_stresses(data: FileFrames) -> Iterator[Finding]:
    """Stresses that some structures lack, that are zero or in another unit."""
    frames = data.frames
    if frames.stress is None:
        return
    yield from _unused_stresses(data)
    missing = np.isnan(frames.stress).any(axis=(1, 2)) & frames.pbc.all(axis=1)
    if missing.any():
        what = f"{missing.sum()} of {len(frames)} structures have no stress"
        remedy = "They are used without it; label them to use it"
        yield data.finding("warning", "missing-stress", what, remedy, missing)
    largest = np.nan_to_num(np.abs(frames.stress)).max(axis=(1, 2))
    if not largest.any() and np.isfinite(frames.stress).any():
        yield data.finding(
            "warning", "zero-stress", "every stress is exactly zero", "Check that the stress was calculated"
        )
    if (largest > LARGE_STRESS).any():
        what = f"stresses are as large as {largest.max():.3g} eV/Å³, that is {160.2 * largest.max():.0f} GPa"
        remedy = "Check the unit: 1 GPa is 0.00624 eV/Å³, 1 kbar 0.000624 eV/Å³"
        yield data.finding("warning", "large-stress", what, remedy, largest > LARGE_STRESS)


def _unused_stresses(data: FileFrames) -> Iterator[Finding]:
    """Stresses of what does not repeat in three directions, or repeats with vacuum between."""
    frames = data.frames
    given = np.isfinite(np.asarray(frames.stress)).all(axis=(1, 2))
    open_ = given & ~frames.pbc.all(axis=1)
    if open_.any():
        what = "the stress is not used: a molecule or a slab that does not repeat in three directions has none"
        yield data.finding("info", "unused-stress", what, "", open_)
    gaps = np.where(given & ~open_, largest_gaps(frames), 0.0)
    if (gaps > VACUUM).any():
        what = f"the stress of structures with up to {gaps.max():.1f} Å of vacuum is unreliable"
        remedy = "Write config_stress_weight=0 in their comment lines to leave it out, unless it is converged"
        yield data.finding("warning", "unused-stress", what, remedy, gaps > VACUUM)
