"""Write a student for other programs; one that fails the gate is refused, or written as UNSAFE.

Weights and description are copied as they were saved, so that the folder opens as the student that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from distill.base.artifact import Labels
from distill.base.errors import UserError
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.exported import Export, architectures_of, exported, refuse_untaken
from distill.stages.start import Start, check_start, named_file, start

if TYPE_CHECKING:
    from ase import Atoms


OVERRULE = "have it written as UNSAFE with export.gate: warn"
"""How a gate that failed is overruled in a recipe."""


class Write(Stage):
    """The folder of an export of one student, but for its certificate and its card."""

    class Settings(StageSettings):
        """For which programs, and how."""

        to: tuple[str, ...]
        """Programs."""
        gate: Literal["strict", "warn", "off"]
        """What becomes of a student that fails the gate."""
        precision: Literal["double", "single"]
        """In which the programs compute the network."""
        structure: Start | None
        """What example inputs begin from."""
        data_licence: str
        """Licence of the data."""
        students: tuple[str, ...] | None = Field(exclude=True)
        """Names of the students that are exported; all if None."""
        architectures: Annotated[dict[str, str], BeforeValidator(architectures_of)] = Field(exclude=True)
        """Of every student of the recipe."""

        @model_validator(mode="after")
        def _are_taken(self) -> Self:
            """Refuse students that there are not, or that a program does not take."""
            try:
                refuse_untaken(self.to, self.students, self.architectures)
            except UserError as error:
                raise ValueError(f"{error.what}. {error.remedy}") from None
            return self

    section: ClassVar[str] = "export"
    reads: ClassVar[Mapping[str, str]] = {"architectures": "students"}
    each: ClassVar[str] = "train"
    inputs: ClassVar[InputSpecs] = {"model": "train.model", "gate": "gate.gate@", "frames": "check.train"}
    outputs: ClassVar[dict[str, str]] = {"export": "export"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the whole section."""
        return Export

    @classmethod
    def follows(cls, section: Export, every: Sequence[Labels]) -> Sequence[Labels]:
        """Return the students that are exported."""
        return exported(section, every)

    @classmethod
    def linked(cls, section: Export, labels: Labels) -> Mapping[str, Labels]:
        """Return that the gate is that of the same student, where there is one."""
        return {} if section.gate == "off" else {"gate": {}}

    @classmethod
    def files(cls, section: Export, labels: Labels) -> dict[str, str]:
        """Return the user's structure that example inputs begin from."""
        return named_file(section.structure, "export")

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Settings) -> None:
        """Refuse a structure that cannot be read."""
        check_start(files)

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``export/``.

        Raises:
            WorkError: the student fails the gate, and the recipe is strict.
            UserError: a program does not take it.
        """
        from distill.exporting import TARGETS
        from distill.exporting.folder import written
        from distill.exporting.gate import Gate, safety_of
        from distill.exporting.target import Wanted
        from distill.potentials.interface.saving import open_saved

        gate = None if inputs["gate"] is None else Gate.read(inputs["gate"])
        safety = safety_of(gate, force=settings.gate == "warn", overrule=OVERRULE)
        potential = open_saved(inputs["model"], "cpu", job.consent)
        atoms = _begin(settings.structure, inputs)
        wanted = Wanted(settings.precision, atoms, None, safety)
        targets = {name: TARGETS[name]() for name in settings.to}
        for target in targets.values():
            target.check(potential, wanted)
        files = written(potential, inputs["model"], targets, wanted, job.out / "export", settings.data_licence)
        return {"safety": safety, "headline": f"{', '.join(settings.to)}: {len(files)} files"}


def _begin(structure: Start | None, inputs: Paths) -> Atoms | None:
    """Return what example inputs begin from; None where no training structure is periodic in all directions."""
    from distill.structures.read import read_frames

    if structure is not None:
        return start(structure, inputs["frames"], inputs.get("structure"))
    frames = read_frames(inputs["frames"])[0]
    whole = next((k for k, pbc in enumerate(frames.pbc) if pbc.all()), None)
    return None if whole is None else frames[whole].to_atoms()[0]
