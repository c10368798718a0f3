"""Read the labelled structures, refuse what cannot be used, and draw validation and test sets where none are named.

Everything later reads what this stage writes: three files with the standard keys, so that no other part knows label
keys or the user's paths. Where files lie is not part of the settings: moving them re-runs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from distill.base.consent import Code
from distill.base.errors import DistillError, UserError, nearest
from distill.base.files import write_json
from distill.base.settings import Settings
from distill.potentials.base import TeacherSource
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from distill.structures.checks.finding import FileFrames, Finding
    from distill.structures.checks.units import Predict
    from distill.structures.frames import Frames
    from distill.structures.read import LabelSource

SPLITS = ("train", "valid", "test")


class Keys(Settings):
    """Keys of the labels in the files, where they are not ``energy``, ``forces``, ``stress`` or a known variant."""

    energy: str | None = None
    """Key of the total energy (eV) in the comment line; absent: REF_energy, dft_energy, energy, ... are tried."""
    forces: str | None = None
    """Per-atom column of the forces (eV/Å); absent: REF_forces, dft_forces, forces are tried."""
    stress: str | None = None
    """Key of the stress (eV/Å³), or of the virial (eV) where its name says so; absent: known names are tried."""


class Options(StageSettings):
    """How the files are read, judged and divided."""

    keys: Keys = Keys()
    """Keys of the labels, where they are not standard ones."""
    valid_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the structures drawn for validation; used only where no validation file is named."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the structures drawn for testing; used only where no test file is named."""
    n_train: int | None = Field(default=None, ge=1)
    """How many of the training structures are used, drawn with the recipe's seed; a larger number keeps those of a
    smaller one. Absent: all."""
    subset: Literal["stratified", "farthest"] = "stratified"
    """How they are drawn: from each config_type its share, or each as different as possible from those before."""
    isolated_atoms: dict[str, float] = {}
    """Energies of isolated atoms at the level of theory of the data, eV by symbol, e.g. {H: -13.6, O: -432.1}; those of
    single atoms in the files are found without."""
    accept: tuple[str, ...] = ()
    """Kinds of findings (as distill check shows them) that are warnings here, although they would stop a run."""

    @field_validator("accept", mode="before")
    @classmethod
    def _known_kinds(cls, kinds: Any) -> Any:
        """Refuse what is not a kind, or cannot be accepted."""
        from distill.structures.checks.kinds import FATAL, KINDS

        for kind in kinds if isinstance(kinds, list | tuple) else []:
            if kind in FATAL:
                raise ValueError(f"{kind!r} cannot be accepted, since nothing can be done with such data")
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is not a kind of finding. {nearest(str(kind), KINDS)}")
        return tuple(kinds) if isinstance(kinds, list) else kinds


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
        """The teacher: its elements, and its predictions as a measure of units."""
        function: str = ""
        """Its function, where it is an ASE calculator."""
        environment: str | None = None
        """The Python interpreter that it runs in, where that is another one."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "data"
    reads: ClassVar[Mapping[str, str]] = {
        "teacher": "teacher.model",
        "function": "teacher.function",
        "environment": "teacher.environment",
    }
    inputs: ClassVar[InputSpecs] = {name: f"recipe:data.{name}" for name in SPLITS} | {
        "teacher": "recipe:teacher.file",
        "replay": "recipe:teacher.finetune.replay.file",
    }
    outputs: ClassVar[Mapping[str, str]] = {
        "train": "train.xyz",
        "valid": "valid.xyz",
        "test": "test.xyz",
        "findings": "findings.json",
        "isolated_atoms": "isolated_atoms.json",
    }

    @classmethod
    def section_type(cls, raw: Any) -> type[Data]:
        """Return the section's type, which names the files; :attr:`Settings` leaves them out."""
        return Data

    @classmethod
    def code(cls, files: Mapping[str, Path], settings: Settings) -> tuple[Code, ...]:
        """Return the teacher where it is a function, a file or in another interpreter."""
        return TeacherSource(settings.teacher, files.get("teacher"), settings.function, settings.environment).code()

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Read, check, divide and write the structures.

        The teacher is opened here first, so that a run ends at once where it cannot be.

        Raises:
            UserError: for the first error; the others follow in its text.
        """
        from distill.potentials.teachers.weights import reporting
        from distill.structures.write import write_frames

        data = _read(inputs, settings)
        with reporting(job.progress):
            predict = _zero_shot(settings, inputs)
        findings = _examine(data, settings, lambda: predict)
        write_json(job.out / "findings.json", [finding.as_json() for finding in findings])
        _refuse(findings)
        files, available, drawn = _divide(data, settings, job.seed)
        judged = _judge_division(data, files, settings)
        _refuse(judged)
        findings = [*findings, *judged]
        write_json(job.out / "findings.json", [finding.as_json() for finding in findings])
        sets = {name: file.frames for name, file in files.items()}
        for name in SPLITS:
            write_frames(job.out / f"{name}.xyz", sets[name])
        write_json(job.out / "isolated_atoms.json", data.isolated_atoms)
        job.warnings += [finding.sentence for finding in findings if finding.severity == "warning"] + drawn
        return _summary(data, sets, available, findings, drawn)


@dataclass(frozen=True)
class FileData:
    """What the files hold.

    Attributes:
        files: structures by the name of their split, without isolated atoms.
        sources: the label keys of each.
        isolated_atoms: energies of isolated atoms, from files and recipe, eV by symbol.
        replay: structures of other materials to replay in fine-tuning, or None.
        findings: what was noticed while the labels that are meant were told from those that are not.
    """

    files: dict[str, FileFrames]
    sources: dict[str, LabelSource]
    isolated_atoms: dict[str, float]
    replay: FileFrames | None = None
    findings: tuple[Finding, ...] = ()


def check_file(path: Path, teacher: str = "chgnet-0.3", predict: Predict | None = None) -> list[Finding]:
    """Check one extended XYZ file by itself, as a training file; the last finding says what was read.

    ``predict`` returns the teacher's predictions, for a caller who has opened it and checks many files.

    Raises UserError for a file that cannot be read, has no energies or no forces.
    """
    inputs, settings = {"train": path}, Check.Settings(teacher=teacher)
    return _examine(_read(inputs, settings), settings, lambda: predict or _zero_shot(settings, inputs))


def check_data(inputs: Paths, settings: Check.Settings, seed: int) -> list[Finding]:
    """Return all that the stage would find, errors first, that splits and subset cannot be drawn among it.

    Raises UserError for a file that cannot be read, has no energies or no forces.
    """
    from distill.structures.checks.finding import Finding, by_severity

    data = _read(inputs, settings)
    findings = _examine(data, settings, lambda: _zero_shot(settings, inputs))
    if all(finding.severity != "error" for finding in findings):
        try:
            files, _, _ = _divide(data, settings, seed)
        except UserError as error:
            return [Finding.of_error(error, "cannot-draw", data.files["train"].name), *findings]
        return by_severity([*findings, *_judge_division(data, files, settings)])
    return findings


def _read(inputs: Paths, settings: Check.Settings) -> FileData:
    """Read each file and take isolated atoms out."""
    from distill.structures.checks.finding import FileFrames
    from distill.structures.checks.sets import check_keys
    from distill.structures.isolated import join_energies, take_isolated
    from distill.structures.read import LabelKeys, read_frames
    from distill.structures.validity import meant_labels

    files, sources = {}, {}
    findings: list[Finding] = []
    atoms: list[tuple[Mapping[str, float], str]] = [(settings.isolated_atoms, "data.isolated_atoms")]
    for name in SPLITS:
        if inputs.get(name) is not None:
            frames, sources[name] = read_frames(inputs[name], LabelKeys(**settings.keys.model_dump()))
            frames, found = meant_labels(frames, str(inputs[name]))
            findings += found
            files[name], energies = take_isolated(FileFrames(frames, str(inputs[name])))
            atoms.append((energies, files[name].name))
    replay = None
    if inputs.get("replay") is not None:
        name = str(inputs["replay"])
        frames, source = read_frames(inputs["replay"], labels="optional")
        frames, found = meant_labels(frames, name)
        findings += [*check_keys({name: source}), *found]
        replay = FileFrames(frames, name)
    return FileData(files, sources, join_energies(atoms), replay, tuple(findings))


def _examine(data: FileData, settings: Check.Settings, teacher: Callable[[], Predict]) -> list[Finding]:
    """Return the findings of all files, errors first; frames are counted as in the files.

    A ``teacher`` that cannot be opened or asked is a finding.
    """
    from distill.structures.check import accepted, check_files
    from distill.structures.checks.atoms import check_atoms
    from distill.structures.checks.finding import Finding, by_severity
    from distill.structures.replay import check_replay

    known, unchecked = TeacherSource(settings.teacher).row.elements, []

    def check_all(predict: Predict | None = None) -> list[Finding]:
        found = check_files(data.files, data.sources, known, settings.teacher, predict)
        if data.replay is None:
            return found
        judged = {name: file for name, file in data.files.items() if name != "train"}
        return found + check_replay(data.replay, judged, known, settings.teacher, predict)

    try:
        found = check_all(teacher())
    except DistillError as error:  # of the teacher, which could not be opened or asked
        what = f"units were not compared with {settings.teacher}: {error}"
        unchecked = [Finding("info", "units-unchecked", what, ", ".join(f.name for f in data.files.values()))]
        found = check_all()
    atoms = check_atoms(list(data.files.values()), data.isolated_atoms)
    found = accepted(by_severity([*found, *data.findings, *atoms]), settings.accept)
    return [*found, *unchecked, *(_described(data, name) for name in data.files)]


def _zero_shot(settings: Check.Settings, inputs: Paths) -> Predict:
    """Return what predicts labels as the teacher does before fine-tuning; raises what opening it raises."""
    source = TeacherSource(settings.teacher, inputs.get("teacher"), settings.function, settings.environment)
    return source.open().evaluate


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise the first error, with the texts of the others."""
    from distill.structures.checks.kinds import FATAL

    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first, *others = errors
    remedy = first.remedy.rstrip(".")
    kinds = [kind for kind in dict.fromkeys(finding.kind for finding in errors) if kind not in FATAL]
    if kinds:
        remedy += f". If it is meant so: data.accept: [{', '.join(kinds)}]"
    if others:
        remedy += f". {len(others)} more:\n" + "\n".join(f"  {finding.text()}" for finding in others)
    raise UserError(first.what, first.place, remedy)


