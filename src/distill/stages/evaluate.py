"""Judge every model on the test set that nothing was fitted to or chosen by.

Teacher (as it came and fine-tuned) and students against DFT, and each student against its teacher, from what they
predicted, with bootstrap intervals over structures. Every seed of a student is judged; one whose training diverged or
failed, or whose predictions are not finite, keeps its rows, is marked in them, and is in no mean over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.base.artifact import Labels
from distill.base.errors import WorkError
from distill.base.files import write_table
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from distill.structures.frames import Frames

COLUMNS = (
    "model",
    "variant",
    "seed",
    "status",
    "valid_loss",
    "split",
    "reference",
    "config_type",
    "quantity",
    "statistic",
    "value",
    "low",
    "high",
    "unit",
    "n",
)
"""Columns of ``metrics.csv``, one row a number of one seed.

``status`` is how its training ended: ``finished`` (also the teacher's), ``stopped early``, ``out of time``,
``diverged``; ``not finite`` where it ended well and a prediction is not finite; or ``failed`` where it, or predicting,
ended with an error: such rows have no values. ``valid_loss`` is the student's objective on its validation structures;
among the seeds of one student the lowest is the best.
"""


Row = dict[str, str | int | float | None]
"""One row of ``metrics.csv``."""


class Evaluate(Stage):
    """Error table of all models."""

    class Settings(StageSettings):
        """How the intervals are computed."""

        resamples: int = Field(1000, ge=100)
        """Bootstrap resamples over structures."""
        level: float = Field(0.95, gt=0, lt=1)
        """Confidence level of the intervals."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "evaluate"
    inputs: ClassVar[InputSpecs] = {
        "test": "check.test",
        "synthetic": "label.valid",
        "predicted": "predict.labels",
        "unseen": "unseen.labels",
        "students": "train",
    }
    tolerates: ClassVar[tuple[str, ...]] = ("predicted", "unseen", "students")
    outputs: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "seeds": "seeds.csv"}
    publish: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "seeds": "seeds.csv"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``metrics.csv`` and ``seeds.csv``."""
        from distill.analysis.errors import finite
        from distill.analysis.seeds import FAILED, SEED_COLUMNS, failures, gathered, headline, of_students
        from distill.structures.labels import read_labels
        from distill.structures.read import read_frames

        test, synthetic = read_frames(inputs["test"])[0], read_frames(inputs["synthetic"])[0]
        rows: list[Row] = []
        kept: dict[tuple[str, str], list[Frames]] = {}
        candidates = list(_candidates(inputs, job.missing))
        teacher = _teacher(candidates)
        taught = read_labels(teacher / "test.npz", test)
        with job.progress.phase("evaluating", len(candidates), "model") as phase:
            for one in candidates:
                predicted = _guess(one.path and one.path / "test.npz", test)
                tables = [("test", "dft", test, predicted)]
                if one.model != "teacher":
                    unseen = _guess(one.unseen, synthetic)
                    tables += [("test", "teacher", taught, predicted), ("synthetic", "teacher", synthetic, unseen)]
                head = one.head(all(finite(guess) for _, _, _, guess in tables))
                if head["status"] not in FAILED:
                    kept.setdefault((one.model, one.variant), []).append(predicted)
                for split, reference, truth, guess in tables:
                    key = head | {"split": split, "reference": reference}
                    rows += [key | row for row in _errors(truth, guess, settings, job.seed)]
                phase.advance(note=f"{one.model} {one.variant}")
        write_table(job.out / "metrics.csv", COLUMNS, rows)
        write_table(job.out / "seeds.csv", SEED_COLUMNS, gathered(rows))
        students = of_students(rows)
        job.warnings += failures(students)
        return {
            "test_structures": len(test),
            "gains": _gains(test, kept, settings, job.seed),
            "students": students,
            **_of_several(test, taught, teacher, settings, job.seed),
            "headline": headline(rows, students),
        }


@dataclass(frozen=True)
class Candidate:
    """One model to judge.

    Attributes:
        model: ``"teacher"`` or the student's name.
        variant: how it came to be.
        seed: which of several seeds.
        path: folder of its predictions of the test set; None where it failed.
        unseen: of a student, the file of its predictions of unseen families; None where it failed.
        status: how its training ended.
        valid_loss: its objective on the validation structures, or None.
    """

    model: str
    variant: str
    seed: int
    path: Path | None = None
    unseen: Path | None = None
    status: str = "finished"
    valid_loss: float | None = None

    def head(self, is_finite: bool) -> Row:
        """Return what all its rows begin with; a training that ended well with broken predictions says so."""
        status = self.status if is_finite or self.status in ("diverged", "failed") else "not finite"
        return {name: getattr(self, name) for name in ("model", "variant", "seed", "valid_loss")} | {"status": status}


def _candidates(inputs: Paths, missing: Mapping[str, Sequence[Labels]]) -> Iterator[Candidate]:
    """Yield every model, students with how their training ended, and at last those that failed on the way."""
    parts = {name: {_model(one.labels): one for one in inputs[name]} for name in ("predicted", "unseen", "students")}
    failed = dict.fromkeys(_model(labels) for of_input in missing.values() for labels in of_input)
    for model, one in parts["predicted"].items():
        if model not in failed:
            trained, unseen = parts["students"].get(model), parts["unseen"].get(model)
            end = {name: trained.summary[name] for name in ("status", "valid_loss")} if trained else {}
            yield Candidate(*model, one.path, unseen and unseen.path, **end)
    for model in failed:
        yield Candidate(*model, status="failed")


def _model(labels: Labels) -> tuple[str, str, int]:
    """Return the student, or the teacher, the variant and the seed."""
    return str(labels["student"]), str(labels["variant"]), int(labels["seed"])


def _teacher(candidates: Sequence[Candidate]) -> Path:
    """Return the folder of the fine-tuned teacher's predictions.

    Raises:
        WorkError: there are none, so that no student can be compared with its teacher.
    """
    for one in candidates:
        if (one.model, one.variant) == ("teacher", "finetuned") and one.path is not None:
            return one.path
    what = "the fine-tuned teacher has predicted nothing to compare students with"
    raise WorkError(what, where="evaluate", remedy="The same command tries it again")


def _guess(path: Path | None, structures: Frames) -> Frames:
    """Return structures with the labels that a model gave them; all are missing where it failed."""
    import numpy as np

    from distill.structures.labels import read_labels

    if path is not None:
        return read_labels(path, structures)
    labels = (structures.energy, structures.forces, structures.stress)
    return structures.with_labels(*(None if of is None else np.full_like(of, np.nan) for of in labels))


def _gains(
    test: Frames, kept: Mapping[tuple[str, str], Sequence[Frames]], settings: Evaluate.Settings, seed: int
) -> Summary:
    """Return by how much each student lowers the direct one's force error, eV/Å, all good seeds taken.

    It is the refined one where there is one, else the distilled one.
    """
    from distill.analysis.errors import force_error_difference

    gains = {}
    for name in dict.fromkeys(model for model, _ in kept):
        distilled, refined, direct = (kept.get((name, variant)) for variant in ("distilled", "refined", "direct"))
        student = refined or distilled
        if student and direct:
            gain = force_error_difference(
                test, direct, student, resamples=settings.resamples, level=settings.level, seed=seed
            )
            gains[name] = asdict(gain)
    return gains


def _of_several(test: Frames, mean: Frames, folder: Path, settings: Evaluate.Settings, seed: int) -> Summary:
    """Return how each of several teachers does beside their mean, and whether their spread tells its errors.

    ``folder`` has the predictions of the teacher; of a single one there is nothing to say.
    """
    from distill.analysis.errors import force_error_difference
    from distill.analysis.reliability import reliability
    from distill.structures.labels import read_labels
    from distill.structures.spread import Spread

    if not (folder / "test-spread.npz").exists():
        return {}
    how: dict[str, Any] = {"resamples": settings.resamples, "level": settings.level, "seed": seed}
    members = {}
    for path in sorted((folder / "test-members").iterdir()):
        guess = read_labels(path, test)
        (own,) = (row for row in _errors(test, guess, settings, seed) if _is_force_error(row))
        members[path.stem] = {
            "forces": {name: own[name] for name in ("value", "low", "high")},
            "over_mean": asdict(force_error_difference(test, [guess], [mean], **how)),
        }
    found = reliability(test, mean, Spread.load(folder / "test-spread.npz"), **how)
    return {"members": members, "reliability": {name: asdict(one) for name, one in found.items()}}


def _is_force_error(row: Row) -> bool:
    """Whether a row is the mean absolute error of the forces of all structures."""
    return (row["config_type"], row["quantity"], row["statistic"]) == ("all", "forces", "mae")


def _errors(truth: Frames, guess: Frames, settings: Evaluate.Settings, seed: int) -> list[Row]:
    from distill.analysis.errors import error_table

    table = error_table(truth, guess, resamples=settings.resamples, level=settings.level, seed=seed)
    return [asdict(row) for row in table]
