"""Compare what was written for other programs with the student: does each of them say the same?

A program that is not here is no failure: the certificate says so, and is made again when the program is installed.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from distill.base.errors import WorkError
from distill.exporting import TARGETS
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.exported import Export


class Certify(Stage):
    """The certificate of one export."""

    class Settings(StageSettings):
        """Of which programs."""

        to: tuple[str, ...]
        """Programs."""
        precision: Literal["double", "single"]
        """In which they compute the network."""

    section: ClassVar[str] = "export"
    each: ClassVar[str] = "write"
    inputs: ClassVar[InputSpecs] = {"written": "write.export"}
    outputs: ClassVar[dict[str, str]] = {"certificate": "certificate.json"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the whole section."""
        return Export

    @classmethod
    def programs(cls, settings: Settings) -> dict[str, str]:
        """Return the versions of the programs that are compared."""
        found = {name: TARGETS[name].versions() for name in settings.to}
        return {f"{part} for {name}": one or "none" for name, parts in found.items() for part, one in parts.items()}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``certificate.json``.

        Raises:
            WorkError: a program does not say the same.
        """
        from distill.base.files import write_json
        from distill.exporting.folder import certificate_of, disagreements
        from distill.exporting.target import Wanted
        from distill.potentials.interface.saving import open_saved

        targets = {name: TARGETS[name]() for name in settings.to}
        potential = open_saved(inputs["written"], "cpu", job.consent)
        certificate = certificate_of(potential, targets, Wanted(settings.precision), inputs["written"], job.progress)
        write_json(job.out / "certificate.json", certificate)
        if found := disagreements(certificate):
            remedy = "Tell us, with the folder of the model: it is an error of ours"
            raise WorkError("; ".join(found), "certificate", remedy)
        each = {name: one["verdict"] for name, one in certificate["programs"].items()}
        said = ", ".join(f"{name} {verdict}" for name, verdict in each.items())
        return {"verdict": certificate["verdict"], "programs": each, "headline": said}
