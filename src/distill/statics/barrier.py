"""Energy barriers between two structures, by the nudged elastic band with a climbing image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE

from distill.analysis.quantities import Quantity, StaticResult
from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.base.tolerances import Tolerance
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double
from distill.statics.kept import Relaxations, load_band, save_band
from distill.structures.guard import UnphysicalResult, UnphysicalStructure

SAME = 0.1
"""Å; ends of which no atom is further apart than that are the same."""

KEEP = 10
"""Steps of the band after which it is kept."""


def barrier(
    path: Sequence[Atoms],
    potential: Potential,
    *,
    name: str,
    images: int = 5,
    spring: float = 0.1,
    tolerance: Tolerance = 0.05,
    fmax: float = 0.02,
    steps: int = 500,
    progress: Progress = Progress(),
    work: Path | None = None,
) -> StaticResult:
    """Return the barrier from the first structure to the last and the difference of their energies, eV.

    Both ends relax in their cell. Images between them are those of ``path``, or are interpolated (IDPP: S. Smidstrup et
    al., J. Chem. Phys. 140, 214106 (2014)). The highest image climbs (G. Henkelman et al., J. Chem. Phys. 113, 9901
    (2000)).

    Args:
        path: the ends, and images between them where there are more than two.
        potential: the model.
        name: what happens on the way, for instance ``"vacancy hop"``.
        images: between the ends, where the path has none.
        spring: of the band, eV/Å².
        tolerance: how far barrier and difference may be from the teacher's, eV or a share.
        fmax: largest force on an image at the end, eV/Å; the ends relax to a tenth of it.
        steps: of each relaxation, at most.
        progress: counts steps of the band.
        work: a folder from which a killed run goes on; None keeps nothing.

    Raises:
        UserError: the structures are not those of one path.
    """
    check_path(path)
    double = in_double(potential)
    relax = Relaxations(work)
    ends = [relax(one, double.calculator(), fmax=fmax / 10, steps=steps) for one in (path[0], path[-1])]
    why = next((f"the {which} is {one.why}" for which, one in zip(("start", "end"), ends, strict=True) if one.why), "")
    moved = ends[1].atoms.positions - ends[0].atoms.positions
    furthest = float(find_mic(moved, path[0].cell, path[0].pbc)[1].max())
    if not why and furthest < SAME:
        why = f"start and end relax to the same structure (no atom moves by more than {furthest:.2g} Å)"
    energies: list[float] = []
    if not why:
        inner = [one.copy() for one in path[1:-1]] or [ends[0].atoms.copy() for _ in range(images)]
        for one in inner:
            one.calc = double.calculator()
        band = NEB([ends[0].atoms, *inner, ends[1].atoms], k=spring, climb=True, method="improvedtangent")
        if not load_band(work, band.images) and len(path) == 2:
            band.interpolate("idpp", mic=True)
        energies, why = _climbed(band, fmax, steps, progress, work)
    values = (max(energies) - energies[0], energies[-1] - energies[0]) if energies and not why else (None, None)
    names = (f"barrier of {name}", f"energy difference of {name}")
    quantities = [Quantity(what, value, "eV", tolerance, why) for what, value in zip(names, values, strict=True)]
    return StaticResult("barrier", name, 1, quantities, arrays={"path": energies})


def check_path(path: Sequence[Atoms]) -> None:
    """Raise :class:`UserError` where structures are not those of one path."""
    if len(path) < 2:
        raise UserError("a path needs two structures, its start and its end", remedy="Add the end to the file")
    for k, one in enumerate(path[1:], 1):
        if not np.array_equal(one.numbers, path[0].numbers):
            what = f"structure {k} has other atoms than the first, or the same in another order"
            raise UserError(what, remedy="Write all structures of a path with the same atoms in the same order")
        if not np.allclose(one.cell.array, path[0].cell.array, atol=1e-4) or not np.array_equal(one.pbc, path[0].pbc):
            raise UserError(f"structure {k} has another cell than the first", remedy="Use one cell for the whole path")


def _climbed(band: NEB, fmax: float, steps: int, progress: Progress, work: Path | None) -> tuple[list[float], str]:
    """Return the energies along the band after it was relaxed, and why they are no barrier, if so."""
    with progress.phase("elastic band", steps, "step") as phase, FIRE(band, logfile=None) as optimiser:
        optimiser.attach(lambda: save_band(work, band.images), interval=KEEP)
        optimiser.attach(lambda: phase.update(min(optimiser.nsteps, steps)))
        try:
            converged = optimiser.run(fmax=fmax, steps=steps)
        except (UnphysicalResult, UnphysicalStructure) as error:
            return [], f"the path broke: {error.what}"
    energies = [float(image.get_potential_energy()) for image in band.images]
    return energies, "" if converged else f"the path is not relaxed after {steps} steps"
