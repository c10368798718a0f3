"""Checks of sets against each other and against the teacher: leakage between splits, elements, label keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
from ase.data import chemical_symbols

from distill.structures.checks.finding import FileFrames, Finding, frames_text
from distill.structures.doubled import findings_of
from distill.structures.duplicates import NEAR, SAME, close_pairs
from distill.structures.frames import concatenate
from distill.structures.read import LabelSource
from distill.structures.trajectory import find_neighbours


def check_elements(data: FileFrames, allowed: Collection[int] | None, owner: str) -> list[Finding]:
    """Find structures with elements that ``owner`` (for instance ``"the teacher chgnet-0.3"``) does not know.

    ``allowed`` are atomic numbers; None allows all.
    """
    unknown = [z for z in data.frames.elements if allowed is not None and z not in allowed]
    if not unknown:
        return []
    found = np.unique(data.frames.structure_of_atom[np.isin(data.frames.numbers, unknown)])
    symbols = ", ".join(chemical_symbols[z] for z in unknown)
    remedy = "Choose a teacher that knows every element (see: distill models), or remove these structures"
    return [data.finding("error", "unknown-element", f"{symbols} is not known to {owner}", remedy, found)]


def check_unseen(data: FileFrames, train: Collection[int]) -> list[Finding]:
    """Find structures with elements other than ``train``, those of the training structures: students cannot do them."""
    found = check_elements(data, train, "the training set")
    remedy = "Students know the elements that they are trained on alone: remove these structures, or train on such too"
    return [replace(f, kind="unseen-element", remedy=remedy) for f in found]


def check_growable(data: FileFrames) -> list[Finding]:
    """Find that every structure is one atom in its cell: its force is zero by symmetry, and no rattle changes it."""
    if not len(data.frames) or (data.frames.n_atoms > 1).any():
        return []
    what = "every structure has one atom, whose force is zero by symmetry and which has nothing to be rattled against"
    remedy = "Label supercells (ASE: atoms.repeat((2, 2, 2))); with synthetic.cell_strain they grow by strain"
    return [data.finding("error", "single-atom", what, remedy)]


def check_leakage(a: FileFrames, b: FileFrames) -> list[Finding]:
    """Compare two sets that must not share structures.

    The same structure is an error, one that is nearly the same a warning (:func:`close_pairs` says what that means),
    and so are neighbours of one trajectory (:func:`find_neighbours`).
    """
    return [*_close(a, b), *_trajectory(a, b)]


def _close(a: FileFrames, b: FileFrames) -> Iterator[Finding]:
    plain = [data.frames.with_labels(None, None, None) for data in (a, b)]
    pairs, distances = close_pairs(concatenate(plain))
    across = (pairs[:, 0] < len(a.frames)) & (pairs[:, 1] >= len(a.frames))
    pairs, distances = pairs[across] - [0, len(a.frames)], distances[across]
    remedy = f"Remove them from one of the files: errors on {b.name} would look better than they are"
    same = pairs[distances < SAME]
    if len(same):
        what = f"the same structure as {b.name}, {frames_text(b.place(same[:, 1]))} (in this order)"
        yield replace(a.finding("error", "leakage", what, remedy), frames=tuple(a.place(same[:, 0]).tolist()))
    near = pairs[distances >= SAME]
    if len(near):
        what = f"within {NEAR} Å of {b.name}, {frames_text(b.place(near[:, 1]))} (in this order)"
        yield replace(a.finding("warning", "near-leakage", what, remedy), frames=tuple(a.place(near[:, 0]).tolist()))


def _trajectory(a: FileFrames, b: FileFrames) -> Iterator[Finding]:
    """Structures of ``b`` that follow or precede one of ``a`` closely; the distance of near-duplicates is not one."""
    pairs, distances = find_neighbours(a.frames, b.frames)
    pairs, distances = pairs[distances >= NEAR], distances[distances >= NEAR]
    if len(pairs):
        what = (
            f"{len(pairs)} of {len(b.frames)} structures are as close to {a.name} as neighbours of a trajectory "
            f"({distances.min():.2f} to {distances.max():.2f} Å), for instance {b.place(pairs[0, 1])} to "
            f"{a.place(pairs[0, 0])} of {a.name}"
        )
        remedy = (
            f"Errors on {b.name} look better than on new structures: split the trajectory in blocks, or keep it whole"
        )
        yield b.finding("warning", "trajectory-leakage", what, remedy, pairs[:, 1])


def check_keys(sources: Mapping[str, LabelSource]) -> list[Finding]:
    """Compare the label keys of files that belong together, and name label keys that were passed over."""
    findings = []
    for (name_a, a), (name_b, b) in combinations(sources.items(), 2):
        if (a.energy, a.forces, a.stress) != (b.energy, b.forces, b.stress):
            what = f"labels read here: {a.text()}; in {name_b}: {b.text()}"
            findings.append(
                Finding("warning", "keys", what, name_a, "Check that both are of one level of theory"),
            )
    for name, source in sources.items():
        findings += findings_of(source.doubled, name)
        if source.unused:
            what = f"{source.text()}; also found and not used: {', '.join(source.unused)}"
            remedy = "Name the keys in the recipe (data.keys) to use others"
            findings.append(Finding("info", "unused-keys", what, name, remedy))
    return findings


def check_labelled(data: FileFrames, name: str) -> list[Finding]:
    """Find that a split, called ``name``, has no energy or no force at all that could be learnt or compared."""
    frames = data.frames
    lacking = [label for label in ("energy", "forces") if not np.isfinite(np.asarray(getattr(frames, label))).any()]
    if not lacking:
        return []
    what = f"no {' and no '.join(lacking)} is there in any of the {len(frames)} structures for {name}"
    return [data.finding("error", "unlabelled", what, "Label some of them, or name other files")]
