"""The rules of growth: every number that decides which structures are made and which are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distill.base.errors import UserError

Distances = float | Mapping[str, float] | None
"""One least distance for all pairs of atoms, or by pair (``{"O-H": 0.7}``), Å; None leaves it to covalent radii."""


def for_validation(structures: int, fraction: float) -> int:
    """Return how many of the structures grow from validation structures."""
    return int(fraction * structures + 0.5)


@dataclass(frozen=True)
class GrowthRules:
    """What to grow and what to keep.

    Attributes:
        structures: structures wanted over all trees, seeds not counted; see :func:`distill.sampling.grow.allotment`.
        temperature: K; of the parents' Boltzmann weights and of the acceptance test, both on energies per atom.
        sigma: lowest and highest standard deviation of the rattle, Å; drawn log-uniformly for every proposal.
        exploration: 0 selects parents by Boltzmann weight alone, 1 by generation alone (the youngest most often).
        cell_strain: standard deviation of the random strain of the seed's cell, relative; 0 keeps the cell.
        max_relax_steps: relax steps of one proposal; it is evaluated at most once more than that, then kept.
        max_force: structures with a larger force on any atom are never accepted, eV/Å.
        min_separation: least distance of two atoms, Å: one for all, or by pair of elements; 0.6 of the sum of the
            covalent radii where nothing is said.
        min_displacement: least mean displacement of the atoms from every member of the tree, Å.
        patience: a tree stops after this many rejected proposals in a row.
        valid_fraction: share of the structures that grows from seeds whose ``info["split"]`` is ``"valid"``.
    """

    structures: int
    temperature: float
    sigma: tuple[float, float]
    exploration: float = 0.5
    cell_strain: float = 0.0
    max_relax_steps: int = 20
    max_force: float = 30.0
    min_separation: Distances = None
    min_displacement: float = 0.1
    patience: int = 200
    valid_fraction: float = 1 / 6

    def __post_init__(self) -> None:
        low, high = self.sigma
        demands = {
            "structures": (self.structures >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0 K"),
            "sigma": (0 < low <= high, "two lengths in Å, 0 < low <= high"),
            "exploration": (0 <= self.exploration <= 1, "between 0 and 1"),
            "cell_strain": (0 <= self.cell_strain < 0.3, "from 0 to below 0.3"),
            "max_relax_steps": (self.max_relax_steps >= 0, "0 or more"),
            "max_force": (self.max_force > 0, "above 0 eV/Å"),
            "min_separation": (all(d >= 0 for d in self._separations()), "0 Å or more"),
            "min_displacement": (self.min_displacement >= 0, "0 Å or more"),
            "patience": (self.patience >= 1, "at least 1"),
            "valid_fraction": (0 < self.valid_fraction < 1, "between 0 and 1"),
        }
        for name, (met, demand) in demands.items():
            if not met:
                raise UserError(f"{name} is {getattr(self, name)}, it must be {demand}", where="generation")

    def _separations(self) -> list[float]:
        if isinstance(self.min_separation, Mapping):
            return list(self.min_separation.values())
        return [] if self.min_separation is None else [self.min_separation]

    def shaping(self) -> dict[str, Any]:
        """Return the rules that shape the trees: all but how far they grow (``structures``, ``patience``)."""
        values = asdict(self)
        del values["structures"], values["patience"]
        return values | {"sigma": list(self.sigma)}
