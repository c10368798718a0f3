"""How the stage that trains students does it: what they learn from, and the fit by gradients or by pacemaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from distill.base.artifact import Summary
from distill.potentials import student_row
from distill.stages.base import Job, Paths
from distill.training.ace.settings import Batches
from distill.training.drawn import learnt_from

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
    from distill.potentials.workers.ace_potential import ACEPotential
    from distill.structures.frames import Frames
    from distill.training.curve import FitResult
    from distill.training.disagreement import SpreadWeights
    from distill.training.targets import Targets

    Trained = tuple[Potential, FitResult, Summary]
    """A student, how its fit went, and what else the summary says."""


@dataclass(frozen=True)
class Material:
    """What a student learns from and is judged by while it learns.

    Attributes:
        train: structures to learn from.
        valid: structures that choose the weights that are kept.
        targets: the teacher's further labels of ``train`` and of ``valid``; None where there are none.
    """

    train: Frames
    valid: Frames
    targets: tuple[Targets | None, Targets | None] = (None, None)


def material_of(inputs: Paths, settings: Any, job: Job) -> Material:
    """Return what the labelled student learns from: the distilled one from what is drawn of the synthetic structures.

    Raises:
        UserError: fewer structures have grown than are to be drawn.
    """
    from distill.structures.read import read_frames
    from distill.training.targets import Targets

    valid = read_frames(inputs["valid"])[0]
    if job.labels["variant"] != "distilled":
        return Material(read_frames(inputs["train"])[0], valid)
    name = str(job.labels["student"])
    train, targets = learnt_from(inputs["train"], inputs["train_targets"], settings, job.seed, name)
    return Material(train, valid, (targets, Targets.load(inputs["valid_targets"])))


def labels_learnt(train: Frames, settings: Any) -> int:
    """Return how many numbers of its training structures a student learns: energies, forces and stresses.

    What its loss gives no weight does not count; ACE learns no stresses.
    """
    from distill.structures.labels import count_labels
    from distill.training.gradient.losses import LossWeights

    if student_row(settings.arch).trainer == "pacemaker":
        return count_labels(train, ("energy", "forces"))
    weights = LossWeights(**settings.loss.model_dump())
    names = {"energy": "energy", "forces": "forces", "virial": "stress"}
    return count_labels(train, [label for term, label in names.items() if weights.wants(term)])


def fit_network(material: Material, inputs: Paths, settings: Any, job: Job) -> Trained:
    """Return a network, how its fit went, and nothing more to say."""
    from distill.training.gradient.distributed import check_devices
    from distill.training.gradient.student import refine_student, train_student

    check_devices(job.device, settings.trainer.devices)
    train, valid = material.train, material.valid
    how = settings.arguments() | _common(settings, job)
    how |= {name: getattr(settings.trainer, name) for name in ("devices", "matmul")}
    how |= {"loss": settings.loss.model_dump(), "compiled": settings.compile}
    if inputs["start"] is not None:
        student, synthetic = _start(inputs, settings, job)
        how |= settings.refine.model_dump(exclude={"synthetic"})
        return student, refine_student(student, train, valid, synthetic, share=settings.refine.synthetic, **how), {}
    how |= {"start": settings.start, "targets": material.targets}
    student, fitted = train_student(settings.arch, _own(settings), train, valid, **how)
    return student, fitted, {}


def fit_expansion(material: Material, inputs: Paths, settings: Any, job: Job) -> Trained:
    """Return an expansion, how its fit went, and what its phases ended with."""
    from distill.training.ace.train import refine_ace, train_ace

    train, valid = material.train, material.valid
    how = {name: getattr(settings, name) for name in ("l1", "l2", "force_scale", "max_time")} | _common(settings, job)
    if inputs["start"] is not None:
        start, synthetic = _start(inputs, settings, job)
        changed = settings.refine.model_dump(exclude={"synthetic"})
        how["batches"] = (settings.batches or Batches()).model_copy(update=changed)
        how["share"] = settings.refine.synthetic
        student, state = refine_ace(cast("ACEPotential", start), train, valid, synthetic, **how)
    else:
        how |= {name: getattr(settings, name) for name in ("batches", "bfgs", "pacemaker")}
        how["spread_weights"] = _spread_weights(material.targets[0])
        own = student_row(settings.arch).Settings(**_own(settings))
        student, state = train_ace(own, train, valid, **how)
    job.warnings += state.warnings
    return student, state.result, {"phases": state.phases}


def _own(settings: Any) -> dict[str, Any]:
    """Return the architecture's own settings."""
    return {name: getattr(settings, name) for name in student_row(settings.arch).Settings.model_fields}


def _start(inputs: Paths, settings: Any, job: Job) -> tuple[Potential, Frames]:
    """Return the distilled student that is refined, and the structures that it was trained on."""
    from distill.potentials.interface.saving import open_saved

    synthetic, _ = learnt_from(inputs["synthetic"], None, settings, job.seed, str(job.labels["student"]))
    return open_saved(inputs["start"], job.device, job.consent), synthetic


def _common(settings: Any, job: Job) -> dict[str, Any]:
    """Return the arguments that all fits have in common."""
    from distill.training.loggers import Logs

    return {
        "seed": job.seed,
        "purpose": ("train", job.labels["variant"], job.labels["seed"]),
        "work": job.scratch,
        "device": job.device,
        "progress": job.progress,
        "logs": Logs(job.out / "logs", settings.trainer.loggers, " ".join(map(str, job.labels.values()))),
    }


def _spread_weights(targets: Targets | None) -> SpreadWeights | None:
    """Return how much the labels of several teachers count where these disagree; None where all count the same."""
    from distill.training.disagreement import SpreadWeights

    if targets is None or targets.energy_weight is None or targets.forces_weight is None:
        return None
    return SpreadWeights(targets.energy_weight, targets.forces_weight)
