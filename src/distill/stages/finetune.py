"""Fine-tune the foundation model on the DFT structures: reference energies first, then the weights.

Two potentials come out: ``zero_shot``, the foundation model with nothing but its reference energies moved to the data's
level of theory, and ``model``, the teacher of everything that follows.
"""

from __future__ import annotations

import math
import shutil
from typing import Any, ClassVar

from pydantic import Field, model_validator

from distill.base.errors import UserError
from distill.base.random import stream_seed
from distill.potentials import POTENTIALS, teacher_row
from distill.stages.base import FitSettings, Job, LossSettings, Paths, Stage, StageSettings, Summary


class FinetuneSettings(FitSettings):
    """How the teacher is fine-tuned."""

    steps: int = Field(300, ge=1)
    """Optimisation steps at most."""
    batch_size: int = Field(2, ge=1)
    """Structures per step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak of the learning rate, which rises linearly and falls as a cosine."""
    steps_per_round: int = Field(25, ge=1)
    """Steps between two validations."""
    loss: LossSettings = LossSettings(energy=1.0, huber=0.1)
    """Weights of energy, forces and virial."""


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
        name, _, argument = raw.get("model", "").partition(":")
        if not argument:
            return raw
        file, function = (argument, "") if POTENTIALS[name].argument == "file" else _function(argument)
        return raw | {"model": name, "function": function} | ({"file": file} if file else {})


def _function(argument: str) -> tuple[str, str]:
    """Return the Python file and function of ``calculators.py:make``, or no file and ``module:function``."""
    file, _, function = argument.rpartition(":")
    return (file, function) if file.endswith(".py") else ("", argument)


class LabelOnly(Teacher):
    """The section of a teacher that is used as it is."""

    finetune: FinetuneSettings | None = None
    """Not possible with this teacher."""


class Finetune(Stage):
    """Move the teacher to the data's reference energies and fine-tune it; the best validation loss is kept."""

    Settings = TeacherSettings

    section: ClassVar[str] = "teacher"
    inputs: ClassVar[dict[str, Any]] = {
        "train": "check.train",
        "valid": "check.valid",
        "file": "recipe:teacher.file",
    }
    outputs: ClassVar[dict[str, str]] = {
        "model": "model",
        "zero_shot": "zero_shot",
        "curve": "curve.csv",
    }
    publish: ClassVar[dict[str, str]] = {"model": "models/teacher"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the section's type, once the teacher is known to exist and to do what is asked of it.

        A teacher that cannot be fitted here is not fine-tuned unless the recipe asks for it, which is refused.
        """
        given = raw if isinstance(raw, dict) else {}
        model = given.get("model")
        if not isinstance(model, str):
            return Teacher
        row = teacher_row(model)
        if row.argument and ":" not in model and not given.get("file"):
            raise UserError(f"{model} needs a {row.argument}", "teacher.model", f"Write {model}:<{row.argument}>")
        if row.own_environment and not given.get("environment"):
            where, remedy = "teacher.environment", "Give its Python interpreter; distill doctor says how to make one"
            raise UserError(f"{model} runs in an environment of its own", where, remedy)
        if row.trains and not given.get("environment"):
            return Teacher
        if given.get("finetune") is not None:
            why = "it runs in another interpreter" if row.trains else "it only labels and generates"
            raise UserError(f"{model} cannot be fine-tuned: {why}", "teacher.finetune", "Remove it, or write null")
        return LabelOnly

    def run(self, inputs: Paths, settings: TeacherSettings, job: Job) -> Summary:
        """Write both potentials and the learning curve; the summary has the shift and the validation errors."""
        from distill.potentials.potential import save
        from distill.potentials.teachers import open_teacher
        from distill.structures.read import read_frames
        from distill.training.curve import FitResult, write_curve
        from distill.training.reference_energies import shift_reference

        train, valid = read_frames(inputs["train"])[0], read_frames(inputs["valid"])[0]
        teacher = open_teacher(
            settings.model,
            stream_seed(job.seed, "teacher"),
            file=inputs["file"],
            function=settings.function,
            environment=settings.environment,
        ).to(job.device)
        shift = shift_reference(teacher, train)
        save(teacher, job.out / "zero_shot", {"made_by": "reference-energy shift"})
        fitted = FitResult()
        if settings.finetune is not None:
            fitted = self._fit(teacher, train, valid, settings.finetune, job)
        save(teacher, job.out / "model", {"made_by": "fine-tuning" if settings.finetune else "reference-energy shift"})
        write_curve(job.out / "curve.csv", fitted.curve)
        shutil.rmtree(job.out / "work", ignore_errors=True)
        return self._summary(settings, shift, fitted)

    @staticmethod
    def _fit(teacher: Any, train: Any, valid: Any, settings: FinetuneSettings, job: Job) -> Any:
        from distill.training.gradient import fit
        from distill.training.losses import LossWeights

        return fit(
            teacher,
            train,
            valid,
            weights=LossWeights(**settings.loss.model_dump()),
            seed=stream_seed(job.seed, "finetune"),
            work=job.out / "work",
            device=job.device,
            progress=job.progress,
            **settings.arguments(),
        )

    @staticmethod
    def _summary(settings: TeacherSettings, shift: Any, fitted: Any) -> Summary:
        best = fitted.best
        summary: Summary = {
            "model": settings.model,
            "reference_shift_eV": shift.shift,
            "reference_shift_determined": shift.determined,
            "reference_residual_max_eV_per_atom": float(abs(shift.residual).max()),
            "status": fitted.status if settings.finetune else "not fine-tuned",
        }
        if best is None:
            return summary | {"headline": f"{settings.model}, {summary['status']}"}
        return summary | {
            "best_step": best.step,
            "valid_loss": best.valid_loss,
            "valid_forces_mae": best.valid_forces_mae,
            "valid_energy_mae": best.valid_energy_mae,
            "valid_virial_mae": None if math.isnan(best.valid_virial_mae) else best.valid_virial_mae,
            "headline": f"{settings.model}: {1000 * best.valid_forces_mae:.0f} meV/Å on the validation structures",
        }
