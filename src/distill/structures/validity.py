"""Which labels of a user's file are meant: what weights, widths and constraints say is none becomes NaN, and is said.

MACE writes what a frame lacks as zero with ``config_forces_weight=0`` and the like, GAP with a huge or no
``force_sigma``; codes that hold atoms fixed write zero for their forces. Everything later knows NaN only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.frames import Frames
from distill.structures.isolated import are_isolated

WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "energy": ("config_energy_weight", "energy_weight"),
    "forces": ("config_forces_weight", "config_force_weight", "forces_weight", "force_weight"),
    "stress": (
        *("config_stress_weight", "config_virials_weight", "config_virial_weight"),
        *("stress_weight", "virials_weight", "virial_weight"),
    ),
}
"""Keys of a frame's weights, by label; zero or less says that the label is not meant."""
OF_ALL = "config_weight"
"""The weight of a whole frame."""
WIDTHS: Mapping[str, tuple[str, ...]] = {
    "energy": ("energy_sigma",),
    "forces": ("force_sigma", "forces_sigma"),
    "stress": ("virial_sigma", "stress_sigma"),
}
"""Keys of the widths that GAP gives labels."""
WIDE: Mapping[str, float] = {"energy": 10.0, "forces": 10.0, "stress": 100.0}
"""eV/atom, eV/Å, eV: labels with a larger width would say nothing; those that are meant have at most a tenth of it."""


def meant_labels(frames: Frames, name: str) -> tuple[Frames, list[Finding]]:
    """Return the structures with NaN for every label that is not meant, and what was found; ``name`` is the file.

    Isolated atoms keep theirs: MACE gives them no weight in the fit and takes their energies as references.
    """
    data, findings = FileFrames(frames, name), []
    for label in WEIGHTS:
        if getattr(frames, label) is None:
            continue
        for key, unmeant in _unmeant(frames, label).items():
            frames = _masked(frames, label, unmeant)
            verb = "is" if label in ("energy", "stress") else "are"
            what = f"{label} {verb} not used, since {key} says that {'it is' if verb == 'is' else 'they are'} not meant"
            remedy = f"If {'it is' if verb == 'is' else 'they are'}, remove {key.partition('=')[0]} from these frames"
            findings.append(data.finding("warning", "missing-label", what, remedy, unmeant))
    findings += _not_a_number(FileFrames(data.frames, name))
    findings += _unequal(data)
    frames, constrained = _without_constrained(FileFrames(frames, name))
    return frames, findings + constrained


def without_labels(data: FileFrames) -> list[Finding]:
    """Find structures of which no label at all is left."""
    frames = data.frames
    if frames.energy is None and frames.forces is None and frames.stress is None:  # not labels, but structures
        return []
    has = np.zeros(len(frames), dtype=np.bool_)
    if frames.energy is not None:
        has |= np.isfinite(frames.energy)
    if frames.forces is not None:
        has |= np.bincount(frames.structure_of_atom, np.isfinite(frames.forces).any(axis=1), len(frames)) > 0
    if frames.stress is not None:
        has |= np.isfinite(frames.stress).all(axis=(1, 2))
    if has.all():
        return []
    return [
        data.finding("error", "unlabelled", "have no label that is meant", "Label these frames, or remove them", ~has)
    ]


def _unmeant(frames: Frames, label: str) -> dict[str, Array]:
    """Return, by the key that says so and its value, which frames ``[B]`` have a label that is not meant."""
    taken: Array = are_isolated(frames)
    found: dict[str, Array] = {}
    for key in (OF_ALL, *WEIGHTS[label], *WIDTHS[label]):
        values = _numbers(frames, key)
        unmeant: Array = np.asarray(values <= 0)
        if key in WIDTHS[label]:
            unmeant = unmeant | (values > WIDE[label])
        chosen: Array = unmeant & ~taken & _has(frames, label)
        if chosen.any():
            found[f"{key}={values[chosen][0]:g}"] = chosen
            taken = taken | chosen
    return found


