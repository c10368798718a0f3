"""Fine-tune the foundation model on the DFT structures: reference energies first, then the weights.

Two potentials come out: ``zero_shot``, the foundation model with nothing but its reference energies moved to the data's
level of theory, and ``model``, the teacher of everything that follows. What fine-tuning does to other materials is
measured along the way.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from distill.base.artifact import Labels, LabelValue
from distill.base.consent import Code
from distill.base.errors import UserError, WorkError
from distill.base.files import copy_tree, read_json, replacing, write_json
from distill.base.random import stream_seed
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
from distill.training.methods import COURSES, METHODS, CrossValidation, Lora, Method, Proximal, Replay

if TYPE_CHECKING:
    from distill.base.progress import Progress
    from distill.potentials.interface.potential import Potential
    from distill.sampling.holes import Holes
    from distill.structures.frames import Frames
    from distill.training.curve import FitResult


class FinetuneSettings(FitSettings):
    """How the teacher is fine-tuned."""

    method: Literal["auto", "naive", "proximal", "lora", "replay"] | None = None
    """naive: all weights are free; proximal: they are pulled back to the published ones; lora: low-rank changes;
    replay: other materials are mixed in; auto: the one that cross-validation over the training structures finds best.
    null: naive, with what of lora, replay and proximal the recipe has."""
    steps: int = Field(1000, ge=1)
    """Optimisation steps at most."""
    batch_size: int = Field(2, ge=1)
    """Structures per step, for each of trainer.devices."""
    learning_rate: float | None = Field(None, gt=0)  # type: ignore[assignment]
    """Peak of the learning rate; null: 0.001, of lora 0.01, of replay 0.0001."""
    average: float | None = Field(None, ge=0, lt=1)  # type: ignore[assignment]
    """Decay of the exponential moving average of the weights, 0 uses the plain weights; null: 0.999, of lora 0.99."""
    clip: float | None = Field(None, ge=0)  # type: ignore[assignment]
    """Largest norm of the gradient, 0 does not clip; null: 1, of lora 10."""
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
    proximal: Proximal | None = None
    """Pull all weights back to the published ones."""
    selection: CrossValidation = CrossValidation()
    """How method: auto chooses."""
    precision: Literal["float32", "float64"] | None = None
    """Floating-point type of the weights, in fine-tuning and afterwards; null keeps that of the foundation model."""
    seeds: int = Field(1, ge=1, le=MOST_SEEDS, exclude=True)
    """How many times it is fine-tuned, each time with another random seed; several teach together as an ensemble."""

    @model_validator(mode="before")
    @classmethod
    def _give_its_section(cls, raw: Any) -> Any:
        """Complete a method that is named without the section that has its settings."""
        method = raw.get("method") if isinstance(raw, dict) else None
        if method in ("proximal", "lora", "replay") and raw.get(method) is None:
            return raw | {method: {}}
        return raw

    @model_validator(mode="after")
    def _naive_is_naive(self) -> Self:
        others = [name for name in METHODS if getattr(self, name, None) is not None]
        if self.method == "naive" and others:
            raise ValueError(f"method: naive frees all weights, and leaves {', '.join(others)} out: write only one")
        return self

    def shortened(self, steps: int) -> FinetuneSettings:
        """Return the settings of a fit of so many steps, validated four times, that nothing else ends."""
        interval = max(1, steps // 4)
        whole = steps - steps % interval
        ends = {"steps": whole, "validation_interval": interval, "patience": None, "max_time": None}
        return self.model_copy(update=ends)

    def by(self, method: Method) -> FinetuneSettings:
        """Return the settings of one of the methods that ``auto`` chooses from."""
        others = {name: None for name in METHODS if name not in (method, "naive")}
        return FinetuneSettings.model_validate(dict(self) | others | {"method": method})

    def arguments(self) -> dict[str, Any]:
        """Return what the fit takes, with the numbers of the method where the recipe has none."""
        course = asdict(COURSES[self.method if self.method in METHODS else "naive"])
        given = super().arguments()
        pull = self.proximal.strength if self.proximal is not None else 0.0
        return given | {name: value for name, value in course.items() if given[name] is None} | {"pull": pull}


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
    holes: Literal["refuse", "warn", "skip"] = "refuse"
    """What becomes of a fine-tuned model that has holes, where atoms come too close, which it had not before: the run
    ends, or goes on with a warning; skip does not look for them."""


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
        _take_up(job)
        holes = _Holes(teacher, train, settings.holes, job)
        shift = summary["reference_shift_eV"]
        chosen, selected = _choose(teacher, train, valid, inputs, shift, settings.trainer, settings.finetune, job)
        replay = _replay(inputs["replay"], chosen, teacher, shift, train)
        fitted, tuned = _fit(teacher, train, valid, replay, settings.trainer, chosen, job)
        tuned["holes"] = holes.judge(teacher) if tuned["kept"] == TUNED else {}
        save(teacher, job.out / "model", {"made_by": tuned["kept"]})
        write_curve(job.out / "curve.csv", fitted.curve)
        job.warnings += fitted.warnings
        tuned |= selected
        return summary | tuned | _outcome(settings, fitted, tuned)


NOT_TUNED = "not fine-tuned"
TUNED, BASE = "fine-tuning", "reference-energy shift"
"""What the potential that is kept was made by."""


def _by_name(section: Any) -> dict[str, TeacherSettings]:
    """Return the teachers of the recipe's ``teacher`` or ``teachers`` section; a single one is called as its model."""
    if isinstance(section, TeacherSettings):
        return {section.model: section}
    teachers = {name: getattr(section, name) for name in type(section).model_fields}
    for (name, one), (other, another) in combinations(teachers.items(), 2):
        if one == another:
            what, remedy = f"{name} and {other} are the same teacher", "For several seeds of one, set finetune.seeds"
            raise UserError(what, where=f"teachers.{other}", remedy=remedy)
    files = {
        name: one.finetune.replay.file if one.finetune and one.finetune.replay else None
        for name, one in teachers.items()
    }
    first = next(iter(teachers))
    for name, file in files.items():
        if file not in (None, files[first]):
            what = f"{name} replays another file than {first}, and only that of the first is compared with the test set"
            raise UserError(
                what, where=f"teachers.{name}.finetune.replay.file", remedy=f"Name the same file at {first}"
            )
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


