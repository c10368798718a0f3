"""What a teacher offers a student besides energies, forces and stresses: energies of atoms, and how forces change.

The energies of atoms tell a student how the teacher divides the energy of a structure (S. Matin et al., Digital
Discovery 4, 2502 (2025), arXiv:2502.05379). The product of the Hessian with one vector for each structure tells it how
forces change: the vector, the *probe*, displaces one atom along an axis (a row of the Hessian, I. Amin et al., ICLR
2025, arXiv:2501.09009) or all atoms at once, each coordinate by plus or minus one (a Rademacher vector, as in
Hutchinson's estimate of a trace: the expected squared product is the sum of the squares of the whole Hessian). It is
taken by central differences of forces, so that it costs two evaluations, for teachers and students alike, and no
further derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import replacing
from distill.base.progress import Phase
from distill.base.random import stream
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames

Probes = Literal["rows", "random"]

STEP = 0.01
"""Å by which an atom is displaced either way: small against its vibrations, large against the rounding of forces."""


@dataclass(frozen=True)
class Targets:
    """Further labels of ``B`` structures of together ``N`` atoms; what is None was not asked for.

    Attributes:
        atomic_energy: ``[N]`` eV.
        probe: for each structure the vector that its Hessian was multiplied by, ``[N, 3]``.
        response: the product, the derivatives of all forces with respect to this displacement, negated: ``[N, 3]``
            eV/Å².
        energy_spread: how far several teachers lie apart on the energy per atom, ``[B]`` eV/atom.
        forces_spread: likewise on the force on each atom, ``[N]`` eV/Å, see :class:`distill.structures.spread.Spread`.
        energy_weight: how much the energy and the stress of each structure count, ``[B]``.
        forces_weight: how much the force on each atom counts, ``[N]``.
    """

    atomic_energy: Array | None = None
    probe: Array | None = None
    response: Array | None = None
    energy_spread: Array | None = None
    forces_spread: Array | None = None
    energy_weight: Array | None = None
    forces_weight: Array | None = None

    def of(self, frames: Frames, chosen: Array) -> Targets:
        """Return those of the chosen structures, given by their numbers, of ``frames``."""
        atoms = frames.atom_indices(chosen)
        of_structures = ("energy_spread", "energy_weight")
        present = {name: value for name, value in vars(self).items() if value is not None}
        return Targets(**{name: value[chosen if name in of_structures else atoms] for name, value in present.items()})

    def save(self, path: Path) -> None:
        """Write what there is to an ``.npz`` file, whole or not at all."""
        present = {name: value for name, value in vars(self).items() if value is not None}
        with replacing(path) as temporary:
            np.savez(temporary, **present)

    @classmethod
    def load(cls, path: Path) -> Targets:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in stored.files})


def make_targets(
    potential: Potential, frames: Frames, *, atomic_energies: bool, hessian: Probes | None, seed: int, phase: Phase
) -> Targets:
    """Return the targets that are asked for; ``phase`` counts evaluations: one for energies of atoms, two for a probe.

    Raises:
        UserError: energies of atoms are asked of a teacher that has none.
    """
    energies = atomic_energies_of(potential, frames, phase) if atomic_energies else None
    if hessian is None:
        return Targets(energies)
    probe = draw_probes(frames, hessian, seed)
    return Targets(energies, probe, response_to(potential, frames, probe, phase))


def atomic_energies_of(potential: Potential, frames: Frames, phase: Phase) -> Array:
    """Return the energy of each atom, the energy of its element included, ``[N]`` eV."""
    if not potential.predicts_atomic_energies:
        raise UserError(
            f"{potential.architecture} gives no energies of atoms",
            where="synthetic.atomic_energies",
            remedy="Leave it out, or use a teacher that has them",
        )
    found = []
    for one in frames:
        found.append(potential.energies_of_atoms(one))
        phase.advance()
    return np.concatenate(found) if found else np.zeros(0)


def draw_probes(frames: Frames, kind: Probes, seed: int) -> Array:
    """Return what displaces each structure, ``[N, 3]``: a unit vector of one atom, or plus or minus one everywhere."""
    if kind == "random":
        signs = stream(seed, "probes of the Hessian").integers(0, 2, (len(frames.numbers), 3))
        return np.asarray(2.0 * signs - 1.0)
    probe = np.zeros((len(frames.numbers), 3))
    rng = stream(seed, "rows of the Hessian")
    atoms = frames.offsets[:-1] + rng.integers(0, frames.n_atoms)
    probe[atoms, rng.integers(0, 3, len(frames))] = 1.0
    return probe


def response_to(potential: Potential, frames: Frames, probe: Array, phase: Phase | None = None) -> Array:
    """Return minus the change of the forces by a displacement along ``probe``, per length: ``[N, 3]`` eV/Å²."""
    forces = []
    for sign in (1.0, -1.0):
        predicted = potential.evaluate(displaced(frames, sign * STEP * probe), stress=False, progress=phase)
        assert predicted.forces is not None  # noqa: S101 - evaluate always gives forces
        forces.append(predicted.forces)
    return np.asarray((forces[1] - forces[0]) / (2 * STEP))


def displaced(frames: Frames, by: Array) -> Frames:
    """Return the structures without labels, their atoms displaced by ``by`` ``[N, 3]`` Å."""
    return Frames(frames.n_atoms, frames.numbers, frames.positions + by, frames.cells, frames.pbc, info=frames.info)
