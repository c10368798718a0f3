"""Preflight: what a careful colleague would notice in a set of labelled structures before training on it.

Each check returns findings with the frames concerned (counted from 0, as in the file) and a remedy. Errors must stop a
run; warnings are often right and sometimes meant; thresholds are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from vesin import NeighborList

from distill.structures.duplicates import NEAR, SAME, close_pairs
from distill.structures.frames import Array, Frames, concatenate
from distill.structures.read import LabelSource

OUTLIER = 8.0
"""Robust standard deviations (1.4826 times the median absolute deviation) beyond which an energy is an outlier ..."""
OUTLIER_FLOOR = 0.1
"""... and the least deviation, in eV/atom, that is called one; sets of fewer than 8 structures are not judged."""
LARGE_FORCE = 30.0
"""eV/Å; liquids and compressed crystals stay below about 15."""
LARGE_STRESS = 1.0
"""eV/Å³, which is 160 GPa; an ordinary stress in GPa or kbar is larger."""
NET_FORCE = 0.01
"""eV/Å times the square root of the number of atoms: what independent errors of 10 meV/Å on each atom add up to."""
CLOSE = 0.6
"""Share of the sum of covalent radii below which two atoms are suspiciously close."""
COINCIDENT = 0.2
"""Å; no two nuclei are as close as this."""
VACUUM = 8.0
"""Å of empty space along a periodic direction, more than the cut-off of most potentials."""

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Attributes:
        severity: ``"error"`` stops a run, ``"warning"`` is shown, ``"info"`` is for the record.
        what: what was found, one clause.
        where: the file or set.
        remedy: what to do about it.
        frames: the frames concerned, counted from 0.
    """

    severity: Severity
    what: str
    where: str
    remedy: str = ""
    frames: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """The file and its first frames, for instance ``train.xyz, frames 3, 7 (counted from 0)``."""
        return f"{self.where}, {_frames_text(self.frames)}" if self.frames else self.where

    def text(self) -> str:
        """Return the finding as one line."""
        remedy = f". {self.remedy.rstrip('.')}." if self.remedy else ""
        return f"{self.severity}: {self.place}: {self.what}{remedy}"


def check_frames(frames: Frames, name: str) -> list[Finding]:
    """Check one set of structures by itself; ``name`` is its file. Labels that are absent are not judged."""
    if not len(frames):
        return [Finding("error", "holds no structures", name, "Give at least one labelled structure")]
    checks: tuple[Callable[[Frames, str], Iterable[Finding]], ...] = (
        _distances,
        _duplicates,
        _energies,
        _forces,
        _stresses,
        _cells,
    )
    return by_severity(finding for check in checks for finding in check(frames, name))


def check_elements(frames: Frames, name: str, allowed: Collection[int] | None, owner: str) -> list[Finding]:
    """Find structures with elements that ``owner`` (for instance ``"the teacher chgnet-0.3"``) does not know.

    ``allowed`` are atomic numbers; None allows all.
    """
    if allowed is None:
        return []
    unknown = [z for z in frames.elements if z not in allowed]
    found = np.unique(frames.structure_of_atom[np.isin(frames.numbers, unknown)])
    if not unknown:
        return []
    symbols = ", ".join(chemical_symbols[z] for z in unknown)
    remedy = "Choose a teacher that knows every element (see: distill models), or remove these structures"
    return [Finding("error", f"{symbols} is not known to {owner}", name, remedy, _indices(found))]


def check_unseen(frames: Frames, name: str, train: Frames) -> list[Finding]:
    """Find structures with elements that no training structure has."""
    found = check_elements(frames, name, train.elements, "the training set")
    remedy = "Errors on these structures say nothing about the potential: remove them, or train on such structures too"
    return [replace(finding, severity="warning", remedy=remedy) for finding in found]


def check_leakage(a: Frames, b: Frames, names: tuple[str, str]) -> list[Finding]:
    """Compare two sets that must not share structures: the same structure is an error, a similar one a warning.

    What counts as the same is said in :func:`distill.structures.duplicates.close_pairs`.
    """
    pairs, distances = close_pairs(concatenate([a.with_labels(None, None, None), b.with_labels(None, None, None)]))
    across = (pairs[:, 0] < len(a)) & (pairs[:, 1] >= len(a))
    pairs, distances = pairs[across] - [0, len(a)], distances[across]
    findings = []
    kinds: tuple[tuple[bool, Severity, str], ...] = (
        (True, "error", "the same structure as"),
        (False, "warning", f"within {NEAR} Å of"),
    )
    for same, severity, word in kinds:
        chosen = pairs[(distances < SAME) == same]
        if len(chosen):
            what = f"{word} {names[1]}, {_frames_text(chosen[:, 1])} (in this order)"
            remedy = f"Remove them from one of the files: errors on {names[1]} would look better than they are"
            frames = tuple(int(i) for i in chosen[:, 0])
            findings.append(Finding(severity, what, names[0], remedy, frames))
    return findings


