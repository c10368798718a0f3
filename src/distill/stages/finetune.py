"""Fine-tune the foundation model on the DFT structures: reference energies first, then the weights.

Two potentials come out: ``zero_shot``, the foundation model with nothing but its reference energies moved to the data's
level of theory, and ``model``, the teacher of everything that follows. What fine-tuning does to other materials is
measured along the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from distill.base.artifact import Labels, LabelValue
from distill.base.consent import Code
from distill.base.errors import UserError
from distill.base.files import read_json, replacing
from distill.base.random import stream_seed
from distill.base.settings import Settings
from distill.potentials.base import TeacherSource
from distill.stages.base import (
    FitSettings,
    InputSpecs,
    Job,
    LossSettings,
    Paths,
    Stage,
    StageSettings,
    Summary,
    TrainedSettings,
    TrainerSettings,
)
from distill.stages.students import MOST_SEEDS

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames
    from distill.training.curve import FitResult


class Lora(Settings):
    """Low-rank changes of the linear layers instead of free weights."""

    rank: int = Field(4, ge=1)
    """Rank of the change of each weight matrix."""
    alpha: float = Field(8.0, gt=0)
    """The change is multiplied by alpha / rank."""


class Replay(Settings):
    """Structures of other materials, mixed in so that the model does not forget them."""

    share: float = Field(0.2, gt=0, lt=1)
    """Their share of the structures that are learnt from."""
    file: str | None = Field(None, exclude=True)
    """Extended XYZ file: labels, where it has any, are of the model's own level of theory, otherwise the model before
    fine-tuning gives them; absent: a built-in set of ordinary crystals and molecules."""


class FinetuneSettings(FitSettings):
    """How the teacher is fine-tuned."""

    steps: int = Field(1000, ge=1)
    """Optimisation steps at most."""
    batch_size: int = Field(2, ge=1)
    """Structures per step, for each of trainer.devices."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak of the learning rate."""
    schedule: Literal["cosine", "plateau"] = "plateau"
    """cosine: a linear rise over 5 % of the steps, then a fall to 1 %; plateau: falls when validation stagnates."""
    validation_interval: int | None = Field(None, ge=1)
    """Steps between two validations; null: one pass over the structures."""
    loss: LossSettings = LossSettings(energy=1.0, huber=0.1)
    """Weights of energy, forces and virial."""
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()  # lists of a recipe arrive as lists here
    """Parts of the network that stay as they are, by name, for instance [elements, atom_layers.0]."""
    lora: Lora | None = None
    """Fit low-rank changes of the linear layers only."""
    replay: Replay | None = None
    """Mix in structures of other materials."""
    precision: Literal["float32", "float64"] | None = None
    """Floating-point type of the weights, in fine-tuning and afterwards; null keeps that of the foundation model."""
    seeds: int = Field(1, ge=1, le=MOST_SEEDS, exclude=True)
    """How many times it is fine-tuned, each time with another random seed; several teach together as an ensemble."""


class TeacherSettings(StageSettings):
    """Which foundation model teaches, and how it is fine-tuned."""

    model: str = "chgnet-0.3"
    """Name of the foundation model, or mace:<file>, graph-pes:<file>, ase:<module:function>; see: distill models."""
    function: str = ""
    """Filled in from ase:<module:function>."""
    environment: str | None = None
    """Python interpreter in which the model runs, where its packages conflict with ours; see: distill doctor."""
    finetune: FinetuneSettings | None = FinetuneSettings()
    """How it is fine-tuned; null uses it as it is, with shifted reference energies."""


class Teacher(TeacherSettings):
    """The recipe's ``teacher`` section, which names a file; the results depend on what is in it."""

    file: str | None = None
    """Filled in from mace:<file> and the like."""

    @model_validator(mode="before")
    @classmethod
    def _take_apart(cls, raw: Any) -> Any:
        """Divide ``mace:my.model`` and ``ase:my_calculators.py:make`` into name, file and function."""
        if not isinstance(raw, dict) or not isinstance(raw.get("model", ""), str):
            return raw
        if ":" not in raw.get("model", ""):
            return raw
        source = TeacherSource.named(raw["model"])
        file = {} if source.file is None else {"file": str(source.file)}
        return raw | {"model": source.model, "function": source.function} | file


