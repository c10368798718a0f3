"""Checks for numbers that stand where there is no label: exact zeros in part of the frames, or of the atoms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.frames import Frames
from distill.structures.isolated import are_isolated
from distill.structures.symmetry import forces_allowed

LARGE = 0.05
"""eV/Å, the largest force of a structure: of one with smaller ones some may be zero as they are written."""


def check_placeholders(data: FileFrames) -> Iterator[Finding]:
    """Energies, forces and stresses of exactly zero beside others that are not."""
    frames = data.frames
    for label, key, chosen in (
        ("energies", "config_energy_weight", _zero_energies(frames)),
        ("all forces", "config_forces_weight", zero_forces(frames)),
        ("stresses", "config_stress_weight", _zero_stresses(frames)),
    ):
        if chosen.any():
            what = f"{label} are exactly zero, as of a label that was not calculated; {_others(data, label, chosen)}"
            remedy = (
                f"Write {key}=0 in the comment lines of these frames, which makes it a missing label, or nan for it"
            )
            yield data.finding("error", "placeholder", what, remedy, chosen)
    held = np.bincount(frames.structure_of_atom, zero_atoms(frames), len(frames))
    if held.any():
        what = (
            f"forces of {int(held.sum())} atoms are exactly zero where the others are not and no symmetry asks for it: "
            "these atoms were held fixed, and a constraint was applied to their forces"
        )
        remedy = (
            "Write the forces of the calculation (atoms.get_forces(apply_constraint=False)), nan for those of these "
            "atoms, or move_mask:L:1 with F for them and T for the others"
        )
        yield data.finding("error", "constrained-forces", what, remedy, held > 0)


def _others(data: FileFrames, label: str, chosen: Array) -> str:
    """Return how large the same label is where it is not zero."""
    frames = data.frames
    values = {"energies": frames.energy, "all forces": frames.forces, "stresses": frames.stress}[label]
    known = np.abs(np.asarray(values)).ravel()
    known = known[np.isfinite(known) & (known > 0)]
    unit = {"energies": "eV", "all forces": "eV/Å", "stresses": "eV/Å³"}[label]
    return f"other frames have {np.sqrt((known**2).mean()):.3g} {unit} (root mean square)"


def _zero_energies(frames: Frames) -> Array:
    """Return which structures ``[B]`` have an energy of exactly zero, where others have none."""
    if frames.energy is None or not np.nan_to_num(frames.energy).any():
        return np.zeros(len(frames), dtype=np.bool_)
    return np.asarray((frames.energy == 0) & ~are_isolated(frames))


def zero_forces(frames: Frames) -> Array:
    """Return which structures ``[B]`` have forces of exactly zero alone, which symmetry does not ask for."""
    if frames.forces is None or not np.nan_to_num(frames.forces).any():
        return np.zeros(len(frames), dtype=np.bool_)
    largest = _largest(frames)
    labelled = np.bincount(frames.structure_of_atom, np.isfinite(frames.forces).any(axis=1), len(frames)) > 0
    return _if_allowed(frames, (largest == 0) & labelled & (frames.n_atoms > 1))


def _if_allowed(frames: Frames, suspects: Array) -> Array:
    """Return the suspects ``[B]`` without those in which symmetry forbids all forces."""
    some = np.flatnonzero(suspects)
    found = np.zeros(len(frames), dtype=np.bool_)
    if len(some):
        chosen = frames[some]
        allowed = np.bincount(chosen.structure_of_atom, forces_allowed(chosen), len(chosen)) > 0
        found[some[allowed]] = True
    return found


def zero_atoms(frames: Frames) -> Array:
    """Return which atoms ``[N]`` have a force of exactly zero that symmetry does not ask for, among others that do not.

    Zeros of whole structures are another matter: :func:`zero_forces`.
    """
    found = np.zeros(len(frames.numbers), dtype=np.bool_)
    if frames.forces is None:
        return found
    zero = (frames.forces == 0).all(axis=1)
    b = frames.structure_of_atom
    some = np.flatnonzero((np.bincount(b, zero, len(frames)) > 0) & (_largest(frames) > LARGE))
    if len(some):
        atoms = frames.atom_indices(some)
        found[atoms] = zero[atoms] & forces_allowed(frames[some])
    return found


def _largest(frames: Frames) -> Array:
    """Return the largest force of each structure, ``[B]`` eV/Å."""
    sizes = np.linalg.norm(np.nan_to_num(np.asarray(frames.forces)), axis=1)
    return np.asarray(np.maximum.reduceat(sizes, frames.offsets[:-1]))


def _zero_stresses(frames: Frames) -> Array:
    """Return which structures ``[B]`` that repeat in three directions have a stress of exactly zero, unlike others."""
    if frames.stress is None or not np.nan_to_num(frames.stress).any():
        return np.zeros(len(frames), dtype=np.bool_)
    return np.asarray((frames.stress == 0).all(axis=(1, 2)) & frames.pbc.all(axis=1) & ~are_isolated(frames))