def check_keys(sources: Mapping[str, LabelSource]) -> list[Finding]:
    """Compare the label keys of files that belong together, and name label keys that were passed over."""
    findings = []
    for (name_a, a), (name_b, b) in combinations(sources.items(), 2):
        if (a.energy, a.forces, a.stress) != (b.energy, b.forces, b.stress):
            what = f"labels read here: {a.text()}; in {name_b}: {b.text()}"
            findings.append(Finding("warning", what, name_a, "Check that both are of one level of theory"))
    for name, source in sources.items():
        if source.unused:
            what = f"{source.text()}; also found and not used: {', '.join(source.unused)}"
            remedy = "Name the keys in the recipe (data.keys) to use others"
            findings.append(Finding("info", what, name, remedy))
    return findings


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors first, then warnings, then the rest, otherwise in their order."""
    return sorted(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity))


# ── the checks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _distances(frames: Frames, name: str) -> Iterator[Finding]:
    """Atoms on top of each other, and atoms closer than chemistry allows."""
    lengths, ratios = closest_atoms(frames)
    coincident = lengths < COINCIDENT
    if coincident.any():
        what = f"two atoms are {lengths.min():.2f} Å apart"
        yield Finding("error", what, name, "Remove the doubled atoms or the frames", _indices(coincident))
    close = (ratios < CLOSE) & ~coincident
    if close.any():
        what = f"atoms are as close as {ratios[close].min():.2f} of the sum of their covalent radii"
        yield Finding("warning", what, name, "Check units of positions and cell (Å), and wrapping", _indices(close))


def closest_atoms(frames: Frames) -> tuple[Array, Array]:
    """Return per structure ``[B]`` the smallest distance in Å, and the smallest ratio to the sum of covalent radii.

    Both are infinite where no two atoms are within :data:`CLOSE` of that sum.
    """
    lengths, ratios = np.full((2, len(frames)), np.inf)
    radii = covalent_radii[frames.numbers]
    search = NeighborList(cutoff=2 * CLOSE * float(radii.max()), full_list=False)
    offsets = frames.offsets
    for i in range(len(frames)):
        atoms = slice(offsets[i], offsets[i + 1])
        one, other, distance = search.compute(frames.positions[atoms], frames.cells[i], frames.pbc[i], "ijd")
        if len(distance):
            lengths[i] = distance.min()
            ratios[i] = (distance / (radii[atoms][one] + radii[atoms][other])).min()
    return lengths, ratios


def _duplicates(frames: Frames, name: str) -> Iterator[Finding]:
    """The same structure twice, with the same labels or with others; structures that are nearly the same."""
    pairs, distances = close_pairs(frames)
    same = distances < SAME
    if same.any():
        what = f"{same.sum()} pairs are the same structure: {_pairs_text(pairs[same])}"
        yield Finding("warning", what, name, "Keep one of each", _indices(np.unique(pairs[same])))
    if frames.energy is not None:
        difference = np.abs(np.diff(frames.energy_per_atom[pairs], axis=1)).ravel()
        conflict = same & (difference > 1e-3)
        if conflict.any():
            what = f"the same structure has energies that differ by up to {difference[conflict].max():.3f} eV/atom"
            remedy = f"One of each is wrong or of another level of theory: {_pairs_text(pairs[conflict])}"
            yield Finding("warning", what, name, remedy, _indices(np.unique(pairs[conflict])))
    near = pairs[~same]
    if len(near):
        what = f"{len(near)} pairs are within {NEAR} Å of each other: {_pairs_text(near)}"
        yield Finding("info", what, name, "Structures further apart would teach more", _indices(np.unique(near)))


def _energies(frames: Frames, name: str) -> Iterator[Finding]:
    """Outliers among structures of one composition; energies that are per atom."""
    if frames.energy is None:
        return
    found: list[int] = []
    largest = 0.0
    for members in _by_formula(frames):
        deviation = frames.energy_per_atom[members] - np.median(frames.energy_per_atom[members])
        limit = max(OUTLIER * 1.4826 * float(np.median(np.abs(deviation))), OUTLIER_FLOOR)
        if len(members) >= 8 and np.abs(deviation).max() > limit:
            found += members[np.abs(deviation) > limit].tolist()
            largest = max(largest, float(deviation.min()), float(deviation.max()), key=abs)
        sizes = frames.n_atoms[members]
        energies = frames.energy[members]
        if sizes.max() >= 1.5 * sizes.min() and np.ptp(energies) < 0.1 * np.abs(energies).mean():
            what = "energies do not grow with the number of atoms: are they per atom?"
            yield Finding("warning", what, name, "Give total energies in eV", _indices(members))
    if found:
        what = f"energy per atom is far from others of this composition, by up to {largest:+.3g} eV/atom"
        remedy = "Check that these calculations converged and are of the same level of theory"
        yield Finding("warning", what, name, remedy, _indices(np.sort(found)))


def _by_formula(frames: Frames) -> list[Array]:
    """Return the indices of the structures of each reduced formula."""
    counts = np.zeros((len(frames), 119), dtype=np.int64)
    np.add.at(counts, (frames.structure_of_atom, frames.numbers), 1)
    reduced = counts // np.gcd.reduce(counts, axis=1)[:, None]
    _, formula = np.unique(reduced, axis=0, return_inverse=True)
    return [np.flatnonzero(formula.ravel() == f) for f in range(formula.max() + 1)]


def _forces(frames: Frames, name: str) -> Iterator[Finding]:
    """Forces that are zero, huge or do not add up to zero."""
    if frames.forces is None:
        return
    starts = frames.offsets[:-1]
    largest = np.maximum.reduceat(np.linalg.norm(frames.forces, axis=1), starts)
    if not largest.any():
        yield Finding("warning", "every force is exactly zero", name, "Check that forces were calculated")
    if (largest > LARGE_FORCE).any():
        what = f"forces are as large as {largest.max():.3g} eV/Å"
        remedy = "Check the unit (Hartree/Bohr is 51.4 eV/Å) and whether these calculations converged"
        yield Finding("warning", what, name, remedy, _indices(largest > LARGE_FORCE))
    net = np.linalg.norm(np.add.reduceat(frames.forces, starts), axis=1)
    unbalanced = net > NET_FORCE * np.sqrt(frames.n_atoms)
    if unbalanced.any():
        what = f"forces add up to as much as {net.max():.3g} eV/Å, which no potential can fit"
        remedy = "Remove the mean force of each structure, or converge the calculation (grid, charges) further"
        yield Finding("warning", what, name, remedy, _indices(unbalanced))


def _stresses(frames: Frames, name: str) -> Iterator[Finding]:
    """Stresses that some structures lack, that are zero or in another unit."""
    if frames.stress is None:
        return
    missing = np.isnan(frames.stress).any(axis=(1, 2))
    if missing.any():
        what = f"{missing.sum()} of {len(frames)} structures have no stress"
        yield Finding("warning", what, name, "They are used without it; label them to use it", _indices(missing))
    largest = np.nan_to_num(np.abs(frames.stress)).max(axis=(1, 2))
    if not largest.any():
        yield Finding("warning", "every stress is exactly zero", name, "Check that the stress was calculated")
    if (largest > LARGE_STRESS).any():
        what = f"stresses are as large as {largest.max():.3g} eV/Å³, that is {160.2 * largest.max():.0f} GPa"
        remedy = "Check the unit: 1 GPa is 0.00624 eV/Å³, 1 kbar 0.000624 eV/Å³"
        yield Finding("warning", what, name, remedy, _indices(largest > LARGE_STRESS))


def _cells(frames: Frames, name: str) -> Iterator[Finding]:
    """Left-handed cells, and vacuum along periodic directions."""
    left = frames.pbc.all(axis=1) & (np.linalg.det(frames.cells) < 0)
    if left.any():
        what = "the lattice vectors are left-handed, which some codes do not accept"
        yield Finding("warning", what, name, "Exchange two lattice vectors", _indices(left))
    gaps = np.array([_largest_gap(one) for one in frames])
    if (gaps > VACUUM).any():
        what = f"up to {gaps.max():.1f} Å of vacuum along a periodic direction"
        remedy = "Fine for surfaces and molecules; their stress labels mean little"
        yield Finding("info", what, name, remedy, _indices(gaps > VACUUM))


def _largest_gap(one: Frames) -> float:
    """Return the widest empty layer, in Å, along the periodic directions of a structure with a whole cell."""
    cell = one.cells[0]
    if abs(np.linalg.det(cell)) < 1e-6:
        return 0.0
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    fractional = np.sort((one.positions @ inverse) % 1.0, axis=0)
    gaps = np.diff(np.vstack([fractional, fractional[:1] + 1]), axis=0).max(axis=0)
    return float((gaps * heights * one.pbc[0]).max())


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _indices(chosen: Any) -> tuple[int, ...]:
    """Return indices from indices or from a mask."""
    chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
    return tuple(int(i) for i in chosen)


def _frames_text(frames: Sequence[int] | Array, most: int = 8) -> str:
    shown = ", ".join(str(int(i)) for i in frames[:most])
    more = f", ... ({len(frames)} in all)" if len(frames) > most else ""
    return f"frame{'s' if len(frames) > 1 else ''} {shown}{more} (counted from 0)"


def _pairs_text(pairs: Array, most: int = 5) -> str:
    shown = ", ".join(f"{a} and {b}" for a, b in pairs[:most].tolist())
    return shown + (", ..." if len(pairs) > most else "")
