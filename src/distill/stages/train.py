"""Train the students: each on the teacher's synthetic data, and, as the baseline, directly on the DFT structures.

Both variants have the same architecture, settings and number of optimisation steps; only the data differ. Where the
recipe says so, a third is the distilled one, refined on the DFT structures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from distill.base.artifact import Labels, LabelValue
from distill.base.consent import Code
from distill.base.errors import UserError
from distill.base.licences import research_only
from distill.base.settings import Settings as BaseSettings
from distill.base.settings import compose
from distill.potentials import student_names, student_row
from distill.potentials.students.custom import check_module
from distill.potentials.students.pretrained import check_pretrained
from distill.stages.base import (
    Compile,
    FitSettings,
    InputSpecs,
    Job,
    Paths,
    Stage,
    StageSettings,
    Summary,
    TrainedSettings,
    TrainerSettings,
)
from distill.stages.fitting import fit_expansion, fit_network, labels_learnt, material_of
from distill.stages.students import StudentExtent, Synthetic, refuse_many, refuse_student, trained
from distill.training.ace.settings import PacemakerFit
from distill.training.drawn import DrawSettings
from distill.training.refinement import RefinedExpansion, RefinedNetwork

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
    from distill.training.curve import FitResult


REFINEMENTS = {"gradient": RefinedNetwork, "pacemaker": RefinedExpansion}
"""How a student is refined, by what trains it."""


class Train(Stage):
    """One task for each student, variant (``distilled``, ``refined`` or ``direct``) and seed."""

    class Settings(FitSettings):
        """How a student is fitted."""

        arch: str
        """Architecture; ``distill models`` lists them."""
        steps: int = Field(3000, ge=1)
        """Optimisation steps at most."""
        optimiser: Literal["adamw", "muon", "soap"] = "muon"
        """muon, which makes the updates of weight matrices orthogonal and needs fewer steps; soap, which is Adam in a
        basis that follows the gradients of each matrix; or adamw. Each wants a learning rate of its own: soap and
        adamw about 0.004."""
        learning_rate: float = Field(1e-2, gt=0)
        """Peak of the learning rate."""
        start: Literal["pretrained"] | None = None
        """pretrained: begin with weights that have seen many elements (painn of the default size) instead of with
        random ones; what has to be learnt is the material alone."""
        compile: Compile = False
        """Compile the network first (painn, tensornet), which takes about a minute: steps are then twice as fast."""

        @model_validator(mode="after")
        def _start_exists(self) -> Self:
            """Refuse a network that there are no pretrained weights of."""
            if self.start is not None:
                check_pretrained(self.arch, self.model_dump())
            return self

    version: ClassVar[int] = 3
    section: ClassVar[str] = "students"
    inputs: ClassVar[InputSpecs] = {
        "train": {"distilled": "label.train", "refined": "check.train", "direct": "check.train"},
        "valid": {"distilled": "label.valid", "refined": "check.valid", "direct": "check.valid"},
        "start": {"refined": "train.model@distilled"},
        "synthetic": {"refined": "label.train"},
        "train_targets": {"distilled": "label.train_targets"},
        "valid_targets": {"distilled": "label.valid_targets"},
        "teacher": {"distilled": "ensemble.model", "refined": "ensemble.model"},  # who taught it, for what is saved
        "data": "check",
    }
    outputs: ClassVar[dict[str, str]] = {"model": "model", "curve": "curve.csv"}
    publish: ClassVar[dict[str, str]] = {"model": "models/{student}{suffix}"}
    shared: ClassVar[Mapping[str, type[StageSettings]]] = {"trainer": TrainerSettings}
    reads: ClassVar[Mapping[str, str]] = {
        "trainer": "trainer",
        "atomic_energies": "synthetic.atomic_energies",
        "hessian": "synthetic.hessian",
        "grown": "synthetic.structures",
        "valid_fraction": "synthetic.valid_fraction",
    }
    hashed_labels: ClassVar[tuple[str, ...]] = ("variant", "seed")

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return a model with one field per student, typed by the student's architecture."""
        if not isinstance(raw, Mapping) or not raw:
            raise UserError(
                "students must map at least one name to its settings",
                where="students",
                remedy="For example students: {painn: {arch: painn, cutoff: 5.0}}",
            )
        refuse_many(len(raw))
        fields: dict[str, Any] = {}
        for name, entry in raw.items():
            refuse_student(name)
            cls._check_ready(name, entry)
            own = cls._class(entry["arch"])
            refinement = REFINEMENTS[student_row(entry["arch"]).trainer]
            fields[name] = compose(f"Student_{name}", own, refinement, DrawSettings, StudentExtent)
        return compose("Students", StageSettings, **fields)

    @classmethod
    def _check_ready(cls, name: str, entry: Any) -> None:
        """Refuse a student that is not known, whose packages are missing, or that cannot be compiled as asked."""
        arch = entry.get("arch") if isinstance(entry, Mapping) else None
        where = f"students.{name}.arch"
        if not isinstance(arch, str):
            raise UserError("the architecture is missing", where=where, remedy=f"One of {', '.join(student_names())}")
        try:
            row = student_row(arch)
            if ":" in arch:
                check_module(arch)
            row.check_ready(entry)
            if entry.get("compile") and not row.compiles:
                where = f"students.{name}.compile"
                raise UserError(f"{arch} cannot be compiled", remedy="Leave it out")
        except UserError as error:
            raise UserError(error.what, where=where, remedy=error.remedy) from None

    @classmethod
    def _class(cls, arch: str) -> type[BaseSettings]:
        """Return the settings of an architecture and of its fit."""
        row = student_row(arch)
        return compose(f"{row.name}_student", row.Settings, cls._fits()[row.trainer])

    @classmethod
    def _fits(cls) -> dict[str, type[BaseSettings]]:
        """Return the settings of each way to fit."""
        return {"gradient": cls.Settings, "pacemaker": PacemakerFit}

    @classmethod
    def fan_out(cls, section: BaseModel, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return one set of labels for each student, variant and seed."""
        return trained(section)

    @classmethod
    def settings_class(cls, values: Mapping[str, Any], labels: Labels) -> type[BaseSettings]:
        """Return the settings of the labelled student: its architecture's, those of the fit, and what it reads.

        How it is refined is part of them only for the refined one, and what is drawn of the synthetic structures not
        for the direct one: the others do not depend on it.
        """
        arch, variant = values["arch"], labels["variant"]
        own = cls._class(arch)
        more = (REFINEMENTS[student_row(arch).trainer],) if variant == "refined" else ()
        drawn = (DrawSettings,) if variant != "direct" else ()
        return compose(own.__name__, own, *more, *drawn, Synthetic, TrainedSettings)

    @classmethod
    def select(cls, section: BaseModel, labels: Labels) -> dict[str, Any]:
        """Return the settings of the labelled student."""
        student = getattr(section, str(labels["student"]))
        fields = cls.settings_class({"arch": student.arch}, labels).model_fields
        return {name: getattr(student, name) for name in fields if name not in cls.reads}

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Return that the packages of the architecture are for research alone, where they are."""
        row = student_row(settings.arch)
        return research_only(f"the packages that {settings.arch} students need", row.licence)

    @classmethod
    def code(cls, files: Mapping[str, Path], settings: Any) -> tuple[Code, ...]:
        """Return the class of a network of the user's, or the interpreter that a student runs in."""
        if ":" in settings.arch:
            return (Code(student_row(settings.arch).name, settings.arch),)
        environment = getattr(settings, "environment", None)
        return (Code(student_row(settings.arch).name, environment=environment),) if environment else ()

    def run(self, inputs: Paths, settings: Any, job: Job) -> Summary:
        """Write the trained potential and its learning curve."""
        from distill.potentials.interface.provenance import provenance
        from distill.potentials.interface.saving import save
        from distill.training.baseline import no_better_than_nothing
        from distill.training.curve import write_curve

        row, material = student_row(settings.arch), material_of(inputs, settings, job)
        fit = fit_expansion if row.trainer == "pacemaker" else fit_network
        student, fitted, facts = fit(material, inputs, settings, job)
        train, valid = material.train, material.valid
        made = {"made_by": f"{job.labels['variant']} training", "structures": len(train)}
        made |= provenance(row.licence, inputs["teacher"], inputs["data"].manifest["inputs"], job.hash)
        save(student, job.out / "model", made)
        write_curve(job.out / "curve.csv", fitted.curve)
        job.warnings += fitted.warnings
        if fitted.status == "diverged":
            job.warnings.append("training diverged: lower learning_rate; the best weights before were kept")
        counted = valid.n_atoms > 2 if row.trainer == "pacemaker" else None  # ACE fits dimers to their forces alone
        job.warnings += no_better_than_nothing(fitted, train, valid, counted)
        facts |= {"train_labels": labels_learnt(train, settings)}
        return self._summary(student, fitted, len(train), len(valid)) | facts

    @staticmethod
    def _summary(student: Potential, fitted: FitResult, n_train: int, n_valid: int) -> Summary:
        best = fitted.best
        error = f"{1000 * best.valid_forces_mae:.0f} meV/Å on validation" if best else "no finite validation loss"
        return {
            "status": fitted.status,
            "parameters": student.n_parameters,
            "train_structures": n_train,
            "valid_structures": n_valid,
            "steps": fitted.curve[-1].step if fitted.curve else 0,
            "best_step": best.step if best else None,
            "valid_forces_mae": best.valid_forces_mae if best else None,
            "valid_energy_mae": best.valid_energy_mae if best else None,
            "valid_loss": best.valid_loss if best and math.isfinite(best.valid_loss) else None,
            "headline": f"{fitted.status}, {error}",
        }
