"""What a report is made of: plain arrays, numbers and texts, gathered by the report stage from finished artifacts.

Everything but the name may be absent; what is absent leaves its section out of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from distill.analysis.energy_volume import EnergyVolumeFit
from distill.analysis.errors import Difference
from distill.analysis.quantities import StaticResult
from distill.analysis.stability import Verdict
from distill.base.arrays import Array
from distill.reporting.models import VARIANTS, Model
from distill.reporting.physics import Judged, Physics
from distill.reporting.teachers import Teachers


@dataclass(frozen=True)
class Parity:
    """Predictions of one model beside the reference, for ``B`` structures of together ``N`` atoms.

    Attributes:
        of: the model.
        n_atoms: ``[B]``.
        config_type: family of each structure, ``B`` names.
        reference_energy: ``[B]`` eV/atom, or None.
        predicted_energy: ``[B]`` eV/atom, or None.
        reference_forces: ``[N, 3]`` eV/Å, or None.
        predicted_forces: ``[N, 3]`` eV/Å, or None.
    """

    of: Model
    n_atoms: Array
    config_type: Sequence[str]
    reference_energy: Array | None = None
    predicted_energy: Array | None = None
    reference_forces: Array | None = None
    predicted_forces: Array | None = None


@dataclass(frozen=True)
class Curve:
    """How one training went; NaN where a column has no value at a step.

    Attributes:
        of: the model that came out of it.
        step: optimisation steps, ``[S]``.
        train_loss: ``[S]``, dimensionless.
        valid_loss: ``[S]``, dimensionless.
        valid_force_mae: ``[S]`` eV/Å.
        best_step: the step whose weights were kept, or None.
        status: ``"finished"``, or what else became of it.
        seed: which of several seeds.
        note: why it did not finish, one clause.
    """

    of: Model
    step: Array
    train_loss: Array
    valid_loss: Array
    valid_force_mae: Array
    best_step: float | None = None
    status: Literal["finished", "diverged", "failed"] = "finished"
    seed: int = 0
    note: str = ""


@dataclass(frozen=True)
class EnergyVolume:
    """The energy-volume curve of one model.

    Attributes:
        of: the model.
        structure: what was compressed, e.g. ``"diamond silicon"``.
        volumes: ``[P]`` Å³/atom.
        energies: ``[P]`` eV/atom.
        fit: the fit to these points, per atom.
        atoms_per_cell: atoms of the cubic cell whose edge is the lattice constant; None where it is not cubic.
        seed: which of several seeds.
    """

    of: Model
    structure: str
    volumes: Array
    energies: Array
    fit: EnergyVolumeFit
    atoms_per_cell: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Static:
    """What one kind of static physics says of one model, ``seed`` of several."""

    of: Model
    result: StaticResult
    seed: int = 0


@dataclass(frozen=True)
class Dynamics:
    """One molecular-dynamics run.

    Attributes:
        of: the model that drove it.
        name: the simulation, the same for all models, e.g. ``"64 atoms, 300 K"``.
        time_fs: ``[T]`` fs.
        temperature: ``[T]`` K.
        min_distance: shortest distance between two atoms, ``[T]`` Å.
        verdict: whether it survived.
        seed: which of several seeds.
    """

    of: Model
    name: str
    time_fs: Array
    temperature: Array
    min_distance: Array
    verdict: Verdict
    seed: int = 0


@dataclass(frozen=True)
class Growth:
    """How the synthetic structures came to be; ``K`` were kept.

    Attributes:
        generation: steps from the seed structure, ``[K]`` integers, or None.
        displacement: mean displacement of the atoms from the parent structure, ``[K]`` Å, or None.
        displacement_from_seed: likewise from the seed structure of the tree.
        energy: teacher's energy relative to the seed structure of the tree, ``[K]`` eV/atom, or None.
        funnel: how many structures were left after each step, in order, e.g. ``{"proposed": 900, "kept": 300}``.
        teacher_calls: structures that the teacher evaluated, or None.
    """

    generation: Array | None = None
    displacement: Array | None = None
    displacement_from_seed: Array | None = None
    energy: Array | None = None
    funnel: Mapping[str, int] = field(default_factory=dict)
    teacher_calls: int | None = None


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning began with, and what it did to other materials.

    Attributes:
        residual: energy per atom that the shift of the references leaves of each training structure, ``[B]`` eV.
        config_type: family of each structure, ``B`` names.
        reference: what the shift was, in words.
        forgotten: material to the mean absolute change of its forces by fine-tuning, eV/Å; empty without fine-tuning.
        change: the mean of that over all their atoms, eV/Å, or None.
        size: mean absolute force component of these materials before, eV/Å, or None.
        undone: whether the foundation model was kept as it was, because fine-tuning made it worse.
        notes: clauses on how it went: how the method was chosen, whether more steps would have helped.
        of: which of several teachers it is about; empty for a single one.
    """

    residual: Array
    config_type: Sequence[str]
    reference: str
    forgotten: Mapping[str, float] = field(default_factory=dict)
    change: float | None = None
    size: float | None = None
    undone: bool = False
    notes: Sequence[str] = ()
    of: str = ""


