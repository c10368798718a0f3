"""Which pairs of short bonds of an atom make an angle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BondPairs:
    """Every ordered pair of different directed bonds of an atom, from that atom to its neighbours.

    Attributes:
        first: of each pair, index into the short bonds, ``[a]``.
        second: the same of the other.
        first_sign: 1 where the bond points away from the shared atom, −1 where it points towards it, ``[a]``.
        second_sign: the same of the other.
        centre: the shared atom, ``[a]``.
        ascending: whether the first stands before the second, which it does in one of the two orders, ``[a]``.
    """

    first: Tensor
    second: Tensor
    first_sign: Tensor
    second_sign: Tensor
    centre: Tensor
    ascending: Tensor


def bond_pairs(bonds: Tensor, n_atoms: int) -> BondPairs:
    """Return the pairs of ``bonds``, atoms i and j of each as ``[2, s]``, that share an atom."""
    count = bonds.shape[1]
    centres, order = bonds.reshape(-1).sort(stable=True)  # (2s,): directed bonds by atom
    undirected, signs = order % max(count, 1), torch.where(order < count, 1, -1)
    members = centres.bincount(minlength=n_atoms)  # bonds of each atom
    partners = members.index_select(0, centres) - 1
    first = torch.arange(2 * count, device=bonds.device).repeat_interleave(partners)  # (a,)
    skip = (members.cumsum(0) - members).index_select(0, centres) - (partners.cumsum(0) - partners)
    second = torch.arange(len(first), device=bonds.device) + skip.index_select(0, first)
    second += second >= first  # a bond makes no angle with itself
    return BondPairs(
        undirected.index_select(0, first),
        undirected.index_select(0, second),
        signs.index_select(0, first),
        signs.index_select(0, second),
        centres.index_select(0, first),
        first < second,
    )