def _take_up(job: Job) -> None:
    """Continue from the fit of a task that differs in nothing but what becomes of holes, if there is one."""
    left = [one.with_name(f"{one.name}.scratch") for one in job.earlier]
    if not job.scratch.exists() and (found := next((one for one in left if one.is_dir()), None)):
        with suppress(OSError):  # another run may be at work there
            copy_tree(found, job.scratch)


class _Holes:
    """Looks for holes that a teacher has after fine-tuning and had not before; made while it is as it came."""

    def __init__(self, teacher: Potential, structures: Frames, mode: str, job: Job) -> None:
        from distill.sampling.holes import Holes, make_ground

        self.mode, self.job = mode, job
        if mode == "skip":
            return
        self.ground, known = make_ground(structures, job.seed), job.scratch / "holes.json"
        if not known.exists():
            write_json(known, asdict(self._look(teacher)))
        self.base = Holes(**{name: tuple(values) for name, values in read_json(known).items()})

    def _look(self, teacher: Potential) -> Holes:
        from distill.sampling.holes import cost, find_holes

        with self.job.progress.phase("looking for holes", cost(self.ground), "structure") as phase:
            return find_holes(teacher.evaluate, self.ground, phase)

    def judge(self, teacher: Potential) -> Summary:
        """Return what was found, or raise :class:`WorkError` where holes are new and not to be gone on with."""
        from distill.sampling.holes import compare

        if self.mode == "skip":
            return {}
        found = compare(self.ground, self.base, self._look(teacher))
        if found.gained:
            what = f"fine-tuning has given the teacher holes: {'; '.join(found.gained)}"
            remedy = "Set teacher.finetune.method: replay or proximal, take fewer steps or a lower learning rate"
            if self.mode == "refuse":
                raise WorkError(what, "teacher.finetune", f"{remedy}; teacher.holes: warn goes on with it as it is")
            self.job.warnings.append(f"{what}. {remedy}")
        return found.summary()


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


def _outcome(settings: TeacherSettings, fitted: FitResult, tuned: Summary) -> Summary:
    """Return how the fit went, in numbers and in one line."""
    best, course = fitted.best, tuned["convergence"]
    summary: Summary = {"model": settings.model, "status": fitted.status, "steps": fitted.curve[-1].step}
    if best is None:
        return summary | {"headline": f"{settings.model}, {fitted.status}"}
    if tuned["kept"] == BASE:
        return summary | {"headline": f"{settings.model}, as it was: fine-tuning made it worse"}
    method = f" by {chosen}" if (chosen := tuned.get("method", {}).get("chosen")) else ""
    errors = f"{1000 * best.valid_forces_mae:.0f} meV/Å on the validation structures"
    more = {"improving": ", still improving when it ended", "worsening": f", best at step {best.step}"}
    return summary | {
        "seconds": fitted.curve[-1].seconds,
        "best_step": best.step,
        "valid_loss": best.valid_loss,
        "valid_forces_mae": best.valid_forces_mae,
        "valid_energy_mae": best.valid_energy_mae,
        "valid_virial_mae": None if math.isnan(best.valid_virial_mae) else best.valid_virial_mae,
        "headline": f"{settings.model}{method}: {errors}{more.get(course['state'], '')}",
    }


