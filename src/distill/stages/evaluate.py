"""Judge every model on the test set that nothing was fitted to or chosen by.

Teacher (as it came and fine-tuned) and students against DFT, and each student against its teacher, with bootstrap
intervals over structures.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from distill.stages.base import Job, Paths, Stage, StageSettings, Summary

COLUMNS = (
    "model",
    "variant",
    "seed",
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
"""Columns of ``metrics.csv``, one row a number."""


class Evaluate(Stage):
    """Error table of all models, and their predictions on the test set."""

    class Settings(StageSettings):
        """How the intervals are computed."""

        resamples: int = Field(1000, ge=100)
        """Bootstrap resamples over structures."""
        level: float = Field(0.95, gt=0, lt=1)
        """Confidence level of the intervals."""

    section: ClassVar[str] = "evaluate"
    inputs: ClassVar[dict[str, Any]] = {
        "test": "check.test",
        "synthetic": "label.valid",
        "zero_shot": "finetune.zero_shot",
        "teacher": "finetune.model",
        "students": "train.model",
    }
    outputs: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "predictions": "predictions"}
    publish: ClassVar[dict[str, str]] = {"metrics": "metrics.csv", "predictions": "predictions"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``metrics.csv`` and one extended XYZ file of predictions per model."""
        from distill.potentials.potential import load
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames

        test, synthetic = read_frames(inputs["test"])[0], read_frames(inputs["synthetic"])[0]
        rows: list[dict[str, Any]] = []
        students: dict[tuple[str, str, int], Any] = {}
        taught: Any = None
        models = list(self._models(inputs))
        (job.out / "predictions").mkdir(exist_ok=True)
        with job.progress.phase("evaluating", len(models), "model") as phase:
            for path, model, variant, seed in models:
                potential = load(path, job.device)
                predicted = potential.evaluate(test)
                tables = [("test", "dft", test, predicted)]
                if model != "teacher":
                    students[model, variant, seed] = predicted
                    tables.append(("test", "teacher", taught, predicted))
                    tables.append(("synthetic", "teacher", synthetic, potential.evaluate(synthetic)))
                elif variant == "finetuned":
                    taught = predicted
                for split, reference, truth, guess in tables:
                    key = {"model": model, "variant": variant, "seed": seed, "split": split, "reference": reference}
                    rows += [key | row for row in self._errors(truth, guess, settings, job.seed)]
                write_frames(job.out / "predictions" / f"{model}-{variant}-{seed}.xyz", predicted)
                phase.advance(note=f"{model} {variant}")
        self._write(job.out / "metrics.csv", rows)
        return {
            "test_structures": len(test),
            "gains": self._gains(test, students, settings, job.seed),
            "headline": headline(rows),
        }

    @staticmethod
    def _gains(test: Any, students: dict[tuple[str, str, int], Any], settings: Settings, seed: int) -> dict[str, Any]:
        """Return by how much each distilled student (first seed) lowers the direct one's force error, eV/Å."""
        from dataclasses import asdict

        from distill.analysis.errors import force_error_difference

        gains = {}
        for name in dict.fromkeys(model for model, _, _ in students):
            distilled, direct = (students.get((name, variant, 0)) for variant in ("distilled", "direct"))
            if distilled is not None and direct is not None:
                gain = force_error_difference(
                    test, direct, distilled, resamples=settings.resamples, level=settings.level, seed=seed
                )
                gains[name] = asdict(gain)
        return gains

    @staticmethod
    def _models(inputs: Paths) -> Iterator[tuple[Path, str, str, int]]:
        yield inputs["zero_shot"], "teacher", "zero_shot", 0
        yield inputs["teacher"], "teacher", "finetuned", 0
        for source in inputs["students"]:
            yield source.path, source.labels["student"], source.labels["variant"], source.labels["seed"]

    @staticmethod
    def _errors(truth: Any, guess: Any, settings: Settings, seed: int) -> list[dict[str, Any]]:
        from dataclasses import asdict

        from distill.analysis.errors import error_table

        table = error_table(truth, guess, resamples=settings.resamples, level=settings.level, seed=seed)
        return [asdict(row) for row in table]

    @staticmethod
    def _write(path: Path, rows: list[dict[str, Any]]) -> None:
        from distill.base.files import replacing

        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def headline(rows: list[dict[str, Any]]) -> str:
    """Return the force errors against DFT as one line."""
    parts = []
    for row in rows:
        key = (row["split"], row["reference"], row["config_type"], row["quantity"], row["statistic"])
        if key == ("test", "dft", "all", "forces", "mae") and row["seed"] == 0:
            parts.append(f"{row['model']} {re.sub('_', ' ', row['variant'])} {1000 * row['value']:.0f}")
    return "force MAE against DFT in meV/Å: " + ", ".join(parts)
