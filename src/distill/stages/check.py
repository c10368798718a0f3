"""Read the labelled structures, refuse what cannot be used, and draw validation and test sets where none are named.

Everything later reads what this stage writes: three files with the standard keys, so that no other part knows label
keys or the user's paths. Where files lie is no part of the settings: moving them re-runs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.base.errors import UserError
from distill.base.files import write_json
from distill.base.settings import Settings
from distill.stages.base import Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from distill.structures.check import Finding
    from distill.structures.frames import Frames
    from distill.structures.read import LabelSource

SPLITS = ("train", "valid", "test")


class Keys(Settings):
    """Keys of the labels in the files, where they are not ``energy``, ``forces``, ``stress`` or a known variant."""

    energy: str | None = None
    """Key of the total energy (eV) in the comment line; absent: energy, REF_energy, dft_energy, ... are tried."""
    forces: str | None = None
    """Per-atom column of the forces (eV/Å); absent: forces, REF_forces, dft_forces are tried."""
    stress: str | None = None
    """Key of the stress (eV/Å³), or of the virial (eV) where its name says so; absent: known names are tried."""


class Options(StageSettings):
    """How the files are read and divided."""

    keys: Keys = Keys()
    """Keys of the labels, where they are not standard ones."""
    valid_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the structures drawn for validation; used only where no validation file is named."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the structures drawn for testing; used only where no test file is named."""


class Data(Options):
    """The recipe's ``data`` section."""

    train: str
    """Extended XYZ file of labelled structures, relative to the recipe."""
    valid: str | None = None
    """File for choosing the best epoch; absent: drawn from the training file, leak-free."""
    test: str | None = None
    """File for the errors in the report, used for nothing else; absent: drawn from the training file, leak-free."""


