"""What became of students that were taken to other programs: the gate, the certificate, and where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from distill.analysis.agreement import agreements
from distill.reporting.data import Exported, name_with_seed
from distill.reporting.tables import Entry, Table


def export_sentences(exports: Sequence[Exported]) -> Iterator[tuple[Literal["good", "bad"], str]]:
    """Yield for each export whether the student passed the safety gate."""
    for one in exports:
        if one.gate is not None:
            said = one.gate["sentence"].partition(" ")[2]  # without the name of the model
            yield "good" if one.gate["passed"] else "bad", f"Safety gate: {name_with_seed(one, exports)} {said}."


def exports_table(exports: Sequence[Exported]) -> Table | None:
    """Return how each export ended, one row a student."""
    if not exports:
        return None
    rows = [
        (Entry(name_with_seed(one, exports)), _gate(one.gate), _certificate(one.certificate), Entry(one.folder or "–"))
        for one in exports
    ]
    return Table("Exports", ("model", "safety gate", "certificate", "folder"), tuple(rows))


def gate_table(exports: Sequence[Exported]) -> Table | None:
    """Return what the gate looked at, one row a check and student."""
    rows = [
        (Entry(name_with_seed(one, exports)), Entry(row["name"]), Entry(_outcome(row)), Entry(row["sentence"]))
        for one in exports
        for row in (one.gate or {}).get("rows", ())
    ]
    return (
        Table("What the safety gate looked at", ("model", "check", "outcome", "found"), tuple(rows)) if rows else None
    )


def certificate_table(exports: Sequence[Exported]) -> Table | None:
    """Return how far programs are from this one, one row a quantity, program and student."""
    rows = []
    for one in exports:
        for program in (one.certificate or {}).get("programs", {}).values():
            for row in agreements(program.get("checks", {})):
                numbers = (Entry("–" if value is None else f"{value:.2g}") for value in (row.difference, row.limit))
                who = Entry(name_with_seed(one, exports))
                rows.append((who, Entry(program["engine"]), Entry(row.what), *numbers, Entry(row.outcome)))
    header = ("model", "program", "compared", "largest difference", "limit", "outcome")
    return Table("Other programs against this one", header, tuple(rows)) if rows else None


def _outcome(row: Mapping[str, Any]) -> str:
    return "passed" if row["passed"] else "warned" if row["warns"] else "failed"


def _gate(gate: Mapping[str, Any] | None) -> Entry:
    if gate is None:
        return Entry("not run")
    return Entry("passed") if gate["passed"] else Entry("failed", gate["sentence"])


def _certificate(certificate: Mapping[str, Any] | None) -> Entry:
    if certificate is None:
        return Entry("–")
    said = "; ".join(f"{one['engine']}: {one['verdict']}" for one in certificate["programs"].values())
    return Entry(certificate["verdict"].partition(":")[0], said)
