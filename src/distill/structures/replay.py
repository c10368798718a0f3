"""Checks of structures of other materials that are replayed in fine-tuning, before anything is spent on them.

Their labels are of the teacher's own level of theory, so that even its total energies are a measure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from distill.structures.check import check_frames
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.sets import check_elements, check_leakage
from distill.structures.checks.units import MOST_ATOMS, MOST_FRAMES, Predict, check_units, pick
from distill.structures.levels import GAP

UNLABELLED = "there are energies or forces, but not both"
REMEDY = "Give both, or neither to have the teacher label them"


def check_replay(
    data: FileFrames,
    judged: Mapping[str, FileFrames],
    elements: Collection[int] | None,
    teacher: str,
    predict: Predict | None = None,
) -> list[Finding]:
    """Return what is doubtful in structures to replay.

    Args:
        data: the structures, with or without labels.
        judged: the structures that models are judged by, which must not be learnt from, by the name of their split.
        elements: atomic numbers that the teacher knows; None for all.
        teacher: its name.
        predict: returns the zero-shot teacher's predictions; None leaves out what needs them.
    """
    frames = data.frames
    findings = check_frames(data) + check_elements(data, elements, f"the teacher {teacher}")
    for other in judged.values():
        findings += check_leakage(data, other)
    if (frames.energy is None) != (frames.forces is None):
        findings.append(data.finding("error", "unreadable", UNLABELLED, REMEDY))
    labelled = frames.energy is not None and frames.forces is not None and len(frames) > 0
    if predict is None or not labelled or any(finding.kind == "unknown-element" for finding in findings):
        return findings
    return findings + check_units([data], predict, teacher) + _level(data, teacher, predict)


def _level(data: FileFrames, teacher: str, predict: Predict) -> list[Finding]:
    """Energies that are not of the teacher's level of theory."""
    chosen = pick(data.frames, MOST_ATOMS, MOST_FRAMES)
    if not len(chosen):
        return []
    some = data.frames[chosen]
    difference = np.asarray(some.energy) - np.asarray(predict(some).energy)
    apart = np.abs(difference / some.n_atoms) > GAP
    if np.mean(apart) <= 0.5:
        return []
    typical = float(np.nanmedian(difference / some.n_atoms))
    what = f"energies are {typical:+.3g} eV/atom from what {teacher} gives: they are not of its level of theory"
    remedy = (
        "Remove the labels, so that the teacher gives them, or label with the code and settings that it was fitted to"
    )
    return [data.finding("error", "replay-level", what, remedy, chosen[apart])]