class Check(Stage):
    """Read and check the labelled structures."""

    class Settings(Options):
        """What the result depends on besides the content of the files."""

        teacher: str = "chgnet-0.3"
        """The teacher, whose elements the structures may have."""

    section: ClassVar[str] = "data"
    reads: ClassVar[Mapping[str, str]] = {"teacher": "teacher.model"}
    inputs: ClassVar[Mapping[str, str]] = {name: f"recipe:data.{name}" for name in SPLITS}
    outputs: ClassVar[Mapping[str, str]] = {
        "train": "train.xyz",
        "valid": "valid.xyz",
        "test": "test.xyz",
        "findings": "findings.json",
    }

    @classmethod
    def section_type(cls, raw: Any) -> type[Data]:
        """Return the section's type, which names the files; :attr:`Settings` leaves them out."""
        return Data

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Read, check, divide and write the structures.

        Raises:
            UserError: for the first error; the others follow in its text.
        """
        from distill.structures.write import write_frames

        files = {name: Path(inputs[name]) for name in SPLITS if inputs[name] is not None}
        sets, sources = _read(files, settings.keys)
        findings = _examine(sets, sources, files, settings.teacher)
        write_json(job.out / "findings.json", [asdict(finding) for finding in findings])
        _refuse(findings)
        sets, drawn = _complete(sets, settings, job.seed)
        for name in SPLITS:
            write_frames(job.out / f"{name}.xyz", sets[name])
        job.warnings += [f.text().removeprefix("warning: ") for f in findings if f.severity == "warning"] + drawn
        return _summary(sets, sources, findings, drawn)


def check_file(path: Path) -> list[Finding]:
    """Check one extended XYZ file by itself; the first finding says what was read.

    Raises UserError for a file that cannot be read, has no energies or no forces.
    """
    from distill.structures.check import check_frames, check_keys
    from distill.structures.read import read_frames

    frames, source = read_frames(path)
    return [_described(frames, source, path), *check_frames(frames, str(path)), *check_keys({str(path): source})]


def check_recipe_files(train: Path, valid: Path | None, test: Path | None, keys: Keys, teacher: str) -> list[Finding]:
    """Check a recipe's files by themselves, against each other and against the teacher's elements.

    Raises UserError for a file that cannot be read, has no energies or no forces.
    """
    files = {name: p for name, p in zip(SPLITS, (train, valid, test), strict=True) if p is not None}
    sets, sources = _read(files, keys)
    described = [_described(sets[name], sources[name], files[name]) for name in sets]
    return described + _examine(sets, sources, files, teacher)


def _read(files: Mapping[str, Path], keys: Keys) -> tuple[dict[str, Frames], dict[str, LabelSource]]:
    """Read each file; returns structures and label keys by the name of the split."""
    from distill.structures.read import LabelKeys, read_frames

    sets, sources = {}, {}
    for name, path in files.items():
        sets[name], sources[name] = read_frames(path, LabelKeys(**keys.model_dump()))
    return sets, sources


def _examine(
    sets: Mapping[str, Frames], sources: Mapping[str, LabelSource], files: Mapping[str, Path], teacher: str
) -> list[Finding]:
    """Return the findings of all files, errors first; frames are counted as in the files."""
    from itertools import combinations

    from distill.potentials import POTENTIALS
    from distill.structures import check

    elements = POTENTIALS[teacher].elements
    findings: list[Finding] = check.check_keys({str(files[name]): source for name, source in sources.items()})
    for name, frames in sets.items():
        findings += check.check_frames(frames, str(files[name]))
        findings += check.check_elements(frames, str(files[name]), elements, f"the teacher {teacher}")
        findings += check.check_unseen(frames, str(files[name]), sets["train"])
    for a, b in combinations(sets, 2):
        findings += check.check_leakage(sets[a], sets[b], (str(files[a]), str(files[b])))
    return check.by_severity(findings)


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise the first error, with the texts of the others."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first, *others = errors
    remedy = first.remedy.rstrip(".")
    if others:
        remedy += f". {len(others)} more:\n" + "\n".join(f"  {finding.text()}" for finding in others)
    raise UserError(first.what, first.place, remedy)


def _complete(sets: Mapping[str, Frames], settings: Options, seed: int) -> tuple[dict[str, Frames], list[str]]:
    """Draw the splits that have no file from the training file; returns all splits and what was drawn, in words."""
    from distill.structures.split import split_by_group

    names = {"test": "test", "validation": "valid"}
    shares = {"test": settings.test_fraction, "validation": settings.valid_fraction}
    missing = {purpose: share for purpose, share in shares.items() if names[purpose] not in sets}
    if not missing:
        return dict(sets), []
    train = sets["train"]
    left, parts, sentences = split_by_group(train, missing, seed)
    return {**sets, "train": train[left], **{names[p]: train[part] for p, part in parts.items()}}, sentences


def _described(frames: Frames, source: LabelSource, path: Path) -> Finding:
    from distill.structures.check import Finding

    what = f"{len(frames)} structures, {len(frames.numbers)} atoms of {', '.join(_symbols(frames))}; {source.text()}"
    return Finding("info", what, str(path))


def _symbols(frames: Frames) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in frames.elements]


def _summary(
    sets: Mapping[str, Frames], sources: Mapping[str, LabelSource], findings: Sequence[Finding], drawn: list[str]
) -> Summary:
    """Return what was read, in numbers and in one line."""
    elements = sorted({symbol for frames in sets.values() for symbol in _symbols(frames)})
    keys = {name: {q: getattr(source, q) for q in ("energy", "forces", "stress")} for name, source in sources.items()}
    used = {quantity: key for quantity, key in keys["train"].items() if key}
    labels = f"{', '.join(used)} from keys {', '.join(used.values())}"
    counts = ", ".join(f"{len(sets[name])} {name}" for name in SPLITS)
    return {
        "headline": f"{counts} structures; {' '.join(elements)}; {labels}",
        "counts": {name: len(sets[name]) for name in SPLITS},
        "atoms": {name: len(sets[name].numbers) for name in SPLITS},
        "elements": elements,
        "keys": keys,
        "config_types": {name: dict(Counter(sets[name].labels("config_type"))) for name in SPLITS},
        "ranges": {name: _ranges(sets[name]) for name in SPLITS},
        "drawn": drawn,
        "findings": [finding.text() for finding in findings],
    }


def _ranges(frames: Frames) -> dict[str, list[float]]:
    """Return the smallest and largest energy per atom (eV), force (eV/Å) and volume per atom (Å³) of a set."""
    import numpy as np

    values = {
        "energy_per_atom": frames.energy_per_atom,
        "force": np.linalg.norm(np.asarray(frames.forces), axis=1),
        "volume_per_atom": frames.volumes / frames.n_atoms,
    }
    return {name: [float(value.min()), float(value.max())] for name, value in values.items()}
