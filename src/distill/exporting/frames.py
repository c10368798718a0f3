"""The twelve structures on which an exported student is compared with ours; the same for every certificate.

They are made of the student's own elements, on the diamond lattice whose neighbours are at 1.05 times the sum of their
covalent radii. None has to be stable: what counts is that both programs say the same.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

SEED = 20
STRETCH = 1.05
"""Distance of neighbours over the sum of their covalent radii."""


def certificate_frames(elements: tuple[int, ...], cutoff: float) -> dict[str, Atoms]:
    """Return the structures by name.

    Args:
        elements: atomic numbers that the student knows.
        cutoff: of the student, Å; single atoms and dimers are alone within it.
    """
    random = np.random.default_rng(SEED)
    bond = 2 * STRETCH * float(np.mean(covalent_radii[list(elements)]))
    room = 3 * cutoff

    def crystal(*repeat: int, cubic: bool = True) -> Atoms:
        atoms = bulk("Si", "diamond", a=bond * 4 / np.sqrt(3), cubic=cubic) * repeat
        atoms.numbers[:] = random.permutation(np.resize(elements, len(atoms)))
        return atoms

    frames = {"primitive cell": crystal(1, 1, 1, cubic=False), "small cell": _rattled(crystal(1, 1, 1), 0.05, random)}
    triclinic = _rattled(crystal(2, 1, 1), 0.05, random)
    strain = np.array([[1.03, 0.2, 0.1], [0, 0.95, 0.15], [0, 0, 1.04]])
    triclinic.set_cell(triclinic.cell.array @ strain, scale_atoms=True)
    frames["triclinic cell"] = triclinic
    for amplitude in (0.01, 0.1, 0.3):
        frames[f"rattled by {amplitude:g} Å"] = _rattled(crystal(2, 2, 1), amplitude, random)
    compressed = _rattled(crystal(2, 2, 2), 0.05, random)
    compressed.set_cell(compressed.cell.array * 0.8 ** (1 / 3), scale_atoms=True)
    frames["compressed to 0.8 of its volume"] = compressed
    close = crystal(2, 2, 1)
    reach = float(covalent_radii[close.numbers[:2]].sum())
    close.positions[1] = close.positions[0] + 0.4 * reach * np.array([1, 1, 1]) / np.sqrt(3)
    frames["a pair at 0.4 of its bond length"] = close
    slab = _rattled(crystal(2, 2, 1), 0.05, random)
    slab.set_cell(slab.cell.array * [[1], [1], [5]])
    slab.pbc = (True, True, False)
    slab.positions[:, 2] += 0.1 * bond
    frames["slab at one end of its cell"] = slab
    frames["single atom"] = Atoms(numbers=[elements[0]], positions=[[0, 0, 0]], cell=[room] * 3, pbc=True)
    ends = [[0.2, 1, 1], [room - bond + 0.2, 1, 1]]
    frames["dimer across the boundary"] = Atoms(
        numbers=[elements[0], elements[-1]], positions=ends, cell=[room] * 3, pbc=True
    )
    frames["elements in reverse order"] = _rattled(crystal(2, 2, 2), 0.1, random)
    return frames


def _rattled(atoms: Atoms, amplitude: float, random: np.random.Generator) -> Atoms:
    atoms.positions += random.normal(scale=amplitude, size=atoms.positions.shape)
    return atoms
