"""The codes of all findings, by which a recipe accepts what would otherwise stop it. Nothing heavy is imported."""

from __future__ import annotations

KINDS: dict[str, str] = {
    "read": "what was read, from which keys",
    "format": "what was read otherwise than it is written",
    "unreadable": "a file cannot be read, or lacks what is needed",
    "empty": "a file holds no structures",
    "cannot-draw": "the splits, or the subset for training, cannot be drawn",
    "keys": "files that belong together have labels from different keys",
    "unused-keys": "further label keys are in the file and were not read",
    "isolated-atoms": "isolated atoms were taken out of the structures",
    "length-unit": "unit of positions and cell, or a lattice that is missing",
    "force-unit": "unit or sign of the forces",
    "energy-unit": "unit or sign of the energies",
    "stress-unit": "unit, sign or meaning of the stress",
    "stress-order": "order of six values of a stress",
    "units-unchecked": "units could not be compared with the teacher",
    "mixed-levels": "structures of one composition come from different levels of theory",
    "energy-outlier": "an energy far from the others of its composition",
    "energy-per-atom": "energies that do not grow with the number of atoms",
    "energy-magnitude": "energies too small or of the wrong sign to be total energies in eV",
    "zero-forces": "every force is zero",
    "large-force": "forces beyond what is met in matter",
    "force-outlier": "forces far beyond those of similar structures",
    "net-force": "forces that do not add up to zero",
    "missing-stress": "some structures have no stress",
    "zero-stress": "every stress is zero",
    "large-stress": "stresses beyond what is met in matter",
    "coincident-atoms": "atoms on top of each other",
    "far-atoms": "no two atoms as close as a bond",
    "close-atoms": "atoms closer than chemistry allows",
    "duplicate": "the same structure twice in one file",
    "conflicting-labels": "the same structure with different energies",
    "near-duplicate": "nearly the same structure twice in one file",
    "leakage": "the same structure in two splits",
    "near-leakage": "nearly the same structure in two splits",
    "trajectory-leakage": "neighbours of one trajectory in two splits",
    "unknown-element": "an element that the teacher does not know",
    "unseen-element": "an element that no training structure has",
    "left-handed": "lattice vectors that are left-handed",
    "vacuum": "vacuum along a periodic direction",
    "charged": "charged systems, whose charge the potentials do not see",
    "magnetic": "magnetic systems, whose spin the potentials do not see",
}
"""Code to what it is about."""

FATAL = frozenset({"unreadable", "empty", "cannot-draw", "unknown-element"})
"""Errors that cannot be accepted, because nothing can go on after them."""