def _divide(data: FileData, settings: Check.Settings, seed: int) -> tuple[dict[str, FileFrames], int, list[str]]:
    """Return the structures of every split, how many there are to train on, and in words what was drawn."""
    from distill.structures.divide import complete_splits, keep_subset

    shares = {"test": settings.test_fraction, "valid": settings.valid_fraction}
    files, sentences = complete_splits(data.files, shares, seed)
    available = len(files["train"].frames)
    if settings.n_train is not None:
        files, more = keep_subset(files, settings.n_train, settings.subset, seed)
        sentences += more
    return files, available, sentences


def _judge_division(data: FileData, files: Mapping[str, FileFrames], settings: Check.Settings) -> list[Finding]:
    """Return what is wrong with the splits as they will be used: drawn ones are checked as given ones are."""
    from itertools import combinations

    from distill.structures.check import accepted
    from distill.structures.checks.sets import check_labelled, check_leakage, check_unseen

    findings = []
    for name, file in files.items():
        findings += check_labelled(file, name)
        if name != "train":
            findings += check_unseen(file, files["train"].frames.elements)
    for (name, one), (other_name, other) in combinations(files.items(), 2):
        if not {name, other_name} <= set(data.files):
            findings += check_leakage(one, other)
    return accepted(findings, settings.accept)