def _numbers(frames: Frames, key: str) -> Array:
    """Return a number of each frame's comment line, the largest of several; NaN where there is none, ``[B]``."""
    given = [i for i, info in enumerate(frames.info) if key in info]
    numbers = np.full(len(frames), np.nan)
    numbers[given] = [_number(frames.info[i][key]) for i in given]
    return numbers


def _number(value: Any) -> float:
    if value is None or isinstance(value, bool | str):
        return np.nan
    try:
        numbers = np.array(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return np.nan
    return float(numbers.max()) if numbers.size else np.nan


def _has(frames: Frames, label: str) -> Array:
    """Return which frames ``[B]`` have anything of a label."""
    values = np.isfinite(getattr(frames, label))
    if label == "forces":
        return np.asarray(np.bincount(frames.structure_of_atom, values.any(axis=1), len(frames)) > 0)
    return np.asarray(values.reshape(len(frames), -1).all(axis=1))


def _masked(frames: Frames, label: str, chosen: Array) -> Frames:
    """Return the structures with NaN for a label of the chosen ones ``[B]``."""
    values = np.array(getattr(frames, label))
    values[chosen[frames.structure_of_atom] if label == "forces" else chosen] = np.nan
    return frames.with_labels(**{name: values if name == label else getattr(frames, name) for name in WEIGHTS})


def _not_a_number(data: FileFrames) -> Iterator[Finding]:
    """Energies and forces that are NaN in the file; what a stress lacks is said by its check."""
    frames = data.frames
    remedy = "They are used without; label them if they should have it"
    if frames.energy is not None and np.isnan(frames.energy).any():
        yield data.finding("warning", "missing-label", "have no energy (NaN)", remedy, np.isnan(frames.energy))
    if frames.forces is None:
        return
    lacking = np.asarray(np.isnan(frames.forces).any(axis=1))
    chosen: Array = np.bincount(frames.structure_of_atom, lacking, len(frames)) > 0
    chosen = chosen & (frames.n_atoms > 1)  # the force on a single atom is zero by symmetry
    if chosen.any():
        n = int(lacking[chosen[frames.structure_of_atom]].sum())
        yield data.finding("warning", "missing-label", f"{n} atoms have no forces (NaN)", remedy, chosen)


def _unequal(data: FileFrames) -> Iterator[Finding]:
    """Weights and widths that differ between frames, which are not followed."""
    for keys in ((OF_ALL,), *WEIGHTS.values(), *WIDTHS.values()):
        for key in keys:
            values = _numbers(data.frames, key)
            label = next((name for name in WIDTHS if key in WIDTHS[name]), None)
            meant = values[(values > 0) & (values <= (WIDE[label] if label else np.inf))]
            if len(meant) and np.ptp(meant) > 1e-9 * meant.max():
                what = (
                    f"{key} differs, from {meant.min():g} to {meant.max():g}, and is ignored: all frames weigh the same"
                )
                remedy = "Give frames that should count more than once in the training file only if that is meant"
                yield data.finding("warning", "ignored-weights", what, remedy)


def _without_constrained(data: FileFrames) -> tuple[Frames, list[Finding]]:
    """Take out the forces of fixed components where all of a structure are exactly zero, and others are not."""
    frames = data.frames
    if frames.fixed is None or frames.forces is None:
        return frames, []
    b = frames.structure_of_atom
    moved = np.nan_to_num(frames.forces) != 0
    n_fixed = np.bincount(b, frames.fixed.sum(axis=1), len(frames))
    nonzero = np.bincount(b, (moved & frames.fixed).sum(axis=1), len(frames))
    free = np.bincount(b, (moved & ~frames.fixed).sum(axis=1), len(frames))
    chosen = (n_fixed > 0) & (nonzero == 0) & (free > 0)
    if not chosen.any():
        return frames, []
    forces = np.where(frames.fixed & chosen[b][:, None], np.nan, frames.forces)
    what = "forces of the fixed atoms are exactly zero: a constraint was applied, and they are not used as labels"
    remedy = "Nothing has to be done; atoms.get_forces(apply_constraint=False) gives the forces of the calculation"
    found = data.finding("warning", "constrained-forces", what, remedy, chosen)
    return replace(frames, forces=forces), [found]
