"""Judge every model on the test set that nothing was fitted to or chosen by.

Teacher (as it came and fine-tuned) and students against DFT, and each student against its teacher, from what they
predicted, with bootstrap intervals over structures. Every seed of a student is judged; one whose training diverged, or
whose predictions are not finite, keeps its rows, is marked in them, and is in no mean over seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from distill.base.files import read_json, write_table
from distill.stages.base import Job, Paths, Stage, StageSettings, Summary

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
``diverged``; or ``not finite`` where it ended well and a prediction is not finite. ``valid_loss`` is the student's
objective on its validation structures; among the seeds of one student the lowest is the best.
"""

GROUP = ("model", "variant", "split", "reference", "config_type", "quantity", "statistic")
"""What the rows of ``metrics.csv`` that are one number of several seeds have in common."""

SEED_COLUMNS = (
    *GROUP,
    "mean",
    "standard_deviation",
    "best",
    "best_seed",
    "seeds",
    "failed",
    "failed_seeds",
    "unit",
    "n",
)
"""Columns of ``seeds.csv``, one row a number of a student over its seeds.

Mean and standard deviation (n - 1) are over the seeds that did not fail; ``best`` is the number of ``best_seed``, the
one of lowest validation loss; ``seeds`` counts all that were trained and ``failed`` those of them that failed, which
``failed_seeds`` names, separated by blanks.
"""


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
    inputs: ClassVar[dict[str, Any]] = {
        "test": "check.test",
        "synthetic": "label.valid",
        "predicted": "predict.labels",
        "students": "train",
    }
    outputs: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "seeds": "seeds.csv"}
    publish: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "seeds": "seeds.csv"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``metrics.csv`` and ``seeds.csv``."""
        from distill.analysis.errors import FAILED
        from distill.structures.labels import read_labels
        from distill.structures.read import read_frames

        test, synthetic = read_frames(inputs["test"])[0], read_frames(inputs["synthetic"])[0]
        rows: list[dict[str, Any]] = []
        kept: dict[tuple[str, str], list[Any]] = {}
        candidates = list(_candidates(inputs))
        (teacher,) = (one.path for one in candidates if (one.model, one.variant) == ("teacher", "finetuned"))
        taught = read_labels(teacher / "test.npz", test)
        with job.progress.phase("evaluating", len(candidates), "model") as phase:
            for one in candidates:
                predicted = read_labels(one.path / "test.npz", test)
                tables = [("test", "dft", test, predicted)]
                if one.model != "teacher":
                    tables.append(("test", "teacher", taught, predicted))
                    unseen = read_labels(one.path / "synthetic.npz", synthetic)
                    tables.append(("synthetic", "teacher", synthetic, unseen))
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
            "headline": headline(rows, students),
        }


@dataclass(frozen=True)
class Candidate:
    """One model to judge.

    Attributes:
        path: folder of its predictions.
        model: ``"teacher"`` or the student's name.
        variant: how it came to be.
        seed: which of several seeds.
        status: how its training ended.
        valid_loss: its objective on the validation structures, or None.
    """

    path: Path
    model: str
    variant: str
    seed: int = 0
    status: str = "finished"
    valid_loss: float | None = None

    def head(self, is_finite: bool) -> dict[str, Any]:
        """Return what all its rows begin with; a training that ended well with broken predictions says so."""
        status = self.status if is_finite or self.status == "diverged" else "not finite"
        return {name: getattr(self, name) for name in ("model", "variant", "seed", "valid_loss")} | {"status": status}


def _candidates(inputs: Paths) -> Iterator[Candidate]:
    """Yield every model that predicted, students with how their training ended."""
    ends = {tuple(source.labels.values()): _end_of_training(source.path) for source in inputs["students"]}
    for source in inputs["predicted"]:
        labels = (source.labels["student"], source.labels["variant"], source.labels["seed"])
        yield Candidate(source.path, *labels, **ends.get(labels, {}))


def _end_of_training(artifact: Path) -> dict[str, Any]:
    summary = read_json(artifact / "manifest.json")["summary"]
    return {name: summary[name] for name in ("status", "valid_loss")}


def finite(frames: Any) -> bool:
    """Whether all energies, forces and, of periodic structures, stresses that ``frames`` have are finite."""
    import numpy as np

    stress = None if frames.stress is None else frames.stress[frames.pbc.all(axis=1)]
    return all(values is None or bool(np.isfinite(values).all()) for values in (frames.energy, frames.forces, stress))


def gathered(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``seeds.csv``: each number of each student over its seeds, from rows of ``metrics.csv``."""
    from distill.analysis.errors import over_seeds

    groups: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["model"] != "teacher":
            groups.setdefault(tuple(row[name] for name in GROUP), {})[row["seed"]] = row
    for group, members in groups.items():
        found = over_seeds({seed: row["value"] for seed, row in members.items()}, _seeds(members))
        one = next(iter(members.values()))
        yield dict(zip(GROUP, group, strict=True)) | {
            "mean": found.mean,
            "standard_deviation": found.deviation,
            "best": found.best,
            "best_seed": found.best_seed,
            "seeds": found.seeds,
            "failed": len(found.failed),
            "failed_seeds": " ".join(map(str, found.failed)),
            "unit": one["unit"],
            "n": one["n"],
        }


