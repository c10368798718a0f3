"""Phonons of a crystal by finite displacements in a supercell, with phonopy (A. Togo, J. Phys. Soc. Jpn. 92, 012001
(2023)).

At wave vectors that are commensurate with the supercell frequencies are exact whatever the range of the forces: these
are compared, and looked at for imaginary ones. The density of states is interpolated between them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.analysis.phonons import density_of_states, imaginary_modes
from distill.analysis.quantities import Quantity, StaticResult
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.base.tolerances import Tolerance
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import DISPLACEMENTS, force_constants, in_double, is_smooth
from distill.statics.kept import Relaxations
from distill.statics.supercell import repetitions
from distill.structures.frames import Frames

LENGTH = 10.0
"""Å between opposite faces of the supercell at least, where none is given: twice a cut-off of 5 Å."""

SYMMETRIC = 0.01
"""Å; atoms of a relaxed crystal that are nearer than that to a symmetric place are there."""

NAMES = ("highest frequency", "mean frequency", "lowest frequency")


def phonons(
    atoms: Atoms,
    potential: Potential,
    *,
    name: str,
    supercell: Sequence[int] | None = None,
    displacement: float = 0.01,
    mesh: float = 60.0,
    tolerance: Tolerance = "10%",
    fmax: float = 0.001,
    steps: int = 500,
    progress: Progress = Progress(),
    work: Path | None = None,
) -> StaticResult:
    """Return the phonons of a crystal at its own equilibrium, THz.

    Compared are the highest frequency, the mean of the density of states and the lowest frequency at a commensurate
    wave vector other than zero. Among the arrays are the primitive cell (Å), the commensurate wave vectors in units of
    its reciprocal lattice, the frequencies there (imaginary ones negative) and the density of states. Imaginary modes
    are a flaw.

    Args:
        atoms: the crystal; cell and positions are relaxed first.
        potential: the model; networks are computed in double precision.
        name: what the crystal is called.
        supercell: repetitions of it; by default as many as bring opposite faces :data:`LENGTH` apart.
        displacement: of one atom at a time, Å.
        mesh: for the density of states: wave vectors are 2 pi / mesh apart, Å.
        tolerance: how far frequencies may be from the teacher's.
        fmax: largest force after the relaxation, eV/Å.
        steps: of the relaxation, at most.
        progress: counts displaced supercells.
        work: a folder from which a killed run goes on; None keeps nothing.

    Raises:
        UserError: phonopy is not installed.
    """
    phonopy_or_refuse()
    double = in_double(potential)
    rest = Relaxations(work)(atoms, double.calculator(), cell=True, fmax=fmax / 10, steps=steps)
    why = rest.why or _not_harmonic(double, rest.atoms)
    if why:
        return StaticResult("phonons", name, 1, [_quantity(what, name, None, tolerance, why) for what in NAMES])
    repeat = tuple(supercell or repetitions(atoms, LENGTH))
    phonon = _with_force_constants(rest.atoms, double, repeat, displacement, progress)
    points = _commensurate(phonon)
    frequencies = np.array(phonon.run_qpoints(points).frequencies)
    sampled = phonon.run_mesh(mesh)
    grid, density = density_of_states(np.array(sampled.frequencies), np.array(sampled.weights, dtype=float))
    away = np.linalg.norm(points, axis=1) > 1e-6
    lowest = float(frequencies[away].min()) if away.any() else None
    mean = float(np.sum(grid * density) / np.sum(density))
    values = zip(NAMES, (float(frequencies.max()), mean, lowest), strict=True)
    flaw = imaginary_modes(name, points, frequencies)
    return StaticResult(
        kind="phonons",
        structure=name,
        level=1,
        quantities=[_quantity(what, name, value, tolerance, "the supercell has none") for what, value in values],
        flaws=[flaw] if flaw else [],
        sound="" if flaw else f"{name} is dynamically stable",
        arrays={
            "primitive_cell": np.array(phonon.primitive.cell).tolist(),
            "supercell": list(repeat),
            "wave_vectors": points.tolist(),
            "frequencies": frequencies.tolist(),
            "density_of_states": {"frequencies": grid.tolist(), "values": density.tolist()},
        },
    )


def phonopy_or_refuse() -> Any:
    """Return the package; raises UserError with how to install it where it is not there."""
    try:
        import phonopy
    except ImportError:
        raise UserError(
            "phonons need phonopy, which is not installed", remedy="Install it: pip install 'mlip-distill[physics]'"
        ) from None
    return phonopy


def _not_harmonic(double: Potential, atoms: Atoms) -> str:
    """Return why a crystal has no frequencies; nothing where the force constant of an atom is one number."""
    constants = force_constants(double.evaluate, atoms.repeat(repetitions(atoms, LENGTH / 2)))
    if is_smooth(constants):
        return ""
    near, far = (f"{constants[k]:.3g} eV/Å² at {DISPLACEMENTS[k]:g} Å" for k in (0, -1))
    return f"no harmonic frequencies: the force constant of an atom is {near}, {far}"


def _quantity(what: str, name: str, value: float | None, tolerance: Tolerance, why: str) -> Quantity:
    return Quantity(f"{what} of {name}", value, "THz", tolerance, "" if value is not None else why)


def _with_force_constants(
    atoms: Atoms, potential: Potential, repeat: Sequence[int], displacement: float, progress: Progress
) -> Any:
    """Return phonopy's object with force constants whose sums vanish."""
    phonopy = phonopy_or_refuse()
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the primitive cell is found by symmetry, as is asked for
        phonon = phonopy.Phonopy(cell, np.diag(repeat), primitive_matrix="auto", symprec=SYMMETRIC)
    phonon.generate_displacements(distance=displacement)
    displaced = [
        Atoms(numbers=one.numbers, cell=one.cell, scaled_positions=one.scaled_positions, pbc=True)
        for one in phonon.supercells_with_displacements
    ]
    with progress.phase("phonons", len(displaced), "supercell") as phase:
        said = potential.evaluate(Frames.from_atoms(displaced), stress=False, progress=phase)
    phonon.forces = np.asarray(said.forces).reshape(len(displaced), -1, 3)
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants(show_drift=False)
    return phonon


def _commensurate(phonon: Any) -> Array:
    """Return the wave vectors that are commensurate with the supercell, ``[Q, 3]``."""
    from phonopy.harmonic.dynmat_to_fc import DynmatToForceConstants

    return np.array(DynmatToForceConstants(phonon.primitive, phonon.supercell).commensurate_points)
