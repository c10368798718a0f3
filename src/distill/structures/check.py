"""Preflight: what a careful colleague would notice in a set of labelled structures before training on it.

Each check returns findings with the frames concerned (counted from 0, as in the file) and a remedy. Errors must stop a
run; warnings are often right and sometimes meant. The thresholds are constants of the files in
:mod:`distill.structures.checks`, one file for each thing that is looked at; this one says which checks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding, by_severity
from distill.structures.checks.geometry import check_cells, check_distances, check_duplicates
from distill.structures.checks.kinds import FATAL
from distill.structures.checks.labels import check_energies, check_forces, check_stresses
from distill.structures.checks.lattices import check_lattices
from distill.structures.checks.length_units import check_lengths, retry
from distill.structures.checks.orders import check_order
from distill.structures.checks.placeholders import check_placeholders
from distill.structures.checks.sets import check_elements, check_growable, check_keys, check_leakage, check_unseen
from distill.structures.checks.systems import check_systems
from distill.structures.checks.units import MOST_ATOMS, Predict, check_units, pick
from distill.structures.composition import by_formula
from distill.structures.frames import Frames, concatenate
from distill.structures.levels import GAP, mixed_levels
from distill.structures.read import LabelSource
from distill.structures.validity import without_labels

SUSPECTS = 3
"""Structures of each side that the teacher is asked about where levels of theory seem to be mixed."""


def check_frames(data: FileFrames, magnetic: Collection[int] = ()) -> list[Finding]:
    """Check one set of structures by itself; labels that are absent are not judged.

    Args:
        data: the structures of a file.
        magnetic: places in the file of structures with magnetic moments of atoms.
    """
    if not len(data.frames):
        return [data.finding("error", "empty", "holds no structures", "Give at least one labelled structure")]
    checks: tuple[Callable[[FileFrames], Iterable[Finding]], ...] = (
        check_distances,
        check_lattices,
        check_duplicates,
        check_energies,
        check_forces,
        check_stresses,
        check_placeholders,
        without_labels,
        check_cells,
        lambda data: check_systems(data, magnetic),
    )
    return by_severity(finding for check in checks for finding in check(data))


def check_files(
    files: Mapping[str, FileFrames],
    sources: Mapping[str, LabelSource],
    elements: Collection[int] | None,
    teacher: str,
    predict: Predict | None = None,
) -> list[Finding]:
    """Check the files of a run by themselves, against each other and against the teacher; errors first.

    Args:
        files: the structures by the name of their split, ``train`` among them.
        sources: where the labels of each were read.
        elements: atomic numbers that the teacher knows; None for all.
        teacher: its name.
        predict: returns the zero-shot teacher's predictions; None leaves out what needs them.
    """
    findings = check_keys({files[name].name: source for name, source in sources.items()})
    lengths = {
        name: check_lengths(
            data,
            predict if len(_known(data, elements).frames) == len(data.frames) else None,
            teacher,
            "virial" in (sources[name].stress or "").lower(),
        )
        for name, data in files.items()
    }
    files = {name: one.data for name, one in lengths.items()}
    findings += [finding for one in lengths.values() for finding in one.findings]
    for name, data in files.items():
        findings += [data.finding("info", "format", note) for note in sources[name].notes]
        findings += check_frames(data, sources[name].magnetic)
        findings += check_elements(data, elements, f"the teacher {teacher}")
        findings += check_unseen(data, files["train"].frames.elements)
    findings += check_growable(files["train"])
    for one, other in combinations(files.values(), 2):
        findings += check_leakage(one, other)
    sound = [one.data.without(~one.sound) for one in lengths.values()]
    known = [_known(data, elements) for data in sound]
    complete = all(len(one.frames) == len(data.frames) for one, data in zip(known, sound, strict=True))
    voigt = [files[name].name for name, source in sources.items() if source.voigt]
    levels = check_levels(sound, predict if complete else None)
    comparable = [data for data in known if len(data.frames)]
    if predict is not None and levels and _of_other_unit(comparable, predict, teacher):
        levels = []
    if levels:
        comparable = [_of_one_level(data) for data in comparable]
    if predict is not None and comparable:
        findings += _compared(comparable, predict, teacher, not levels, voigt)
    else:
        findings += [f for data in files.values() if data.name in voigt for f in check_order(data, None, teacher)[0]]
    return by_severity(findings + levels)


def _of_other_unit(files: list[FileFrames], predict: Predict, teacher: str) -> bool:
    """Return whether energies are far apart because of their unit: all of them together then fit the teacher's."""
    plain = [replace(data, frames=replace(data.frames, forces=None, stress=None)) for data in files]
    found = check_units(plain, predict, teacher)
    return any(finding.kind == "energy-unit" and finding.severity == "error" for finding in found)