def _described(data: FileData, name: str) -> Finding:
    file = data.files[name]
    atoms = f"{len(file.frames)} structures, {len(file.frames.numbers)} atoms of {', '.join(_symbols(file.frames))}"
    vacuum = "" if file.frames.pbc.any() else " in vacuum (no periodic cell)"
    return file.finding("info", "read", f"{atoms}{vacuum}; {data.sources[name].text()}")


def _symbols(frames: Frames) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in frames.elements]


def _summary(
    data: FileData, sets: Mapping[str, Frames], available: int, findings: Sequence[Finding], drawn: list[str]
) -> Summary:
    """Return what was read, in numbers and in one line."""
    sources = data.sources
    elements = sorted({symbol for frames in sets.values() for symbol in _symbols(frames)})
    keys = {name: {q: getattr(source, q) for q in ("energy", "forces", "stress")} for name, source in sources.items()}
    used = {quantity: key for quantity, key in keys["train"].items() if key}
    labels = f"{', '.join(used)} from keys {', '.join(used.values())}"
    counts = ", ".join(f"{len(sets[name])} {name}" for name in SPLITS)
    if len(sets["train"]) < available:
        counts = counts.replace(" train", f" of {available} train")
    noted = [finding for finding in findings if finding.kind != "read"]
    return {
        "headline": f"{counts} structures; {' '.join(elements)}; {labels}",
        "counts": {name: len(sets[name]) for name in SPLITS},
        "available": available,
        "atoms": {name: len(sets[name].numbers) for name in SPLITS},
        "elements": elements,
        "keys": keys,
        "config_types": {name: dict(Counter(sets[name].labels("config_type"))) for name in SPLITS},
        "ranges": {name: _ranges(sets[name]) for name in SPLITS},
        "drawn": drawn,
        "isolated_atoms_eV": data.isolated_atoms,
        "findings": [finding.text() for finding in noted],
    }


def _ranges(frames: Frames) -> dict[str, list[float]]:
    """Return the smallest and largest energy per atom (eV), force (eV/Å) and volume per atom (Å³) of a set."""
    import numpy as np

    values = {
        "energy_per_atom": frames.energy_per_atom,
        "force": np.linalg.norm(np.asarray(frames.forces), axis=1),
        "volume_per_atom": frames.volumes / frames.n_atoms,
    }
    known = {name: value[np.isfinite(value)] for name, value in values.items()}
    return {name: [float(value.min()), float(value.max())] for name, value in known.items() if len(value)}
