"""What the card of an export tells, as JSON and tables of a run have it; whatever is absent was not evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.base.artifact import Labels
from distill.exporting.domain import Domain
from distill.exporting.licences import Part

Row = Mapping[str, str]


@dataclass(frozen=True)
class Program:
    """A program that the model was written for.

    Attributes:
        title: what it calls itself.
        usage: commands in its folder, as a block of Markdown.
        licence: what is to be said of its licence.
    """

    title: str
    usage: str
    licence: str = ""


@dataclass(frozen=True)
class Measured:
    """What a run has measured of one of its models.

    Attributes:
        errors: its rows of ``metrics.csv``.
        verdict: its entry of ``verdict.json``.
        speed: the rows of its student of ``speed.csv``.
        machine: what these were timed on.
    """

    errors: Sequence[Row] = ()
    verdict: Mapping[str, Any] | None = None
    speed: Sequence[Row] = ()
    machine: str = ""

    @classmethod
    def of(
        cls,
        labels: Labels,
        metrics: Iterable[Row] = (),
        verdicts: Iterable[Mapping[str, Any]] = (),
        speed: Iterable[Row] = (),
        machine: str = "",
    ) -> Measured:
        """Return what is about the model with these labels among what is about all of a run."""
        who = {name: str(labels[name]) for name in ("student", "variant", "seed")}
        errors = [row for row in metrics if (row["model"], row["variant"], row["seed"]) == tuple(who.values())]
        verdict = next((one for one in verdicts if all(str(one[name]) == who[name] for name in who)), None)
        return cls(errors, verdict, [row for row in speed if row["model"] == who["student"]], machine)


@dataclass(frozen=True)
class Facts:
    """What is known of an exported model.

    Attributes:
        name: of the model.
        description: its ``model.json``.
        programs: by the name of their folder.
        safety: one line on the gate; it begins with UNSAFE where a gate that failed was overruled.
        parts: what it was made of, with licences.
        gate: ``gate.json``.
        certificate: ``certificate.json``.
        domain: what it was fitted to.
        measured: what its run has measured.
    """

    name: str
    description: Mapping[str, Any]
    programs: Mapping[str, Program]
    safety: str
    parts: Sequence[Part]
    gate: Mapping[str, Any] | None = None
    certificate: Mapping[str, Any] | None = None
    domain: Domain | None = None
    measured: Measured = Measured()

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements that it knows."""
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[z] for z in self.description["elements"] or ())

    @property
    def architecture(self) -> str:
        """Its row in the table of potentials."""
        return str(self.description["architecture"])

    @property
    def teacher(self) -> Mapping[str, Any] | None:
        """What its folder says of its teacher; None where it had none."""
        found: Mapping[str, Any] | None = self.description.get("provenance", {}).get("teacher")
        return found

    @property
    def title(self) -> str:
        """What it is in a few words: ``painn for Si, distilled from diep-2.0``."""
        taught = f", distilled from {self.teacher['name']}" if self.teacher else ""
        return f"{self.name}: {self.architecture} for {' '.join(self.elements) or 'any elements'}{taught}"

    def mean_errors(self) -> list[Row]:
        """Return its mean absolute errors on all test structures, against DFT first, then against its teacher."""
        kind = {"statistic": "mae", "config_type": "all"}.items()
        rows = [row for row in self.measured.errors if kind <= row.items() and row["value"]]
        return sorted(rows, key=lambda row: (row["split"] != "test", row["reference"] != "dft"))
