"""The energy-volume curve of a crystal with one model, and what the model says where no label was: far compressed, and
where an atom just leaves a symmetric site."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from distill.analysis.energy_volume import (
    COMPRESSED,
    EnergyVolumeFit,
    compressed_copies,
    energy_volume_curve,
    falls_at,
    scaled,
)
from distill.analysis.quantities import Quantity, StaticResult
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.tolerances import Tolerance
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import (
    DISPLACEMENTS,
    describe_constants,
    force_constants,
    in_double,
    is_smooth,
)
from distill.statics.supercell import repetitions

APART = 5.0
"""Å between an atom that is displaced and its images, at least: a crystal that moves as a whole shows nothing."""


def energy_volume(
    atoms: Atoms,
    potential: Potential,
    *,
    name: str,
    strain: float = 0.04,
    points: int = 11,
    cubic_cell_atoms: int | None = None,
    perfect: bool = True,
    lattice_constant_tolerance: Tolerance = "1%",
    bulk_modulus_tolerance: Tolerance = "10%",
) -> StaticResult:
    """Return the equation of state of a structure that is scaled isotropically.

    Args:
        atoms: what is scaled.
        potential: the model.
        name: what it is called.
        strain: largest change of lengths, relative.
        points: volumes.
        cubic_cell_atoms: atoms of the cubic cell whose edge is the lattice constant; without it the volume is compared.
        perfect: whether it is a crystal on whose symmetric sites the energy must be smooth, and which must resist
            compression.
        lattice_constant_tolerance: how far that, or a third of it the volume, may be from the teacher's.
        bulk_modulus_tolerance: likewise.

    Raises:
        UserError: the structure is not periodic in three directions.
    """
    if not atoms.pbc.all():
        raise UserError(f"{name} is not periodic in three directions: it has no volume", remedy="Name a crystal")
    frames = scaled(atoms, strain, points)
    found = energy_volume_curve(frames, partial(potential.evaluate, stress=False))
    flaws = [f"there is no equilibrium volume of {name} ({found.fit.failure})"] if found.fit.failure else []
    arrays: dict[str, Any] = {
        "cubic_cell_atoms": cubic_cell_atoms,
        "volumes": (frames.volumes / frames.n_atoms).tolist(),
        "energies": found.energies.tolist(),
        "fit": asdict(found.fit),
    }
    if perfect:
        probed, wrong = _probed(atoms, potential, found.fit, name)
        arrays |= probed
        flaws += wrong
    rises = f"the energy of {name} rises down to {min(COMPRESSED):g} of its volume"
    return StaticResult(
        kind="energy_volume",
        structure=name,
        level=1,
        quantities=_quantities(found.fit, name, cubic_cell_atoms, lattice_constant_tolerance, bulk_modulus_tolerance),
        flaws=flaws,
        sound=f"{rises}, and is smooth where an atom leaves its site" if perfect and not flaws else "",
        arrays=arrays,
    )


def _quantities(
    fit: EnergyVolumeFit, name: str, cell: int | None, length: Tolerance, modulus: Tolerance
) -> list[Quantity]:
    why = fit.failure or ""
    if cell is None:
        volume: Tolerance = f"{3 * float(length.removesuffix('%')):g}%" if isinstance(length, str) else length
        size = Quantity(f"volume per atom of {name}", fit.volume, "Å³", volume, why)
    else:
        size = Quantity(f"lattice constant of {name}", fit.lattice_constant(cell), "Å", length, why)
    return [size, Quantity(f"bulk modulus of {name}", fit.bulk_modulus, "GPa", modulus, why)]


def _probed(atoms: Atoms, potential: Potential, fit: EnergyVolumeFit, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return what a model says of a crystal compressed and of an atom displaced, and what is wrong with that.

    Compression begins at the model's own equilibrium volume, or where it has none at the given one. Force constants
    are those of an atom and its images, :data:`APART` from each other, in double precision.
    """
    volume = (fit.volume or atoms.get_volume() / len(atoms)) * len(atoms)
    energies = potential.evaluate(compressed_copies(atoms, volume), stress=False).energy_per_atom
    constants = force_constants(in_double(potential).evaluate, atoms.repeat(repetitions(atoms, APART)))
    arrays = {
        "compressed": {"relative_volumes": list(COMPRESSED), "energies": energies.tolist()},
        "force_constants": {"displacements": list(DISPLACEMENTS), "values": constants.tolist()},
    }
    return arrays, _flaws(name, energies, constants)


def _flaws(name: str, energies: Array, constants: Array) -> list[str]:
    """Return what is wrong with the energies of compressed copies and the force constants of an atom."""
    flaws = []
    if (hole := falls_at(np.array(COMPRESSED), energies)) is not None:
        flaws.append(
            f"the energy of {name} falls when it is compressed to {hole:g} of its volume: "
            "dynamics that gets there collapses"
        )
    if not is_smooth(constants):
        flaws.append(
            f"the force constant of an atom of {name} depends on the displacement, {describe_constants(constants)}: "
            "its phonons and relaxations near symmetric sites cannot be trusted"
        )
    return flaws
