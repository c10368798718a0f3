"""Put an export together: what was written, gate and certificate, and the card that says what the model is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from distill.base.artifact import Labels, suffix
from distill.base.files import read_json, read_table
from distill.exporting import TARGETS
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.exported import Export


class Card(Stage):
    """The whole folder of an export, as it is given away."""

    class Settings(StageSettings):
        """What the card says besides what was found."""

        to: tuple[str, ...]
        """Programs."""
        data_licence: str
        """Licence of the data."""

    section: ClassVar[str] = "export"
    each: ClassVar[str] = "certify"
    inputs: ClassVar[InputSpecs] = {
        "written": "write",
        "gate": "gate.gate@",
        "certificate": "certify.certificate",
        "structures": {"distilled": "label.all", "refined": "label.all", "direct": "check.train"},
        "metrics": "evaluate.metrics",
        "verdict": "judge.verdict",
        "benchmark": "benchmark",
    }
    outputs: ClassVar[dict[str, str]] = {"export": "export"}
    publish: ClassVar[dict[str, str]] = {"export": "exports/{student}{suffix}"}
    hashed_labels: ClassVar[tuple[str, ...]] = ("student", "variant", "seed")

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the whole section."""
        return Export

    @classmethod
    def linked(cls, section: Export, labels: Labels) -> Mapping[str, Labels]:
        """Return that the gate is that of the same student, where there is one."""
        return {} if section.gate == "off" else {"gate": {}}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``export/`` with everything in it."""
        import shutil

        from distill.exporting.domain import domain_of
        from distill.exporting.facts import Measured
        from distill.exporting.folder import write_card
        from distill.structures.read import read_frames

        out, written = job.out / "export", inputs["written"]
        shutil.copytree(written.path / "export", out, dirs_exist_ok=True)
        for name in ("gate", "certificate"):
            if inputs[name] is not None:
                shutil.copyfile(inputs[name], out / inputs[name].name)
        benchmark = inputs["benchmark"]
        measured = Measured.of(
            job.labels,
            read_table(inputs["metrics"]),
            read_json(inputs["verdict"])["students"],
            read_table(benchmark.path / "speed.csv"),
            benchmark.summary["machine"],
        )
        name = f"{job.labels['student']}{suffix(job.labels)}"
        write_card(
            {program: TARGETS[program]() for program in settings.to},
            written.summary["safety"],
            out,
            name=name,
            data_licence=settings.data_licence,
            domain=domain_of(read_frames(inputs["structures"])[0]),
            measured=measured,
        )
        return {"folder": f"exports/{name}", "headline": f"exports/{name}"}