class LabelOnly(Teacher):
    """The section of a teacher that is used as it is."""

    finetune: FinetuneSettings | None = None
    """Not possible with this teacher."""


class Finetune(Stage):
    """Move the teacher to the data's reference energies and fine-tune it; the best validation loss is kept."""

    class Settings(TeacherSettings, TrainedSettings):
        """Which foundation model teaches, and how and on what it is fine-tuned."""

        @model_validator(mode="after")
        def _lora_is_fitted_alone(self) -> Self:
            """Refuse what cannot be passed on to other processes."""
            if self.finetune is None or self.finetune.lora is None:
                return self
            if self.environment is not None:
                raise ValueError("finetune.lora changes networks of this interpreter: leave it out, or freeze parts")
            if self.trainer.devices > 1:
                raise ValueError("finetune.lora is fitted on one device: set trainer.devices: 1, or leave lora out")
            return self

    version: ClassVar[int] = 4
    section: ClassVar[str] = "teacher"
    plural: ClassVar[str] = "teachers"
    shared: ClassVar[Mapping[str, type[StageSettings]]] = {"trainer": TrainerSettings}
    reads: ClassVar[Mapping[str, str]] = {"trainer": "trainer"}
    inputs: ClassVar[InputSpecs] = {
        "train": "check.train",
        "valid": "check.valid",
        "isolated_atoms": "check.isolated_atoms",
        "file": "recipe:teacher.file",
        "replay": "recipe:teacher.finetune.replay.file",
    }
    outputs: ClassVar[dict[str, str]] = {
        "model": "model",
        "zero_shot": "zero_shot",
        "curve": "curve.csv",
        "reference": "reference.csv",
    }
    publish: ClassVar[dict[str, str]] = {"model": "models/teacher{suffix}"}

    @classmethod
    def fan_out(cls, section: Any) -> list[dict[str, LabelValue]]:
        """Return the labels of every teacher and seed; a single one has none."""
        teachers = _by_name(section)
        seeds = {name: one.finetune.seeds if one.finetune else 1 for name, one in teachers.items()}
        members: list[dict[str, LabelValue]] = [
            {"teacher": name, "seed": k} for name in teachers for k in range(seeds[name])
        ]
        if len(members) > MOST_SEEDS:
            raise UserError(f"{len(members)} teachers, seeds counted", cls.plural, f"Give at most {MOST_SEEDS}")
        return members if len(members) > 1 else [{}]

    @classmethod
    def select(cls, section: Any, labels: Labels) -> dict[str, Any]:
        """Return the settings of the labelled teacher."""
        teachers = _by_name(section)
        return super().select(teachers[str(labels.get("teacher", next(iter(teachers))))], labels)

    @classmethod
    def hashed(cls, labels: Labels) -> dict[str, LabelValue]:
        """Return the seed, unless it is the first: a teacher is the same whether it teaches alone or among others."""
        return {"seed": seed} if (seed := labels.get("seed", 0)) else {}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the section's type, once the teacher is known to exist and to do what is asked of it.

        A teacher that cannot be fitted here is not fine-tuned unless the recipe asks for it, which is refused.
        """
        given = raw if isinstance(raw, dict) else {}
        model = given.get("model")
        if not isinstance(model, str):
            return Teacher
        source = TeacherSource.named(model, given.get("environment"))
        if ":" not in model:  # it has been taken apart before
            file = Path(given["file"]) if given.get("file") else None
            source = replace(source, file=file, function=given.get("function", ""))
        source.check()
        row = source.row
        if row.trains and (row.fits_elsewhere or not given.get("environment")):
            return Teacher
        if given.get("finetune") is not None:
            why = (
                "in another interpreter it only labels and generates" if row.trains else "it only labels and generates"
            )
            raise UserError(f"{model} cannot be fine-tuned: {why}", "teacher.finetune", "Remove it, or write null")
        return LabelOnly

    @classmethod
    def code(cls, files: Mapping[str, Path], settings: Settings) -> tuple[Code, ...]:
        """Return the teacher where it is a function, a file or in another interpreter."""
        return TeacherSource(settings.model, files.get("file"), settings.function, settings.environment).code()

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write both potentials, the residuals of the energies and the learning curve."""
        from distill.potentials.interface.saving import save
        from distill.structures.read import read_frames
        from distill.training.curve import write_curve
        from distill.training.gradient.distributed import check_devices

        check_devices(job.device, settings.trainer.devices)
        job = _of_member(job)
        train, valid = read_frames(inputs["train"])[0], read_frames(inputs["valid"])[0]
        teacher = _open(inputs, settings, job)
        if "derivatives" in teacher.violated_symmetries:
            job.warnings.append(
                f"{settings.model} predicts forces that are not the gradient of its energy: good enough to label and "
                "to generate, but no dynamics with it conserves energy; students are conservative all the same"
            )
        if "smoothness" in teacher.violated_symmetries:
            job.warnings.append(
                f"the energy of {settings.model} is not smooth at perfect crystals: its force constants depend on the "
                "displacement, so that phonons by it are uncertain; students are smooth"
            )
        summary = _move_reference(teacher, train, read_json(inputs["isolated_atoms"]), job)
        save(teacher, job.out / "zero_shot", {"made_by": "reference-energy shift"})
        if settings.finetune is None:
            save(teacher, job.out / "model", {"made_by": "reference-energy shift"})
            write_curve(job.out / "curve.csv", [])
            return summary | {
                "model": settings.model,
                "status": NOT_TUNED,
                "headline": f"{':'.join(filter(None, (settings.model, settings.function)))}, {NOT_TUNED}",
            }
        replay = _replay(inputs["replay"], settings.finetune, teacher, summary["reference_shift_eV"], train)
        fitted, tuned = _fit(teacher, train, valid, replay, settings.trainer, settings.finetune, job)
        save(teacher, job.out / "model", {"made_by": "fine-tuning"})
        write_curve(job.out / "curve.csv", fitted.curve)
        job.warnings += fitted.warnings
        return summary | tuned | _outcome(settings, fitted)


