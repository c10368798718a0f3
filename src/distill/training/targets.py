"""What a teacher offers a student besides energies, forces and stresses: energies of atoms, and rows of the Hessian.

The energies of atoms tell a student how the teacher divides the energy of a structure (S. Matin et al., Digital
Discovery 4, 2502 (2025), arXiv:2502.05379); rows of the Hessian tell it how forces change (I. Amin et al., ICLR 2025,
arXiv:2501.09009). A row is taken by central differences of forces, so that it costs two evaluations, for teachers and
students alike, and no further derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import replacing
from distill.base.progress import Phase
from distill.base.random import stream
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames

STEP = 0.01
"""Å by which an atom is displaced either way: small against its vibrations, large against the rounding of forces."""


@dataclass(frozen=True)
class Targets:
    """Further labels of ``B`` structures of together ``N`` atoms; what is None was not asked for.

    Attributes:
        atomic_energy: ``[N]`` eV.
        probe: for each structure one atom's unit vector, the row of the Hessian that was taken, ``[N, 3]``.
        response: that row, the derivatives of all forces with respect to this displacement, negated: ``[N, 3]`` eV/Å².
    """

    atomic_energy: Array | None = None
    probe: Array | None = None
    response: Array | None = None

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
    potential: Potential, frames: Frames, *, atomic_energies: bool, hessian_rows: bool, seed: int, phase: Phase
) -> Targets:
    """Return the targets that are asked for; ``phase`` counts evaluations: one for energies of atoms, two for a row.

    Raises:
        UserError: energies of atoms are asked of a teacher that has none.
    """
    energies = atomic_energies_of(potential, frames, phase) if atomic_energies else None
    if not hessian_rows:
        return Targets(energies)
    probe = choose_rows(frames, seed)
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
        with torch.no_grad():
            batch = potential.batch(one)
            energies = potential.atomic_energies(batch).double() + potential.reference_energies.index_select(
                0, batch.numbers
            )
        found.append(energies.cpu().numpy())
        phase.advance()
    return np.concatenate(found) if found else np.zeros(0)


def choose_rows(frames: Frames, seed: int) -> Array:
    """Return a unit vector of one atom of each structure, drawn at random, ``[N, 3]``."""
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
