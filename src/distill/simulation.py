"""Molecular dynamics with a saved potential, outside a recipe: from a folder and a file to a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.base.progress import Progress
from distill.given import check_model, model_name, open_model

if TYPE_CHECKING:
    from ase import Atoms

    from distill.dynamics.course import Dynamics
    from distill.dynamics.ensembles import Barostat, Kind, Thermostat
    from distill.given import Model


def md(
    model: Model,
    structure: str | Path | Atoms,
    *,
    ps: float,
    temperature: float = 300.0,
    ensemble: Kind = "nvt",
    thermostat: Thermostat = "langevin",
    thermostat_fs: float = 100.0,
    pressure: float = 0.0,
    barostat: Barostat = "isotropic",
    barostat_fs: float = 1000.0,
    timestep_fs: float = 1.0,
    save_every_fs: float = 20.0,
    checkpoint_ps: float = 1.0,
    velocities: bool = False,
    repeat: Sequence[int] = (1, 1, 1),
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "auto",
    compiled: bool = False,
    progress: Progress | None = None,
    trust_code: bool = False,
    environment: str | None = None,
) -> Dynamics:
    """Run molecular dynamics; a run that is there already is continued, after a kill bit for bit on a processor.

    Args:
        model: folder of a saved potential, a potential, or an ASE calculator.
        structure: a file that ASE reads, of which the last structure is taken, or ASE atoms.
        ps: length, ps; a longer one continues the run that is there.
        temperature: K.
        ensemble: nve, nvt or npt.
        thermostat: of nvt: langevin for averages of structures, bussi for diffusion and spectra.
        thermostat_fs: time in which it acts, fs.
        pressure: of npt, GPa.
        barostat: of npt: isotropic for liquids, full (the whole cell) for crystals.
        barostat_fs: time in which it acts, fs.
        timestep_fs: fs.
        save_every_fs: time between two samples, fs.
        checkpoint_ps: time between two checkpoints, ps.
        velocities: keep velocities with the samples.
        repeat: repetitions of the cell.
        seed: of the first velocities and the thermostat.
        out: the folder of the run; named after structure, model, ensemble and temperature if None.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        compiled: compile the network first where that can be done.
        progress: where to report.
        trust_code: run what the folder names; see :func:`distill.load_potential`.
        environment: the Python interpreter that the potential runs in, where that is another one.

    Raises:
        UserError: what is wrong with the model, the structure or the ensemble, before anything is run.
    """
    from distill.dynamics.course import Course
    from distill.dynamics.ensembles import Ensemble
    from distill.dynamics.md import run_md
    from distill.workflow.machine import resolve_device

    check_model(model, trust_code=trust_code, environment=environment)
    held = Ensemble(ensemble, temperature, thermostat, thermostat_fs, pressure, barostat, barostat_fs)
    course = Course(ps, timestep_fs, save_every_fs, checkpoint_ps, velocities, seed)
    atoms, name = _structure(structure, repeat)
    potential = open_model(model, resolve_device(device), trust_code, environment)
    if ensemble == "npt" and not potential.predicts_stress:
        raise UserError(f"{model_name(model)} predicts no stress, which npt needs", remedy="Use nvt")
    folder = Path(out) if out is not None else Path(f"md-{name}-{model_name(model)}-{ensemble}-{temperature:g}K")
    calculator = potential.calculator(compiled=compiled and potential.can_compile)
    return run_md(atoms, calculator, held, course, folder, model=_identity(model), progress=progress)


def _structure(structure: str | Path | Any, repeat: Sequence[int]) -> tuple[Atoms, str]:
    """Return the starting structure, repeated, and what it is called."""
    from ase import Atoms
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if len(repeat) != 3 or any(int(n) != n or n < 1 for n in repeat):
        raise UserError(f"repeat is {tuple(repeat)}", remedy="Give three numbers of at least 1, as in 2 2 2")
    counts = tuple(int(n) for n in repeat)
    if isinstance(structure, Atoms):
        return structure.repeat(counts), structure.get_chemical_formula()
    path = Path(structure)
    if not path.is_file():
        raise UserError("there is no such file", str(path), "Give a file of structures: extended XYZ, CIF, POSCAR ...")
    try:
        found = read(path, index=-1)
    except (UnknownFileTypeError, ValueError, KeyError, IndexError, OSError, StopIteration) as error:
        raise UserError(f"cannot be read as structures ({error})", str(path)) from None
    return found.repeat(counts), path.stem


def _identity(model: Model) -> str:
    """Return what tells a model from others: of a folder the hash of what it says, which names its weights."""
    if isinstance(model, str | Path):
        return f"{model_name(model)} {hash_file(Path(model) / 'model.json')}"
    return model_name(model)


def write_trajectory(folder: str | Path, out: str | Path, every: int = 1) -> int:
    """Write a trajectory as a file that ASE knows by its name (.xyz, .traj ...) and return how many structures it has.

    Args:
        folder: of :func:`md`.
        out: the file.
        every: take every so many samples.

    Raises:
        UserError: the folder has no trajectory, or the file's name says no format.
    """
    from ase.io import write
    from ase.io.formats import UnknownFileTypeError

    from distill.base.files import replacing
    from distill.dynamics.trajectory_files import TrajectoryFolder

    out = Path(out)
    snapshots = list(TrajectoryFolder(Path(folder)).snapshots(max(1, every)))
    if not snapshots:
        raise UserError("has no samples yet", str(folder), "Run it to its first checkpoint")
    try:
        with replacing(out) as temporary:
            write(temporary, snapshots, format="extxyz" if out.suffix == ".xyz" else None)
    except (UnknownFileTypeError, ValueError) as error:
        raise UserError(f"cannot be written ({error})", str(out), "Name it .xyz or .traj") from None
    return len(snapshots)