NOT_TUNED = "not fine-tuned"


def _by_name(section: Any) -> dict[str, TeacherSettings]:
    """Return the teachers of the recipe's ``teacher`` or ``teachers`` section; a single one is called as its model."""
    if isinstance(section, TeacherSettings):
        return {section.model: section}
    teachers = {name: getattr(section, name) for name in type(section).model_fields}
    for (name, one), (other, another) in combinations(teachers.items(), 2):
        if one == another:
            what, remedy = f"{name} and {other} are the same teacher", "For several seeds of one, set finetune.seeds"
            raise UserError(what, where=f"teachers.{other}", remedy=remedy)
    return teachers


def _of_member(job: Job) -> Job:
    """Return the job of one of several seeds of a teacher: the first draws as a single one does."""
    seed = int(job.labels.get("seed", 0))
    return replace(job, seed=stream_seed(job.seed, "seed of the teacher", seed)) if seed else job


def _open(inputs: Paths, settings: TeacherSettings, job: Job) -> Potential:
    """Return the foundation model in the precision asked for."""
    from distill.potentials.teachers.weights import reporting

    source = TeacherSource(settings.model, inputs["file"], settings.function, settings.environment)
    with reporting(job.progress):
        teacher = source.open(stream_seed(job.seed, "teacher"))
    if settings.finetune is not None and settings.finetune.precision is not None:
        teacher.in_precision(settings.finetune.precision)
    return teacher.to(job.device)


