"""The static physics that a recipe asks for, done with one model: settings and files in, results out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.progress import Progress
from distill.stages.start import describe, start
from distill.stages.static_kinds import Barrier, Dimers, Elastic, EnergyVolume, Formation, Gradients, Phonons, Static

if TYPE_CHECKING:
    from ase import Atoms

    from distill.analysis.quantities import StaticResult
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames


@dataclass(frozen=True)
class Given:
    """What there is besides the settings: model, where work is reported and kept, structures."""

    potential: Potential
    progress: Progress
    work: Path
    frames: Path
    structure: Path | None = None
    file: Path | None = None


def static_result(run: Static, given: Given) -> StaticResult:
    """Return what one model says of one entry of the recipe."""
    return _DRIVERS[type(run)](run, given)


def _dimers(run: Dimers, given: Given) -> StaticResult:
    from distill.statics.dimers import dimers
    from distill.structures.read import read_frames

    elements = read_frames(given.frames)[0].elements
    return dimers(elements, given.potential, progress=given.progress, **run.model_dump(exclude={"kind"}))


def _gradients(run: Gradients, given: Given) -> StaticResult:
    from distill.statics.gradients import gradients

    frames, name = _looked_at(run, given)
    return gradients(frames, given.potential, name=name, progress=given.progress)


def _looked_at(run: Gradients, given: Given) -> tuple[Frames, str]:
    """Return training structures, evenly over the file, with the one that is named, and what they are called."""
    import numpy as np

    from distill.structures.frames import Frames, concatenate
    from distill.structures.read import read_frames

    every = read_frames(given.frames)[0]
    chosen = np.unique(np.linspace(0, len(every) - 1, run.frames).round().astype(int))
    name = f"{len(chosen)} training structure{'s' if len(chosen) > 1 else ''}"
    bare = Frames.from_atoms(every[chosen].to_atoms())
    if run.structure is None:
        return bare, name
    atoms = start(run.structure, given.frames, given.structure)
    return concatenate([bare, Frames.from_atoms([atoms])]), f"{name} and {describe(run.structure, atoms)}"


def _energy_volume(run: EnergyVolume, given: Given) -> StaticResult:
    from distill.statics.energy_volume import energy_volume

    atoms, crystal = start(run.structure, given.frames, given.structure), run.structure.crystal
    return energy_volume(
        atoms,
        given.potential,
        name=describe(run.structure, atoms),
        strain=run.strain,
        points=run.points,
        cubic_cell_atoms=len(atoms) // math.prod(run.structure.repeat) if crystal and crystal.cubic else None,
        perfect=run.structure.frame is None,
        lattice_constant_tolerance=run.lattice_constant_tolerance,
        bulk_modulus_tolerance=run.bulk_modulus_tolerance,
    )


def _elastic(run: Elastic, given: Given) -> StaticResult:
    from distill.statics.elastic import elastic

    atoms = start(run.structure, given.frames, given.structure)
    plain = run.model_dump(exclude={"kind", "structure", "relax"}) | run.relax.model_dump()
    return elastic(
        atoms, given.potential, name=describe(run.structure, atoms), progress=given.progress, work=given.work, **plain
    )


def _phonons(run: Phonons, given: Given) -> StaticResult:
    from distill.statics.phonons import phonons

    atoms = start(run.structure, given.frames, given.structure)
    plain = run.model_dump(exclude={"kind", "structure", "relax"}) | run.relax.model_dump()
    return phonons(
        atoms, given.potential, name=describe(run.structure, atoms), progress=given.progress, work=given.work, **plain
    )


def _barrier(run: Barrier, given: Given) -> StaticResult:
    from distill.statics.barrier import barrier

    plain = run.model_dump(exclude={"kind", "file"})
    return barrier(_own_structures(given.file), given.potential, progress=given.progress, work=given.work, **plain)


def _formation(run: Formation, given: Given) -> StaticResult:
    from distill.statics.formation import formation

    plain = run.model_dump(exclude={"kind", "file", "relax"}) | run.relax.model_dump()
    return formation(_by_name(given.file), given.potential, progress=given.progress, work=given.work, **plain)


def check_file(run: Static, file: Path | None) -> None:
    """Raise :class:`UserError` where the structures of a user's file are not those that the recipe is about."""
    from distill.base.errors import UserError

    try:
        if isinstance(run, Barrier):
            from distill.statics.barrier import check_path

            check_path(_own_structures(file))
        if isinstance(run, Formation):
            from distill.statics.formation import stoichiometry

            names = (*run.defects, *run.surfaces, *run.boundaries)
            stoichiometry(_by_name(file), (run.bulk, *run.reservoirs), names)
    except UserError as error:
        raise UserError(error.what, where=error.where or str(file), remedy=error.remedy) from None


def _own_structures(file: Path | None) -> list[Atoms]:
    """Return the structures of a user's file."""
    from distill.structures.read import read_frames

    if file is None:
        raise ValueError("a kind that reads structures of the user's was given no file")
    return read_frames(file, labels="none")[0].to_atoms()


def _by_name(file: Path | None) -> dict[str, Atoms]:
    """Return the structures of a user's file by their names."""
    from distill.base.errors import UserError

    named: dict[str, Atoms] = {}
    for k, atoms in enumerate(_own_structures(file)):
        name = str(atoms.info.get("name", ""))
        if not name or name in named:
            what = f"two structures are called {name!r}" if name else "a structure has no name"
            raise UserError(what, where=f"{file}, frame {k}", remedy="Write name=... of its own in each comment line")
        named[name] = atoms
    return named


_DRIVERS: dict[type[Static], Callable[[Any, Given], StaticResult]] = {
    Dimers: _dimers,
    Gradients: _gradients,
    EnergyVolume: _energy_volume,
    Elastic: _elastic,
    Phonons: _phonons,
    Barrier: _barrier,
    Formation: _formation,
}
