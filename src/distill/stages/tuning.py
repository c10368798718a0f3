"""How the stage that fine-tunes does it: choose a method, fit, undo what does not help, and look for new holes."""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import UserError, WorkError
from distill.base.files import copy_tree, read_json, write_json
from distill.base.random import stream_seed
from distill.stages.base import Job, Paths, Summary, TrainerSettings
from distill.stages.teacher import FinetuneSettings, TeacherSettings
from distill.training.methods import METHODS, Method, short_steps

if TYPE_CHECKING:
    from distill.base.progress import Progress
    from distill.potentials.interface.potential import Potential
    from distill.sampling.holes import Holes
    from distill.structures.frames import Frames
    from distill.training.curve import FitResult

TUNED, BASE = "fine-tuning", "reference-energy shift"
"""What the potential that is kept was made by."""


def take_up(job: Job) -> None:
    """Continue from the fit of a task that differs in nothing but what becomes of holes, if there is one."""
    left = [one.with_name(f"{one.name}.scratch") for one in job.earlier]
    if not job.scratch.exists() and (found := next((one for one in left if one.is_dir()), None)):
        with suppress(OSError):  # another run may be at work there
            copy_tree(found, job.scratch)


class HoleSearch:
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


def labelled_replay(
    file: Path | None, settings: FinetuneSettings, teacher: Potential, shift: dict[str, float], train: Frames
) -> Frames | None:
    """Return the labelled structures of other materials to mix in, of ``file`` or built in, or None."""
    from distill.structures.read import read_frames
    from distill.structures.validity import meant_labels
    from distill.training.forgetting import to_replay

    if settings.replay is None:
        return None
    given = meant_labels(read_frames(file, labels="optional")[0], str(file))[0] if file else None
    return to_replay(teacher, given, shift, train)


def outcome(settings: TeacherSettings, fitted: FitResult, tuned: Summary) -> Summary:
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


def choose(
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
    from distill.training.selection import Tune, cross_validate

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
        replay = labelled_replay(inputs["replay"], settings.by("replay"), teacher, shift, train)
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


def fit_teacher(
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
