"""Gather what the other stages left behind into one page that a person can read and judge by.

It reads finished artifacts and their manifests and computes nothing new.
"""

from __future__ import annotations

from typing import ClassVar

from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary


class Report(Stage):
    """One self-contained page, and the same figures as PNG."""

    class Settings(StageSettings):
        """The report has no settings."""

    inputs: ClassVar[InputSpecs] = {
        "check": "check",
        "teacher": "ensemble",
        "members": "finetune",
        "generate": "generate",
        "label": "label",
        "train": "train",
        "predict": "predict",
        "unseen": "unseen",
        "evaluate": "evaluate",
        "simulate": "simulate",
        "dynamics": "dynamics",
        "relabel": "relabel",
        "judge": "judge",
        "benchmark": "benchmark",
        "gate": "gate",
        "certify": "certify",
        "card": "card",
        "test": "check.test",
    }
    tolerates: ClassVar[tuple[str, ...]] = (
        *("members", "train", "predict", "unseen", "simulate", "dynamics", "relabel"),
        *("gate", "certify", "card"),
    )
    spares: ClassVar[tuple[str, ...]] = ("gate", "certify", "card")
    outputs: ClassVar[dict[str, str]] = {"page": "report.html", "figures": "figures"}
    publish: ClassVar[dict[str, str]] = {"page": "report.html", "figures": "figures"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``report.html`` and ``figures/``."""
        from distill.reporting.gather import Finished, gather
        from distill.reporting.page import build

        build(gather(Finished(**inputs, missing=job.missing)), job.out)
        return {"headline": "report.html"}
