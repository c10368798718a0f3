"""Fine-tune the foundation model on the DFT structures: reference energies first, then the weights.

Two potentials come out: ``zero_shot``, the foundation model with nothing but its reference energies moved to the data's
level of theory, and ``model``, the teacher of everything that follows. What fine-tuning does to other materials is
measured along the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from distill.base.artifact import Labels, LabelValue
from distill.base.consent import Code
from distill.base.errors import UserError
from distill.base.files import read_json, replacing
from distill.base.licences import research_only
from distill.base.random import stream_seed
from distill.potentials.base import TeacherSource
from distill.stages.base import (
    InputSpecs,
    Job,
    Paths,
    Stage,
    StageSettings,
    Summary,
    TrainedSettings,
    TrainerSettings,
)
from distill.stages.members import members, of_member, teachers_by_name
from distill.stages.teacher import LabelOnly, Teacher, TeacherSettings
from distill.stages.tuning import TUNED, HoleSearch, choose, fit_teacher, labelled_replay, outcome, take_up

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames


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

    version: ClassVar[int] = 5
    extends: ClassVar[tuple[str, ...]] = ("holes",)
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
    def fan_out(cls, section: Any, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return the labels of every teacher and seed; a single one has none."""
        return members(teachers_by_name(section))

    @classmethod
    def select(cls, section: Any, labels: Labels) -> dict[str, Any]:
        """Return the settings of the labelled teacher."""
        teachers = teachers_by_name(section)
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
    def notes(cls, settings: Settings) -> tuple[str, ...]:
        """Return that the weights are for research alone, where they are."""
        return research_only(f"the weights of {settings.model}", TeacherSource(settings.model).row.licence)

    @classmethod
    def code(cls, files: Mapping[str, Path], settings: Settings) -> tuple[Code, ...]:
        """Return the teacher where it is a function, a file or in another interpreter."""
        return TeacherSource(settings.model, files.get("file"), settings.function, settings.environment).code()

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write both potentials, the residuals of the energies and the learning curve."""
        from distill.analysis.objective import objective_errors
        from distill.potentials.interface.saving import save
        from distill.structures.read import read_frames
        from distill.training.curve import write_curve
        from distill.training.gradient.distributed import check_devices

        check_devices(job.device, settings.trainer.devices)
        job = of_member(job)
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
        take_up(job)
        holes = HoleSearch(teacher, train, settings.holes, job)
        shift = summary["reference_shift_eV"]
        chosen, selected = choose(teacher, train, valid, inputs, shift, settings.trainer, settings.finetune, job)
        replay = labelled_replay(inputs["replay"], chosen, teacher, shift, train)
        fitted, tuned = fit_teacher(teacher, train, valid, replay, settings.trainer, chosen, job)
        tuned |= objective_errors(valid, teacher.evaluate(valid))
        tuned["holes"] = holes.judge(teacher) if tuned["kept"] == TUNED else {}
        save(teacher, job.out / "model", {"made_by": tuned["kept"]})
        write_curve(job.out / "curve.csv", fitted.curve)
        job.warnings += fitted.warnings
        tuned |= selected
        return summary | tuned | outcome(settings, fitted, tuned)


NOT_TUNED = "not fine-tuned"


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