def of_students(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the force errors of each student on the test set, and how close it is to its teacher compared with DFT.

    Returns:
        Student, then variant, to ``forces_mae_dft`` and ``forces_mae_teacher``, means over seeds in eV/Å;
        ``teacher_to_dft``, the mean over seeds of the latter divided by the former (1: as far from its teacher as from
        DFT); ``seeds``, how many were trained; ``best_seed`` by validation; and ``failed``, what became of the seeds
        that failed, by seed. None where there is no number.
    """
    from distill.analysis.errors import over_seeds

    errors: dict[tuple[str, str], dict[str, dict[int, Mapping[str, Any]]]] = {}
    for row in rows:
        if row["model"] != "teacher" and _is_force_mae(row):
            references = errors.setdefault((row["model"], row["variant"]), {"dft": {}, "teacher": {}})
            references[row["reference"]][row["seed"]] = row
    found: dict[str, Any] = {}
    for (model, variant), references in errors.items():
        seeds = _seeds(references["dft"] | references["teacher"])
        dft, teacher = (
            {s: references[name][s]["value"] if s in references[name] else None for s in seeds}
            for name in ("dft", "teacher")
        )
        ratio = {s: _ratio(teacher[s], dft[s]) for s in seeds}
        spread = over_seeds(dft, seeds)
        found.setdefault(model, {})[variant] = {
            "forces_mae_dft": spread.mean,
            "forces_mae_teacher": over_seeds(teacher, seeds).mean,
            "teacher_to_dft": over_seeds(ratio, seeds).mean,
            "seeds": spread.seeds,
            "best_seed": spread.best_seed,
            "failed": {str(seed): seeds[seed].status for seed in spread.failed},
        }
    return found


def _ratio(teacher: float | None, dft: float | None) -> float | None:
    return teacher / dft if teacher is not None and dft else None


def failures(students: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each student that lost seeds, from :func:`of_students`."""
    for model, variants in students.items():
        for variant, one in variants.items():
            if one["failed"] and one["seeds"] == 1:
                yield f"{model} {variant}: {next(iter(one['failed'].values()))}, so it has no errors"
            elif one["failed"]:
                named = ", ".join(f"seed {seed}: {status}" for seed, status in one["failed"].items())
                yield f"{model} {variant}: {len(one['failed'])} of {one['seeds']} seeds are in no mean ({named})"


def headline(rows: Sequence[Mapping[str, Any]], students: Mapping[str, Any]) -> str:
    """Return the force errors against DFT as one line: means over the seeds that did not fail, failures said."""
    values = {
        f"teacher {row['variant'].replace('_', ' ')}": _millis(row["value"], [row["status"]])
        for row in rows
        if row["model"] == "teacher" and _is_force_mae(row)
    }
    for model, variants in students.items():
        for variant, one in variants.items():
            lost = len(one["failed"])
            some = f" ({lost} of {one['seeds']} seeds failed)" if 0 < lost < one["seeds"] else ""
            values[f"{model} {variant}"] = _millis(one["forces_mae_dft"], one["failed"].values()) + some
    return "force MAE against DFT in meV/Å: " + ", ".join(f"{name} {value}" for name, value in values.items())


def _millis(value: float | None, statuses: Iterable[str]) -> str:
    return (" and ".join(dict.fromkeys(statuses)) or "unknown") if value is None else f"{1000 * value:.0f}"


def _gains(test: Any, kept: Mapping[tuple[str, str], Sequence[Any]], settings: Any, seed: int) -> Summary:
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


def _seeds(rows: Mapping[int, Mapping[str, Any]]) -> dict[int, Any]:
    from distill.analysis.errors import Seed

    return {seed: Seed(row["status"], row["valid_loss"]) for seed, row in rows.items()}


def _is_force_mae(row: Mapping[str, Any]) -> bool:
    key = (row["split"], row["config_type"], row["quantity"], row["statistic"])
    return key == ("test", "all", "forces", "mae")


def _errors(truth: Any, guess: Any, settings: Any, seed: int) -> list[dict[str, Any]]:
    from distill.analysis.errors import error_table

    table = error_table(truth, guess, resamples=settings.resamples, level=settings.level, seed=seed)
    return [asdict(row) for row in table]
