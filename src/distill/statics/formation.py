"""Energies of defects, surfaces and grain boundaries, from structures that are relaxed with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from distill.analysis.formation import EV_PER_A2_IN_J_PER_M2, amounts, excess
from distill.analysis.quantities import Quantity, StaticResult
from distill.base.arrays import Array
from distill.base.errors import UserError, nearest
from distill.base.progress import Progress
from distill.base.tolerances import Tolerance
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double
from distill.statics.kept import Relaxations
from distill.statics.relax import Relaxed


def formation(
    structures: Mapping[str, Atoms],
    potential: Potential,
    *,
    bulk: str,
    reservoirs: Sequence[str] = (),
    defects: Sequence[str] = (),
    surfaces: Sequence[str] = (),
    boundaries: Sequence[str] = (),
    tolerance: Tolerance = "10%",
    fmax: float = 0.001,
    steps: int = 500,
    progress: Progress = Progress(),
    work: Path | None = None,
) -> StaticResult:
    """Return energies of formation against a bulk crystal: of defects in eV, of surfaces and boundaries in J/m².

    The bulk relaxes with its cell; the cells of defects, surfaces and boundaries are strained as that is, and their
    atoms relax. A surface or boundary is spanned by the first two cell vectors, and a cell has two of them.

    Args:
        structures: by name.
        potential: the model.
        bulk: name of the perfect crystal, in the orientation of the others.
        reservoirs: names of further references, one for each element that is added or taken away; those that are
            periodic in three directions relax with their cells.
        defects: names of structures.
        surfaces: likewise.
        boundaries: likewise.
        tolerance: how far the energies may be from the teacher's.
        fmax: largest force after a relaxation, eV/Å.
        steps: of a relaxation, at most.
        progress: counts relaxations.
        work: a folder from which a killed run goes on; None keeps nothing.

    Raises:
        UserError: a name that there is not, or atoms that are no sum of the references.
    """
    references = (bulk, *reservoirs)
    wanted = {"defect": defects, "surface": surfaces, "boundary": boundaries}
    taken = stoichiometry(structures, references, [one for names in wanted.values() for one in names])
    calculator = in_double(potential).calculator()
    ends: dict[str, Relaxed] = {}
    relax = Relaxations(work)
    with progress.phase("energies of formation", len(references) + len(taken), "relaxation") as phase:
        for name in references:
            atoms = structures[name]
            ends[name] = relax(atoms, calculator, cell=bool(atoms.pbc.all()), fmax=fmax, steps=steps)
            phase.advance(1)
        strain = np.linalg.solve(structures[bulk].cell.array, ends[bulk].atoms.cell.array)
        for name in taken:
            ends[name] = relax(_strained(structures[name], strain), calculator, fmax=fmax, steps=steps)
            phase.advance(1)
    energies = {name: float(end.atoms.get_potential_energy()) for name, end in ends.items() if not end.why}
    kind_of = {name: kind for kind, names in wanted.items() for name in names}
    quantities = [_quantity(kind_of[name], name, ends, energies, of, tolerance) for name, of in taken.items()]
    own = {name for name, of in taken.items() if all(abs(of[one]) < 1e-9 for one in reservoirs)}
    flaws = [
        f"{one.name} is negative ({one.value:.3g} {one.unit}): the crystal {bulk} falls apart"
        for one in quantities
        if one.value is not None and one.value < 0 and one.name.rpartition(" ")[2] in own
    ]
    return StaticResult("formation", bulk, 1, quantities, flaws, arrays={"energies": energies, "amounts": taken})


def stoichiometry(
    structures: Mapping[str, Atoms], references: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return how much of each reference each structure is made of; see :func:`distill.analysis.formation.amounts`."""
    for name in (*references, *names):
        if name not in structures:
            raise UserError(f"there is no structure {name!r}", remedy=nearest(name, structures))
    if not structures[references[0]].pbc.all():
        raise UserError(f"the bulk {references[0]} is not periodic in three directions", remedy="Name a crystal")
    atoms = {name: structures[name].get_chemical_symbols() for name in references}
    return {name: amounts(name, structures[name].get_chemical_symbols(), atoms) for name in names}


def _strained(atoms: Atoms, strain: Array) -> Atoms:
    """Return a copy whose cell is strained as that of the bulk."""
    copied = atoms.copy()
    copied.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return copied


def _quantity(
    kind: str,
    name: str,
    ends: Mapping[str, Relaxed],
    energies: Mapping[str, float],
    taken: Mapping[str, float],
    tolerance: Tolerance,
) -> Quantity:
    """Return the energy of one structure; without a value where it or a reference did not relax."""
    unit = "eV" if kind == "defect" else "J/m²"
    broken = next((one for one in (*taken, name) if ends[one].why), None)
    if broken is not None:
        return Quantity(f"energy of the {kind} {name}", None, unit, tolerance, f"{broken}: {ends[broken].why}")
    value = excess(energies[name], energies, taken)
    if kind != "defect":
        cell = ends[name].atoms.cell.array
        value *= EV_PER_A2_IN_J_PER_M2 / (2 * float(np.linalg.norm(np.cross(cell[0], cell[1]))))
    return Quantity(f"energy of the {kind} {name}", value, unit, tolerance)
