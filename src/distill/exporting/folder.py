"""The folder of an export: the model itself, a folder for each program, the certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.analysis.agreement import FAILED, agreements
from distill.base.files import read_json, write_text
from distill.base.progress import Progress
from distill.exporting import gate as safety_gate
from distill.exporting.canonical import write_canonical
from distill.exporting.card import FILE as CARD
from distill.exporting.card import card
from distill.exporting.certificate import FILE, Certificate, together
from distill.exporting.domain import Domain
from distill.exporting.facts import Facts, Measured, Program
from distill.exporting.licences import parts_of, write_licences
from distill.exporting.target import Target, Wanted
from distill.potentials.interface.potential import Potential

SCRIPT = "certify.py"

_SCRIPT = '''"""Compare this student with the programs that are here, and write certificate.json: python certify.py"""

from pathlib import Path

import distill

if __name__ == "__main__":
    print(distill.certify(Path(__file__).resolve().parent)["verdict"])
'''


def written(
    potential: Potential,
    saved: Path | None,
    targets: Mapping[str, Target],
    wanted: Wanted,
    folder: Path,
    data_licence: str = "",
) -> list[Path]:
    """Write a student, and what programs need of it, and return the files.

    Args:
        potential: the student.
        saved: the folder that it was opened from; None saves it anew.
        targets: the programs, by name.
        wanted: how it is wanted.
        folder: of the export.
        data_licence: that of the structures it was fitted to; empty where it is not known.
    """
    files = write_canonical(potential, saved, folder)
    for name, target in targets.items():
        files += target.write(potential, folder / name, wanted)
    write_text(folder / SCRIPT, _SCRIPT)
    return [*files, folder / SCRIPT, *write_licences(parts_of(read_json(folder / "model.json"), data_licence), folder)]


def certificate_of(
    potential: Potential,
    targets: Mapping[str, Target],
    wanted: Wanted,
    folder: Path,
    progress: Progress = Progress(),
) -> Certificate:
    """Return the certificate of what was written into a folder: how far each program is from the student."""
    found = {}
    with progress.phase("comparing", len(targets), "program") as phase:
        for name, target in targets.items():
            found[name] = target.certify(potential, folder / name, wanted)
            phase.advance(1, f"{target.title} {found[name]['verdict']}")
    return together(found)


def disagreements(certificate: Certificate) -> list[str]:
    """Return a clause for each program that does not say the same, with the difference that is farthest off."""
    said = []
    for one in certificate["programs"].values():
        off = [row for row in agreements(one.get("checks", {})) if row.outcome == FAILED]
        for row in off[:1]:
            more = f", and {len(off) - 1} more" if len(off) > 1 else ""
            what = f"{row.what}: {row.difference:.2g} where {row.limit:.2g} is allowed"
            said.append(f"{one['engine']} does not say the same as this package ({what}{more})")
    return said


def write_card(
    targets: Mapping[str, Target],
    safety: str,
    folder: Path,
    *,
    name: str = "",
    data_licence: str = "",
    domain: Domain | None = None,
    measured: Measured = Measured(),
) -> Path:
    """Write the card of an export, from what is in its folder and what is known besides; return the file.

    Args:
        targets: the programs, by name.
        safety: one line on the gate.
        folder: of the export, with all else in it.
        name: of the model; that of the folder if empty.
        data_licence: that of the structures it was fitted to; empty where it is not known.
        domain: what it was fitted to, where that is known.
        measured: what its run has measured.
    """
    description = read_json(folder / "model.json")
    facts = Facts(
        name=name or folder.name,
        description=description,
        programs={name: Program(one.title, one.usage, one.licence) for name, one in targets.items()},
        safety=safety,
        parts=parts_of(description, data_licence),
        gate=_read(folder / safety_gate.FILE),
        certificate=_read(folder / FILE),
        domain=domain,
        measured=measured,
    )
    write_text(folder / CARD, card(facts))
    return folder / CARD


def _read(file: Path) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = read_json(file) if file.is_file() else None
    return found