@dataclass(frozen=True)
class StageCost:
    """What one task took.

    Attributes:
        task: its readable name, e.g. ``"train painn distilled"``.
        wall_s: seconds of work when it was done, whether now or in an earlier run.
        peak_memory_mib: MiB, or None where it was not measured.
        cached: whether this run took the finished result from the store.
        device: where it ran.
    """

    task: str
    wall_s: float
    peak_memory_mib: float | None = None
    cached: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Speed:
    """How long a step of molecular dynamics takes with one model.

    Attributes:
        of: the model.
        atoms: sizes of the systems that were timed, ``[S]`` integers, ascending.
        ms_per_step: ``[S]`` milliseconds.
        stopped: why no larger system was timed.
    """

    of: Model
    atoms: Array
    ms_per_step: Array
    stopped: str = ""


@dataclass(frozen=True)
class GivenSpeed:
    """Timings of one model of a user's table: its name there, ``[S]`` ascending atoms, ``[S]`` milliseconds a step."""

    name: str
    atoms: Array
    ms_per_step: Array


@dataclass(frozen=True)
class Speeds:
    """All timings.

    Attributes:
        measured: one entry a model.
        given: the user's table, one entry a model of it.
        structure: what was repeated, e.g. ``"Si16"``.
        machine: what it was timed on, e.g. ``"Intel Xeon, 2 threads"``.
        given_on: what the user's table was measured on, or nothing.
    """

    measured: Sequence[Speed]
    given: Sequence[GivenSpeed] = ()
    structure: str = ""
    machine: str = ""
    given_on: str = ""

    def faster(self, model: Model) -> tuple[int, float] | None:
        """Return the largest size at which teacher and model were timed, and how many times faster the model is."""
        of = {speed.of: dict(zip(speed.atoms.tolist(), speed.ms_per_step, strict=True)) for speed in self.measured}
        teacher = of.get(Model("teacher", "finetuned"), {})
        common = teacher.keys() & of.get(model, {}).keys()
        return (max(common), teacher[max(common)] / of[model][max(common)]) if common else None


@dataclass(frozen=True)
class Exported:
    """What became of one student that was taken to other programs.

    Attributes:
        of: the model.
        seed: which of several seeds.
        gate: ``gate.json``; None where it was not run.
        certificate: ``certificate.json``; None where nothing was written.
        folder: of the export, below that of the run; empty where there is none.
    """

    of: Model
    seed: int = 0
    gate: Mapping[str, Any] | None = None
    certificate: Mapping[str, Any] | None = None
    folder: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        name: the run's name.
        recipe_text: the complete recipe, defaults included, as YAML.
        metrics: rows with the columns of ``metrics.csv``; numbers may be text, an absent number is None or empty.
        gains: student to how much the distilled model lowers the force error of the direct one: means over the seeds
            that did not fail, on the same structures.
        parity: predictions on the test set, one entry a model (of several seeds the best by validation).
        curves: one entry a training.
        energy_volume: one entry a model and seed.
        statics: one entry a model, seed and kind of static physics.
        dynamics: one entry a simulation, model and seed.
        physics: the verdicts, and the curves that they rest on, or None.
        speed: milliseconds a step, or None where nothing was timed.
        tuning: reference energies and forgetting; of several teachers those of the first.
        other_tunings: likewise of the others.
        growth: the synthetic structures.
        exports: students that were taken to other programs.
        stages: tasks in the order of the pipeline.
        findings: further sentences for the top of the page.
        warnings: what the user should know.
        versions: package to version.
        hashes: artifact or file to hash.
        teachers: several teachers beside their mean, or None where there is one.
        train_families: families of the DFT structures to train on, with how many there are of each.
        counts: what is counted to how many, e.g. ``{"training structures (DFT)": 25}``.
        created: when, as text.
    """

    name: str
    recipe_text: str = ""
    metrics: Sequence[Mapping[str, Any]] = ()
    gains: Mapping[str, Difference] = field(default_factory=dict)
    parity: Sequence[Parity] = ()
    curves: Sequence[Curve] = ()
    energy_volume: Sequence[EnergyVolume] = ()
    statics: Sequence[Static] = ()
    dynamics: Sequence[Dynamics] = ()
    physics: Physics | None = None
    speed: Speeds | None = None
    tuning: Tuning | None = None
    other_tunings: Sequence[Tuning] = ()
    growth: Growth | None = None
    teachers: Teachers | None = None
    train_families: Mapping[str, int] = field(default_factory=dict)
    exports: Sequence[Exported] = ()
    stages: Sequence[StageCost] = ()
    findings: Sequence[str] = ()
    warnings: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""


Entry = TypeVar("Entry", Curve, EnergyVolume, Static, Dynamics, Judged, Exported)


def name_with_seed(entry: Entry, among: Sequence[Entry]) -> str:
    """Return the label of an entry's model, with its seed where ``among`` holds several seeds of that model."""
    seeds = {other.seed for other in among if other.of == entry.of}
    return f"{entry.of.label}, seed {entry.seed}" if len(seeds) > 1 else entry.of.label


def in_order(models: Sequence[Model]) -> list[Model]:
    """Return the distinct models in the order of the report: the teacher, distilled students, direct students.

    Students keep the order in which they first appear.
    """
    variants = list(VARIANTS)
    names = list(dict.fromkeys(m.model for m in models))

    def rank(m: Model) -> tuple[bool, int, str, int]:
        variant = variants.index(m.variant) if m.variant in variants else len(variants)
        return m.model != "teacher", variant, m.variant, names.index(m.model)

    return sorted(set(models), key=rank)
