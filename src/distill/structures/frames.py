"""A set of structures as flat, read-only arrays, with or without labels.

Atoms of all structures lie one after another, so that analysis is vectorised; ``frames[i]`` and ``frames[indices]``
select structures and keep the type. Shapes and units are those of :mod:`distill.base.conventions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.base.arrays import Array
from distill.structures.fixed import from_constraints, to_constraints

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class Frames:
    """``B`` structures of together ``N`` atoms.

    Attributes:
        n_atoms: atoms of each structure, ``[B]`` integers.
        numbers: atomic numbers, ``[N]`` integers.
        positions: Cartesian positions, ``[N, 3]`` Å.
        cells: lattice vectors as rows, ``[B, 3, 3]`` Å; zero where there is no cell.
        pbc: periodic directions, ``[B, 3]`` booleans.
        energy: total energies, ``[B]`` eV, or None; NaN marks structures without this label.
        forces: ``[N, 3]`` eV/Å, or None; NaN marks components without a label.
        stress: ``[B, 3, 3]`` eV/Å³ (ASE's sign), or None; rows of NaN mark structures without a stress label.
        info: one mapping per structure, e.g. ``config_type``, ``tree``, ``parent``, ``generation``.
        fixed: Cartesian components of atoms that are held in place, ``[N, 3]`` booleans; None: nothing is.
    """

    n_atoms: Array
    numbers: Array
    positions: Array
    cells: Array
    pbc: Array
    energy: Array | None = None
    forces: Array | None = None
    stress: Array | None = None
    info: tuple[Mapping[str, Any], ...] = field(default=())
    fixed: Array | None = None

    def __post_init__(self) -> None:
        b, n = len(self.n_atoms), int(np.sum(self.n_atoms))
        set_ = object.__setattr__
        set_(self, "info", tuple(dict(i) for i in self.info) if self.info else tuple({} for _ in range(b)))
        if len(self.info) != b:
            raise ValueError(f"info has {len(self.info)} entries for {b} structures")
        shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "n_atoms": ((b,), np.int64),
            "numbers": ((n,), np.int64),
            "positions": ((n, 3), np.float64),
            "cells": ((b, 3, 3), np.float64),
            "pbc": ((b, 3), np.bool_),
            "energy": ((b,), np.float64),
            "forces": ((n, 3), np.float64),
            "stress": ((b, 3, 3), np.float64),
            "fixed": ((n, 3), np.bool_),
        }
        for name, (shape, dtype) in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            array: Array = np.array(value, dtype=dtype)
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
            array.flags.writeable = False
            set_(self, name, array)

    def __repr__(self) -> str:
        from ase.data import chemical_symbols

        labels = [name for name in ("energy", "forces", "stress") if getattr(self, name) is not None]
        elements = " ".join(chemical_symbols[z] for z in self.elements)
        size = f"{len(self)} structures, {len(self.numbers)} atoms"
        return f"Frames({size}, {elements or 'no elements'}; {', '.join(labels) or 'no labels'})"

    def __len__(self) -> int:
        return len(self.n_atoms)

    def __iter__(self) -> Iterator[Frames]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | Array) -> Frames:
        """Return the selected structures; a single integer gives a set of one."""
        chosen = np.arange(len(self))[[index] if isinstance(index, int | np.integer) else index]
        atoms = self.atom_indices(chosen)
        per_structure = {"n_atoms", "cells", "pbc", "energy", "stress"}
        values: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "info":
                values["info"] = tuple(self.info[i] for i in chosen)
            elif value is not None:
                values[f.name] = value[chosen] if f.name in per_structure else value[atoms]
        return Frames(**values)

    @property
    def offsets(self) -> Array:
        """Index of the first atom of each structure and, last, the number of atoms: ``[B + 1]``."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)])

    @property
    def structure_of_atom(self) -> Array:
        """Index of the structure that each atom belongs to, ``[N]``."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @property
    def volumes(self) -> Array:
        """Cell volumes, ``[B]`` Å³."""
        return np.abs(np.linalg.det(self.cells))

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(int(z) for z in np.unique(self.numbers))

    @property
    def energy_per_atom(self) -> Array:
        """Energies divided by the numbers of atoms, ``[B]`` eV/atom; raises ValueError without energies."""
        if self.energy is None:
            raise ValueError("these structures have no energies")
        return self.energy / self.n_atoms

    def atom_indices(self, structures: Array) -> Array:
        """Return the indices of the atoms of the given structures, in their order."""
        offsets = self.offsets
        pieces = [np.arange(offsets[i], offsets[i + 1]) for i in structures]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)

    def labels(self, name: str, missing: str = "unknown") -> list[str]:
        """Return ``info[name]`` of each structure as text, or ``missing`` where there is none."""
        return [str(i.get(name, missing)) for i in self.info]

    def with_labels(self, energy: Array | None, forces: Array | None, stress: Array | None) -> Frames:
        """Return the same structures with other labels."""
        return replace(self, energy=energy, forces=forces, stress=stress)

    def with_info(self, **columns: Iterable[Any]) -> Frames:
        """Return the same structures with further ``info``: one value per structure and name."""
        info = [dict(i) for i in self.info]
        for name, values in columns.items():
            for entry, value in zip(info, values, strict=True):
                entry[name] = value
        return replace(self, info=tuple(info))

    @classmethod
    def from_atoms(cls, structures: Iterable[Atoms], *, constraints: bool = True) -> Frames:
        """Make unlabelled frames from ASE structures; ``info`` is kept, calculators are not.

        ``FixAtoms`` and ``FixCartesian`` become ``fixed``; any other constraint raises UserError, since what is made
        from the frames would not obey it. ``constraints=False`` leaves all constraints out, for instance to predict.
        """
        structures = list(structures)
        if not structures:
            return cls.empty()
        return cls(
            n_atoms=np.array([len(a) for a in structures]),
            numbers=np.concatenate([a.numbers for a in structures]),
            positions=np.concatenate([a.positions for a in structures]),
            cells=np.stack([a.cell.array for a in structures]),
            pbc=np.stack([a.pbc for a in structures]),
            info=tuple(dict(a.info) for a in structures),
            fixed=from_constraints(structures) if constraints else None,
        )

    @classmethod
    def empty(cls) -> Frames:
        """Return a set of no structures."""
        none = np.zeros((0, 3))
        return cls(np.zeros(0), np.zeros(0), none, np.zeros((0, 3, 3)), none)

    def to_atoms(self) -> list[Atoms]:
        """Return ASE structures; labels, where present, sit in a ``SinglePointCalculator``, ``fixed`` in constraints.

        Of what is fixed, ASE's ``get_forces()`` gives zero and ``get_forces(apply_constraint=False)`` the label.
        """
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        structures = []
        for one in self:
            atoms = Atoms(one.numbers, one.positions, cell=one.cells[0], pbc=one.pbc[0], info=dict(one.info[0]))
            if one.fixed is not None:
                atoms.set_constraint(to_constraints(one.fixed))
            results: dict[str, Any] = {}
            if one.energy is not None and np.isfinite(one.energy[0]):
                results["energy"] = float(one.energy[0])
            if one.forces is not None and np.isfinite(one.forces).any():
                results["forces"] = np.array(one.forces)
            if one.stress is not None and np.isfinite(one.stress).all():
                results["stress"] = one.stress[0].reshape(9)[[0, 4, 8, 5, 2, 1]]
            if results:
                atoms.calc = SinglePointCalculator(atoms, **results)
            structures.append(atoms)
        return structures


def concatenate(parts: Sequence[Frames]) -> Frames:
    """Join sets of structures; a label is kept only where every part has it (stress: NaN where a part lacks it).

    Where a part says nothing of fixed components, none of its are.
    """
    parts = [p for p in parts if len(p)]
    if not parts:
        return Frames.empty()
    if any(p.stress is not None for p in parts):
        parts = [p if p.stress is not None else replace(p, stress=np.full((len(p), 3, 3), np.nan)) for p in parts]
    if any(p.fixed is not None for p in parts):
        parts = [p if p.fixed is not None else replace(p, fixed=np.zeros((len(p.numbers), 3))) for p in parts]
    values: dict[str, Any] = {}
    for f in fields(Frames):
        columns = [getattr(p, f.name) for p in parts]
        if f.name == "info":
            values["info"] = tuple(i for column in columns for i in column)
        elif all(c is not None for c in columns):
            values[f.name] = np.concatenate(columns)
    return Frames(**values)