def _choose(
    teacher: Potential,
    train: Frames,
    valid: Frames,
    inputs: Paths,
    shift: dict[str, float],
    trainer: TrainerSettings,
    settings: FinetuneSettings,
    job: Job,
) -> tuple[FinetuneSettings, Summary]:
    """Return the settings of the method to fine-tune by, for ``auto`` the one that cross-validation finds best."""
    from distill.structures.folds import divide_into_folds
    from distill.training.gradient.losses import LossWeights
    from distill.training.selection import Tune, cross_validate, short_steps

    if settings.method != "auto":
        return settings, {}
    folds = divide_into_folds(train, settings.selection.folds, job.seed)
    if not folds:
        job.warnings.append(f"method: auto has nothing to choose by: {NO_FOLDS}; all weights are free")
        return settings.by("naive"), {}
    methods, left_out, replay = _possible(teacher, train, inputs, shift, trainer, settings)
    steps = short_steps(settings.steps, settings.selection.share, len(folds) * len(methods))

    def tune_by(method: Method) -> Tune:
        short = settings.by(method).shortened(steps)
        mixed_in = replay if short.replay else None

        def tune(potential: Potential, own: Frames, work: Path, progress: Progress) -> None:
            _tune(potential, own, valid, mixed_in, trainer, short, replace(job, progress=progress), work)

        return tune

    found = cross_validate(
        teacher,
        train,
        folds,
        {method: tune_by(method) for method in methods},
        steps=settings.shortened(steps).steps,
        weights=LossWeights(**settings.loss.model_dump()),
        isolated_atoms=read_json(inputs["isolated_atoms"]),
        work=job.scratch / "selection",
        progress=job.progress,
        left_out=left_out,
    )
    return settings.by(found.best), {"method": found.summary()}


NO_FOLDS = "the training structures form too few groups of neighbours and near-duplicates to hold some out"


def _possible(
    teacher: Potential,
    train: Frames,
    inputs: Paths,
    shift: dict[str, float],
    trainer: TrainerSettings,
    settings: FinetuneSettings,
) -> tuple[list[Method], dict[str, str], Frames | None]:
    """Return the methods that can be tried, why others cannot, and the structures to replay."""
    from distill.training.gradient.adapt import can_take_lora

    left_out: dict[str, str] = {}
    if trainer.devices > 1:
        left_out["lora"] = "it is fitted on one device"
    elif not can_take_lora(teacher):
        left_out["lora"] = f"{teacher.architecture} has no linear layers to change"
    try:
        replay = _replay(inputs["replay"], settings.by("replay"), teacher, shift, train)
    except UserError as error:
        if inputs["replay"] is not None:
            raise
        left_out["replay"], replay = error.what, None
    return [method for method in METHODS if method not in left_out], left_out, replay


def _tune(
    teacher: Potential,
    train: Frames,
    valid: Frames,
    replay: Frames | None,
    trainer: TrainerSettings,
    settings: FinetuneSettings,
    job: Job,
    work: Path,
) -> tuple[FitResult, int]:
    """Fine-tune in place; returns how it went and how many parameters were fitted."""
    from distill.training.gradient.adapt import add_lora, freeze, merge_lora
    from distill.training.gradient.fit import fit
    from distill.training.gradient.losses import LossWeights
    from distill.training.loggers import Logs

    parameters = freeze(teacher, settings.freeze)
    if settings.lora is not None:
        parameters = add_lora(teacher, settings.lora.rank, settings.lora.alpha, stream_seed(job.seed, "lora"))
    logs = Logs(job.out / "logs", trainer.loggers, " ".join(["teacher", *map(str, job.labels.values())]))
    fitted = fit(
        teacher,
        train,
        valid,
        weights=LossWeights(**settings.loss.model_dump()),
        seed=stream_seed(job.seed, "finetune"),
        replay=replay,
        replay_share=settings.replay.share if settings.replay else 0.0,
        work=work,
        device=job.device,
        progress=job.progress,
        devices=trainer.devices,
        matmul=trainer.matmul,
        logs=logs if work == job.scratch else Logs(),
        **settings.arguments(),
    )
    merge_lora(teacher)
    return fitted, parameters


def _fit(
    teacher: Potential,
    train: Frames,
    valid: Frames,
    replay: Frames | None,
    trainer: TrainerSettings,
    settings: FinetuneSettings,
    job: Job,
) -> tuple[FitResult, Summary]:
    """Fine-tune in place, unless that makes it worse; returns how it went, what was fitted and what was forgotten."""
    from distill.structures.materials import ordinary_materials
    from distill.training.convergence import convergence
    from distill.training.forgetting import forgetting
    from distill.training.gradient.judged import judge_fit
    from distill.training.gradient.losses import LossWeights

    others = ordinary_materials("test", teacher.elements, train.elements)
    before, zero_shot = teacher.evaluate(others), teacher.evaluate(valid)
    start = copy.deepcopy(teacher.state_dict())
    fitted, parameters = _tune(teacher, train, valid, replay, trainer, settings, job, job.scratch)
    weights = LossWeights(**settings.loss.model_dump())
    judged = judge_fit(valid, zero_shot, teacher.evaluate(valid), weights)
    job.warnings += judged.warnings
    if judged.worse:
        teacher.load_state_dict(start)
    course = convergence(fitted.curve)
    forgotten = asdict(forgetting(before, teacher.evaluate(others))) if len(others) else None
    return fitted, {
        "kept": BASE if judged.worse else TUNED,
        "zero_shot_loss": judged.before if math.isfinite(judged.before) else None,
        "parameters_fitted": parameters,
        "replayed": len(replay or ()),
        "forgetting": forgotten,
        "convergence": course.summary(),
    }