def _compared(
    files: list[FileFrames], predict: Predict, teacher: str, pooled: bool, voigt: Collection[str]
) -> list[Finding]:
    """Return what the teacher says of units; where forces are unlike its own, it is asked about other lengths too."""
    findings = check_units(files, predict, teacher, pooled, voigt)
    doubtful = {finding.where for finding in findings if finding.kind == "force-unit" and finding.severity == "warning"}
    tried = [retry(data, predict, teacher) if data.name in doubtful else ([], None) for data in files]
    if not any(lengths for _, lengths in tried):
        return findings
    moved = [
        replace(data, frames=lengths.in_angstrom(data.frames)) if lengths else data
        for data, (_, lengths) in zip(files, tried, strict=True)
    ]
    return [f for found, _ in tried for f in found] + check_units(moved, predict, teacher, pooled, voigt)


def _known(data: FileFrames, elements: Collection[int] | None) -> FileFrames:
    """Return the structures whose elements the teacher knows."""
    if elements is None:
        return data
    strange = np.zeros(len(data.frames), dtype=np.bool_)
    strange[data.frames.structure_of_atom[~np.isin(data.frames.numbers, list(elements))]] = True
    return data.without(strange)


def _of_one_level(data: FileFrames) -> FileFrames:
    """Return the structures without those whose energies are far from the others of the file."""
    frames = data.frames
    if frames.energy is None:
        return data
    return data.without(np.isin(np.arange(len(frames)), mixed_levels(frames, frames.energy_per_atom)))


def check_levels(files: Sequence[FileFrames], predict: Predict | None = None) -> list[Finding]:
    """Find structures that seem to come from another level of theory than others of their composition, in all files.

    Energies far apart make structures suspect; where there is a teacher, it says for some of them whether the
    structures themselves explain the difference.
    """
    frames = concatenate([data.frames for data in files])
    if frames.energy is None:
        return []
    suspects = mixed_levels(frames, frames.energy_per_atom)
    if not len(suspects) or (predict is not None and _explained(frames, suspects, predict)):
        return []
    judged = "" if predict is None else ", which the teacher cannot explain by their structures"
    what = f"energies are more than {GAP:g} eV/atom from others of this composition{judged}: likely a mix of levels"
    remedy = "Use only calculations of one code, functional and set of pseudopotentials"
    if predict is None:
        remedy += "; nothing is wrong if these structures are that high in energy"
    ends = np.cumsum([0, *(len(data.frames) for data in files)])
    parts = [suspects[(suspects >= a) & (suspects < b)] - a for a, b in pairwise(ends)]
    return [
        data.finding("warning", "mixed-levels", what, remedy, part)
        for data, part in zip(files, parts, strict=True)
        if len(part)
    ]


def _explained(frames: Frames, suspects: Array, predict: Predict) -> bool:
    """Return whether the teacher finds the suspects as far from the others as the labels say."""
    alike = np.concatenate([m for m in by_formula(frames) if np.isin(suspects, m).any()])
    sides = [suspects, np.setdiff1d(alike, suspects)]
    chosen = np.concatenate([side[pick(frames[side], MOST_ATOMS // 3, SUSPECTS)] for side in sides])
    if not (np.isin(chosen, suspects).any() and (~np.isin(chosen, suspects)).any()):
        return False
    some = frames[chosen]
    predicted = predict(some)
    assert some.energy is not None and predicted.energy is not None  # noqa: S101 - suspects have energies
    return not len(mixed_levels(some, (some.energy - predicted.energy) / some.n_atoms))


def accepted(findings: Iterable[Finding], kinds: Collection[str]) -> list[Finding]:
    """Return the findings with errors of the accepted kinds turned into warnings; those in ``FATAL`` stay errors."""
    allowed = set(kinds) - FATAL
    return by_severity(
        replace(f, severity="warning") if f.severity == "error" and f.kind in allowed else f for f in findings
    )
