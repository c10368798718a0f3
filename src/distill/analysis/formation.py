"""Energies of formation: what a structure has more than the references that its atoms are taken from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from distill.base.errors import UserError

EV_PER_A2_IN_J_PER_M2 = 16.02176634
"""One eV/Å² in J/m²."""

CONSIST = 1e-9
"""How far a composition may be from a sum of the references, atoms."""


def amounts(name: str, symbols: Sequence[str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return how much of each reference has together the atoms of a structure; negative where some is given back.

    Args:
        name: of the structure, for messages.
        symbols: its atoms.
        references: the atoms of each.

    Raises:
        UserError: no sum of the references has these atoms, or more than one has.
    """
    elements = sorted({*symbols, *(one for of in references.values() for one in of)})
    columns = np.array([_counts(of, elements) for of in references.values()], dtype=float).T
    named = ", ".join(f"{one} ({_formula(of)})" for one, of in references.items())
    if np.linalg.matrix_rank(columns) < len(references):
        raise UserError(f"the references {named} can replace each other", remedy="Leave one of them out")
    target = np.array(_counts(symbols, elements), dtype=float)
    found = np.linalg.lstsq(columns, target, rcond=None)[0]
    if np.abs(columns @ found - target).max() > CONSIST * max(1, len(symbols)):
        raise UserError(
            f"{name} ({_formula(symbols)}) is no sum of the references {named}",
            remedy="Name under reservoirs a structure for each element that is added or taken away",
        )
    return {one: float(amount) for one, amount in zip(references, found, strict=True)}


def excess(energy: float, of_references: Mapping[str, float], taken: Mapping[str, float]) -> float:
    """Return the energy of a structure above that of its references, each with its amount, eV."""
    return energy - sum(amount * of_references[name] for name, amount in taken.items())


def _counts(symbols: Sequence[str], elements: Sequence[str]) -> list[int]:
    counted = Counter(symbols)
    return [counted[element] for element in elements]


def _formula(symbols: Sequence[str]) -> str:
    return "".join(f"{element}{count if count > 1 else ''}" for element, count in sorted(Counter(symbols).items()))
