"""Molecular dynamics with a saved potential, outside a recipe: from a folder and a file to a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.base.progress import Progress
from distill.base.random import stream_seed
from distill.given import check_model, model_name, open_model

if TYPE_CHECKING:
    from ase import Atoms

    from distill.dynamics.course import Dynamics
    from distill.dynamics.ensembles import Barostat, Kind, Thermostat
    from distill.given import Model
    from distill.potentials.interface.potential import Potential


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
    programme: Sequence[tuple[float, float]] = (),
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
        programme: of nvt and npt: times (ps) and temperatures (K) that follow ``temperature``, with straight lines in
            between; ``[(10, 600), (20, 600), (60, 300)]`` heats to 600 K, holds, and cools by 7.5 K/ps.
        timestep_fs: fs.
        save_every_fs: time between two samples, fs.
        checkpoint_ps: time between two checkpoints, ps.
        velocities: keep velocities with the samples.
        repeat: repetitions of the cell.
        seed: of the first velocities and the thermostat.
        out: the folder of the run; named after structure, model, ensemble and temperature if None.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        compiled: have torch compile a network that is not computed in C++, where that can be done.
        progress: where to report.
        trust_code: run what the folder names; see :func:`distill.load_potential`.
        environment: the Python interpreter that the potential runs in, where that is another one.

    Raises:
        UserError: what is wrong with the model, the structure or the ensemble, before anything is run.
    """
    from distill.dynamics.course import Course
    from distill.dynamics.engines import calculator_for
    from distill.dynamics.ensembles import Ensemble
    from distill.dynamics.md import run_md

    check_model(model, trust_code=trust_code, environment=environment)
    held = Ensemble(ensemble, temperature, thermostat, thermostat_fs, pressure, barostat, barostat_fs, tuple(programme))
    course = Course(ps, timestep_fs, save_every_fs, checkpoint_ps, velocities, seed)
    atoms, name = _structure(structure, repeat)
    potential = _opened(model, ensemble, device, trust_code, environment)
    folder = Path(out) if out is not None else Path(f"md-{name}-{model_name(model)}-{ensemble}-{temperature:g}K")
    calculator = calculator_for(potential, compiled, [folder])
    return run_md(atoms, calculator, held, course, folder, model=_identity(model), progress=progress)


def md_replicas(
    model: Model,
    structure: str | Path | Atoms,
    *,
    ps: float,
    replicas: int = 4,
    temperatures: Sequence[float] = (300.0,),
    ensemble: Kind = "nvt",
    thermostat: Thermostat = "langevin",
    thermostat_fs: float = 100.0,
    pressure: float = 0.0,
    barostat: Barostat = "isotropic",
    barostat_fs: float = 1000.0,
    programme: Sequence[tuple[float, float]] = (),
    timestep_fs: float = 1.0,
    save_every_fs: float = 20.0,
    checkpoint_ps: float = 1.0,
    velocities: bool = False,
    repeat: Sequence[int] = (1, 1, 1),
    seed: int = 0,
    out: str | Path | None = None,
    together: int | None = None,
    device: str = "auto",
    compiled: bool = False,
    progress: Progress | None = None,
    trust_code: bool = False,
    environment: str | None = None,
) -> list[Dynamics]:
    """Run several replicas at each temperature, which differ in their first velocities and their noise.

    On a GPU a network computes all of them in one pass. ``npt``, and potentials that are no networks, run one replica
    after another. More replicas, more temperatures and a longer time continue what is there.

    Args:
        model: as for :func:`md`; so are all arguments that are not named here.
        structure: what all begin from.
        ps: length of each, ps.
        replicas: of each temperature.
        temperatures: K.
        out: the folder of all, each in one of its own there: ``300K-0``, ``300K-1`` and so on; named after structure,
            model and ensemble if None.
        together: how many a network computes in one pass; all on a GPU, one on a processor if None.

    Returns:
        How each ended, by temperature, then replica.

    Raises:
        UserError: what is wrong with the model, the structure or the ensemble, before anything is run.
    """
    from distill.dynamics.batched import run_batch
    from distill.dynamics.course import Course
    from distill.dynamics.engines import calculator_for
    from distill.dynamics.ensembles import Ensemble
    from distill.dynamics.md import run_one_by_one
    from distill.potentials.interface.replica_forces import can_batch

    check_model(model, trust_code=trust_code, environment=environment)
    named = _named_replicas(replicas, temperatures)
    course = Course(ps, timestep_fs, save_every_fs, checkpoint_ps, velocities, seed)
    bath = (thermostat, thermostat_fs, pressure, barostat, barostat_fs, tuple(programme))
    held = [Ensemble(ensemble, kelvin, *bath) for kelvin, _ in named]
    atoms, name = _structure(structure, repeat)
    potential = _opened(model, ensemble, device, trust_code, environment)
    folder = Path(out) if out is not None else Path(f"md-{name}-{model_name(model)}-{ensemble}-replicas")
    folders = [folder / f"{kelvin:g}K-{k}" for kelvin, k in named]
    seeds = [stream_seed(seed, "replica", f"{kelvin:g}", k) for kelvin, k in named]
    if ensemble == "npt" or not can_batch(potential):
        if together is not None:
            what = "replicas of npt, and of what is no network, run one by one, and together says otherwise"
            raise UserError(what, remedy="Leave it out")
        calculator = calculator_for(potential, compiled, folders)
        courses = [replace(course, seed=own) for own in seeds]
        return run_one_by_one(atoms, calculator, held, courses, folders, model=_identity(model), progress=progress)
    if compiled and potential.can_compile:
        potential.compile_for("use")
    how: dict[str, Any] = {"seeds": seeds, "model": _identity(model), "together": together, "progress": progress}
    return run_batch(atoms, potential, held, course, folders, **how)


def _named_replicas(replicas: int, temperatures: Sequence[float]) -> list[tuple[float, int]]:
    """Return temperature and number of each replica."""
    if replicas < 1:
        raise UserError(f"replicas is {replicas}", remedy="Give at least 1")
    if not temperatures or len({f"{kelvin:g}" for kelvin in temperatures}) < len(temperatures):
        raise UserError("temperatures have to be given, each once", remedy="As in 300 350 400")
    return [(kelvin, k) for kelvin in temperatures for k in range(replicas)]


def _opened(model: Model, ensemble: Kind, device: str, trust_code: bool, environment: str | None) -> Potential:
    """Return the potential, which has what the ensemble needs."""
    from distill.workflow.machine import resolve_device

    potential = open_model(model, resolve_device(device), trust_code, environment)
    if ensemble == "npt" and not potential.predicts_stress:
        raise UserError(f"{model_name(model)} predicts no stress, which npt needs", remedy="Use nvt")
    return potential


def _structure(structure: str | Path | Any, repeat: Sequence[int]) -> tuple[Atoms, str]:
    """Return the starting structure, repeated, and what it is called."""
    from ase import Atoms

    from distill.structures.any_format import last_structure

    if len(repeat) != 3 or any(int(n) != n or n < 1 for n in repeat):
        raise UserError(f"repeat is {tuple(repeat)}", remedy="Give three numbers of at least 1, as in 2 2 2")
    counts = tuple(int(n) for n in repeat)
    if isinstance(structure, Atoms):
        return structure.repeat(counts), structure.get_chemical_formula()
    path = Path(structure)
    return last_structure(path).repeat(counts), path.stem


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
