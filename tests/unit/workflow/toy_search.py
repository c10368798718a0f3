"""Toy stages for searches: ``train`` fits nothing and ``unseen`` has an error that is a known function of the settings.

A student's error is a bowl around ``x = 0.37``, ``k = 4`` and ``kind = "b"``, or falls all the way to a bound where the
recipe says so; settings in a corner fail. Every training is one line in the file that TOY_TRACE names, and stands still
while TOY_HOLD says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import create_model
from toy_stages import DataSection, Fit, Read, stand_still, trace

from distill.base.errors import UserError
from distill.base.registry import Registry
from distill.stages.base import Job, Stage, StageSettings, Summary

ROWS = {
    "read": "toy_search:Read",
    "train": "toy_search:Train",
    "unseen": "toy_search:Unseen",
    "timing": "toy_search:Timing",
}
RECIPE = """\
name: toy
seed: 3
data: {file: numbers.txt}
students:
  bowl: {}
  other: {}
"""
__all__ = ["DataSection", "Read"]


def search_stages() -> Registry:
    """Return the table of stages."""
    return Registry("stage", ROWS)


class Student(StageSettings):
    x: float = 0.9
    k: int = 1
    kind: str = "a"
    slope: bool = False
    fail_above: float = 9.0
    work: int = 0
    seeds: int = 1
    direct: bool = True
    refine: int | None = 1


OWN = ("x", "k", "kind", "slope", "fail_above", "work")


class Train(Fit):
    shared = {}
    reads = {}
    inputs = {"data": {"distilled": "read.numbers", "direct": "read.numbers"}}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        names = raw if isinstance(raw, Mapping) else {}
        return create_model("Students", __base__=StageSettings, **dict.fromkeys(names, (Student, Student())))

    @classmethod
    def settings_class(cls, values: Any, labels: Mapping[str, Any]) -> Any:
        fields = {name: (Student.model_fields[name].annotation, ...) for name in OWN}
        return create_model("TrainSettings", __base__=StageSettings, **fields)

    @classmethod
    def select(cls, section: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        student = getattr(section, labels["student"])
        return {name: getattr(student, name) for name in OWN}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace(f"train {job.labels['student']} {job.labels['variant']} {job.labels['seed']} {settings.x}")
        stand_still(job_number())
        if settings.x > settings.fail_above:
            raise UserError("x is too large", "students")
        bowl = (settings.x - 0.37) ** 2 + 0.01 * (settings.k - 4) ** 2 + 0.1 * (settings.kind == "a")
        error = settings.x + 0.01 * settings.k if settings.slope else bowl
        (job.out / "model").mkdir(exist_ok=True)
        (job.out / "model" / "error.txt").write_text(str(error + 0.001 * int(job.labels["seed"])))
        return {"status": "finished", "parameters": 10 * settings.k}


def job_number() -> int:
    """Return how many trainings were begun before this one, by the trace."""
    import os
    from pathlib import Path

    path = Path(os.environ.get("TOY_TRACE", "no such file"))
    return path.read_text().count("train ") - 1 if path.exists() else 0


class Unseen(Stage):
    each = "train"
    inputs = {"model": "train.model"}
    outputs = {"labels": "labels.txt"}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        error = float((inputs["model"] / "error.txt").read_text())
        (job.out / "labels.txt").write_text(str(error))
        return {"energy_rmse_eV_per_sqrt_atom": error, "forces_rmse_eV_per_A": error}


class Benchmark(StageSettings):
    atoms: int | None = None


class Timing(Stage):
    """Students with larger ``k`` are slower."""

    class Settings(StageSettings):
        atoms: int

    section = "benchmark"
    each = "train"
    inputs = {"model": "train.model"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        return Benchmark

    @classmethod
    def fan_out(cls, section: Any, followed: Any) -> list[dict[str, Any]]:
        return [] if section.atoms is None else [{}]

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        return {"ms_per_atom": float((inputs["model"] / "error.txt").read_text()) + 1}
