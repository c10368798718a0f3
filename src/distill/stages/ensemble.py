"""Join several fine-tuned teachers into one: their mean, weighted by how they do on the validation structures.

The weight of a member is proportional to the inverse of its mean squared force error there. The same weights serve
energies, forces and stresses, so that forces stay the gradient of the energy. A member whose predictions are not
finite has no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from distill.base.artifact import Artifact
from distill.base.errors import WorkError
from distill.base.files import write_table
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from distill.base.arrays import Array
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames

COLUMNS = ("member", "model", "share", "forces_mae", "forces_rmse", "energy_mae")
"""Columns of ``members.csv``: the weight in the mean, and errors on the validation structures in eV/Å and eV/atom."""


Row = dict[str, str | float]
"""One row of ``members.csv``."""


@dataclass(frozen=True)
class Member:
    """One of several teachers: its name, the foundation model, and what was made of it."""

    name: str
    model: str
    potential: Potential


class Ensemble(Stage):
    """The teacher of everything that follows, where there are several."""

    class Settings(StageSettings):
        """There are none."""

    only_for_several: ClassVar[str] = "finetune"
    inputs: ClassVar[InputSpecs] = {"members": "finetune", "valid": "check.valid"}
    tolerates: ClassVar[tuple[str, ...]] = ("members",)
    outputs: ClassVar[dict[str, str]] = {"model": "model", "zero_shot": "zero_shot", "members": "members.csv"}
    publish: ClassVar[dict[str, str]] = {"model": "models/teacher"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the mean of the members as they came and fine-tuned, and what each of them has to do with it."""
        from distill.potentials.interface.saving import save
        from distill.structures.read import read_frames

        valid = read_frames(inputs["valid"])[0]
        zero_shot, _ = _joined(_opened(inputs["members"], "zero_shot", job), valid, job)
        save(zero_shot, job.out / "zero_shot", {"made_by": "mean of several teachers"})
        teacher, rows = _joined(_opened(inputs["members"], "model", job), valid, job)
        save(teacher, job.out / "model", {"made_by": "mean of several fine-tuned teachers"})
        write_table(job.out / "members.csv", COLUMNS, rows)
        return _summary(teacher, valid, rows, job)


def _opened(sources: Sequence[Artifact], output: str, job: Job) -> list[Member]:
    """Return the members, as they came or fine-tuned."""
    from distill.potentials.interface.saving import open_saved

    members = []
    for source in sources:
        seed = source.labels["seed"]
        name = f"{source.labels['teacher']}-seed{seed}" if seed else str(source.labels["teacher"])
        potential = open_saved(source.path / output, job.device, job.consent)
        members.append(Member(name, str(source.manifest["settings"]["model"]), potential))
    return members


def _joined(members: list[Member], valid: Frames, job: Job) -> tuple[Potential, list[Row]]:
    """Return the weighted mean of the members that can be used, and a row of ``members.csv`` for each of them all.

    Raises:
        WorkError: no member can be used.
    """
    import numpy as np

    from distill.potentials.teachers.ensemble import join
    from distill.structures.spread import shares_by_error

    errors = [_errors(valid, one.potential.evaluate(valid)) for one in members]
    squares = np.array([error["forces_rmse"] ** 2 for error in errors])
    try:
        shares = shares_by_error(squares)
    except ValueError:
        names = ", ".join(one.name for one in members)
        what, remedy = (
            f"the predictions of all teachers ({names}) are not finite",
            "Lower teacher.finetune.learning_rate",
        )
        raise WorkError(what, remedy=remedy) from None
    used = {one.name: (one.potential, float(share)) for one, share in zip(members, shares, strict=True) if share > 0}
    said = [
        f"the teacher {one.name} has no part: its predictions are not finite" for one in members if one.name not in used
    ]
    job.warnings += [text for text in said if text not in job.warnings]
    potential = join({name: one for name, (one, _) in used.items()}, [share for _, share in used.values()])
    heads: list[Row] = [
        {"member": one.name, "model": one.model, "share": float(share)}
        for one, share in zip(members, shares, strict=True)
    ]
    return potential.to(job.device), [{**head, **error} for head, error in zip(heads, errors, strict=True)]


def _errors(truth: Frames, guess: Frames) -> dict[str, float]:
    """Return the errors on the validation structures, those without a label left out; NaN where not finite."""
    import numpy as np

    from distill.analysis.errors import mean_absolute_errors

    means = mean_absolute_errors(truth, guess)
    off: Array = np.asarray(guess.forces) - np.asarray(truth.forces)
    labelled = np.isfinite(np.asarray(truth.forces))
    return {
        "forces_mae": means["forces"],
        "forces_rmse": float(np.sqrt(np.square(off[labelled]).mean())),
        "energy_mae": means["energy_per_atom"],
    }


def _summary(teacher: Potential, valid: Frames, rows: list[Row], job: Job) -> Summary:
    """Return how the mean does on the validation structures beside its members, in numbers and in one line."""
    mean = _errors(valid, teacher.evaluate(valid))
    best = min(rows, key=lambda row: (row["share"] == 0, row["forces_rmse"]))
    alone, together = (1000 * float(error["forces_mae"]) for error in (best, mean))
    if len(teacher.parts()) > 1 and mean["forces_rmse"] >= float(best["forces_rmse"]):
        job.warnings.append(
            f"on the validation structures the mean of the teachers ({together:.0f} meV/Å) is no better than "
            f"{best['member']} alone ({alone:.0f} meV/Å)"
        )
    shares = ", ".join(f"{row['member']} {row['share']:.2f}" for row in rows)
    return {
        "status": "joined",
        "members": rows,
        "valid_forces_mae": mean["forces_mae"],
        "valid_energy_mae": mean["energy_mae"],
        "headline": f"{shares}: {together:.0f} meV/Å on the validation structures, the best alone {alone:.0f}",
    }