def _move_reference(teacher: Potential, train: Frames, isolated: dict[str, float], job: Job) -> Summary:
    """Shift the reference energies, write what that leaves of each energy, and return both in numbers."""
    import csv

    import numpy as np

    from distill.training.reference_energies import shift_reference

    shift = shift_reference(teacher, train, isolated)
    with replacing(job.out / "reference.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "config_type", "residual_eV_per_atom"])
        writer.writerows(zip(range(len(train)), train.labels("config_type"), map(float, shift.residual), strict=True))
    if shift.mixed or shift.undetermined:
        job.warnings.append(shift.text().rstrip("."))
    return {
        "reference_shift_eV": shift.shift,
        "reference_text": shift.text(),
        "reference_shift_determined": shift.determined,
        "reference_residual_max_eV_per_atom": float(np.nanmax(abs(shift.residual))),
    }


def _replay(
    file: Path | None, settings: FinetuneSettings, teacher: Potential, shift: dict[str, float], train: Frames
) -> Frames | None:
    """Return the labelled structures of other materials to mix in, or None."""
    from distill.structures.read import read_frames
    from distill.structures.validity import meant_labels
    from distill.training.forgetting import to_replay

    if settings.replay is None:
        return None
    given = meant_labels(read_frames(file, labels="optional")[0], str(file))[0] if file else None
    return to_replay(teacher, given, shift, train)


def _fit(
    teacher: Potential,
    train: Frames,
    valid: Frames,
    replay: Frames | None,
    trainer: TrainerSettings,
    settings: FinetuneSettings,
    job: Job,
) -> tuple[FitResult, Summary]:
    """Fine-tune in place; returns how it went, and in numbers what was fitted and what was forgotten."""
    from distill.structures.materials import ordinary_materials
    from distill.training.forgetting import forgetting
    from distill.training.gradient.adapt import add_lora, freeze, merge_lora
    from distill.training.gradient.fit import fit
    from distill.training.gradient.losses import LossWeights
    from distill.training.loggers import Logs
    from distill.training.worsened import worsened

    others = ordinary_materials("test", teacher.elements, train.elements)
    before, zero_shot = teacher.evaluate(others), teacher.evaluate(valid)
    parameters = freeze(teacher, settings.freeze)
    if settings.lora is not None:
        parameters = add_lora(teacher, settings.lora.rank, settings.lora.alpha, stream_seed(job.seed, "lora"))
    fitted = fit(
        teacher,
        train,
        valid,
        weights=LossWeights(**settings.loss.model_dump()),
        seed=stream_seed(job.seed, "finetune"),
        replay=replay,
        replay_share=settings.replay.share if settings.replay else 0.0,
        work=job.scratch,
        device=job.device,
        progress=job.progress,
        devices=trainer.devices,
        matmul=trainer.matmul,
        logs=Logs(job.out / "logs", trainer.loggers, " ".join(["teacher", *map(str, job.labels.values())])),
        **settings.arguments(),
    )
    merge_lora(teacher)
    job.warnings += worsened(valid, zero_shot, teacher.evaluate(valid))
    forgotten = asdict(forgetting(before, teacher.evaluate(others))) if len(others) else None
    return fitted, {"parameters_fitted": parameters, "replayed": len(replay or ()), "forgetting": forgotten}


def _outcome(settings: TeacherSettings, fitted: FitResult) -> Summary:
    """Return how the fit went, in numbers and in one line."""
    best = fitted.best
    summary: Summary = {"model": settings.model, "status": fitted.status, "steps": fitted.curve[-1].step}
    if best is None:
        return summary | {"headline": f"{settings.model}, {fitted.status}"}
    return summary | {
        "seconds": fitted.curve[-1].seconds,
        "best_step": best.step,
        "valid_loss": best.valid_loss,
        "valid_forces_mae": best.valid_forces_mae,
        "valid_energy_mae": best.valid_energy_mae,
        "valid_virial_mae": None if math.isnan(best.valid_virial_mae) else best.valid_virial_mae,
        "headline": f"{settings.model}: {1000 * best.valid_forces_mae:.0f} meV/Å on the validation structures",
    }
