"""Elastic constants: the relaxed crystal is strained to both sides, its ions relax, and the stress is what counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from distill.analysis.elastic import Stiffness, deformation, fit_stiffness, is_cubic, strains
from distill.analysis.quantities import Quantity, StaticResult
from distill.base.arrays import Array
from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.base.progress import Phase, Progress
from distill.base.tolerances import Tolerance
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double
from distill.statics.kept import Relaxations
from distill.statics.relax import Relaxed

STEADY = 0.05
"""Change of a constant with half the strain, relative to the largest: smooth energies have some 1e-3."""


def elastic(
    atoms: Atoms,
    potential: Potential,
    *,
    name: str,
    strain: float = 0.005,
    fmax: float = 0.001,
    steps: int = 500,
    tolerance: Tolerance = "15%",
    progress: Progress = Progress(),
    work: Path | None = None,
) -> StaticResult:
    """Return the elastic constants of a crystal at its own equilibrium, GPa.

    Compared are C11, C12 and C44 of cubic crystals whose axes are x, y and z, C11 to C66 of others, and of all the bulk
    and the shear modulus by Hill; the whole matrix is among the arrays. An elastic instability (Born) is a flaw.

    Args:
        atoms: the crystal; cell and positions are relaxed first.
        potential: the model; networks are computed in double precision.
        name: what the crystal is called.
        strain: of each of the six components, to both sides; half of it is looked at too.
        fmax: largest force after a relaxation, eV/Å.
        steps: of a relaxation, at most.
        tolerance: how far constants and moduli may be from the teacher's.
        progress: counts relaxations.
        work: a folder from which a killed run goes on; None keeps nothing.
    """
    cubic = is_cubic(atoms)
    with progress.phase("elastic constants", 25, "relaxation") as phase:
        double = in_double(potential).calculator()
        relax = partial(Relaxations(work), calculator=double, steps=steps)
        found = _stiffness(atoms, relax, strain, fmax, phase)
    if isinstance(found, str):
        constants = [*(("C11", "C12", "C44") if cubic else [f"C{i}{i}" for i in range(1, 7)])]
        names = [*constants, "bulk modulus (elastic constants)", "shear modulus"]
        missing = [Quantity(f"{what} of {name}", None, "GPa", tolerance, found) for what in names]
        return StaticResult("elastic", name, 1, missing)
    values = (found.cubic() if cubic else found.diagonal()) | {
        "bulk modulus (elastic constants)": found.bulk_modulus,
        "shear modulus": found.shear_modulus,
    }
    flaws = []
    if found.softest <= 0:
        flaws = [f"{name} is elastically unstable: the softest eigenvalue of its stiffness is {found.softest:.3g} GPa"]
    return StaticResult(
        kind="elastic",
        structure=name,
        level=1,
        quantities=[Quantity(f"{what} of {name}", value, "GPa", tolerance) for what, value in values.items()],
        flaws=flaws,
        sound="" if flaws else f"{name} is elastically stable",
        arrays={"stiffness": found.matrix.tolist(), "asymmetry": found.asymmetry},
    )


def _stiffness(
    atoms: Atoms, relax: Callable[..., Relaxed], strain: float, fmax: float, phase: Phase
) -> Stiffness | str:
    """Return the stiffness in GPa, or why there is none.

    It is that of the strain; half of it must give the same, or the energy is not smooth and there is none.
    """
    start = relax(atoms, cell=True, fmax=fmax / 10)
    phase.advance(1)
    if start.why:
        return start.why
    found = _at_strain(start.atoms, relax, strain, fmax, phase)
    half = _at_strain(start.atoms, relax, strain / 2, fmax, phase)
    if isinstance(found, str) or isinstance(half, str):
        return found if isinstance(found, str) else str(half)
    change = float(np.abs(found.matrix - half.matrix).max() / np.abs(found.matrix).max())
    if change > STEADY:
        return f"stresses are not linear: half the strain changes a constant by {100 * change:.0f} % of the largest"
    return found


def _at_strain(
    start: Atoms, relax: Callable[..., Relaxed], strain: float, fmax: float, phase: Phase
) -> Stiffness | str:
    """Return the stiffness at strains of one size, GPa, or why there is none."""
    stresses: list[Array] = []
    for one in strains(strain):
        moved = start.copy()
        moved.set_cell(start.cell.array @ deformation(one), scale_atoms=True)
        end = relax(moved, fmax=fmax)
        if end.why:
            return end.why
        stresses.append(end.atoms.get_stress(voigt=True) * EV_PER_A3_IN_GPA)
        phase.advance(1)
    return fit_stiffness(strains(strain), np.array(stresses))
