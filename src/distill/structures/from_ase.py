"""Structures that are in memory as ASE has them, with the labels that they carry: read as a file of them would be.

Labels are the results that a structure's calculator holds, as of a file that ASE has read, or the same keys as in files
among its ``info`` and ``arrays``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.base.conventions import MOVE_MASK
from distill.base.errors import UserError
from distill.structures.extxyz import Block
from distill.structures.fixed import from_constraints
from distill.structures.frames import Frames
from distill.structures.read import LabelKeys, LabelSource, frames_of

if TYPE_CHECKING:
    from ase import Atoms


def frames_from_ase(
    structures: Sequence[Atoms], keys: LabelKeys = LabelKeys(), name: str = "the structures"
) -> tuple[Frames, LabelSource]:
    """Return structures with the labels that all of them have, and which keys these were read from.

    Args:
        structures: of ASE; nothing is calculated for them, and results of another state of a structure do not count.
        keys: keys of the labels, where they are not known ones.
        name: what messages call them.

    Raises:
        UserError: there are none, or one of them cannot be used; it is named.
    """
    if not len(structures):
        raise UserError("there are no structures", where=name)
    blocks = [_block(atoms, f"{name}, number {i} (counted from 0)") for i, atoms in enumerate(structures)]
    return frames_of(blocks, name, keys, "optional", {})


def _block(atoms: Atoms, where: str) -> Block:
    """Return a structure as a frame of a file would be."""
    info = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in atoms.info.items()}
    columns = {name: values for name, values in atoms.arrays.items() if name not in ("numbers", "positions")}
    columns |= {"species": np.array(atoms.get_chemical_symbols()), "pos": np.array(atoms.positions, dtype=float)}
    if (fixed := from_constraints([atoms])) is not None:
        columns[MOVE_MASK] = ~fixed
    info["pbc"] = [bool(one) for one in atoms.pbc]
    if atoms.cell.array.any():
        info["Lattice"] = atoms.cell.array.ravel().tolist()
    results = _results(atoms)
    if "forces" in results:
        columns["forces"] = np.array(results["forces"], dtype=float)
    if "energy" in results:
        info["energy"] = float(results["energy"])
    if "stress" in results:
        info["stress"] = np.ravel(results["stress"]).tolist()
    return Block(where, 1, info, columns)


def _results(atoms: Atoms) -> dict[str, Any]:
    """Return what the structure's calculator has found for it as it is now."""
    calculator = atoms.calc
    if calculator is None or not hasattr(calculator, "check_state") or calculator.check_state(atoms):
        return {}
    return {name: value for name, value in calculator.results.items() if value is not None}
