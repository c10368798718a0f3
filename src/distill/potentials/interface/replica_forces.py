"""Energies and forces of several replicas of one system by one pass of a network, with neighbour lists that last.

Positions stay on the device. Each replica has a list of its own, of all pairs within the cutoff and a skin, which holds
until one of its atoms has moved by half the skin; who moves the atoms asks :meth:`ReplicaForces.moved` and has lists
made anew. A network that takes no notice of pairs beyond the cutoff is given the whole lists: then their shapes are
constant, and nothing in a pass waits for the device. For others the pairs within the cutoff are selected at every pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from distill.potentials.interface.batch import Batch, Prediction
from distill.potentials.interface.gradient_free import GradientFree
from distill.potentials.interface.image_search import ImageSearch
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.verlet_list import listed
from distill.structures.frames import Frames
from distill.structures.guard import FARTHEST, SAME_PLACE, UnphysicalStructure

SKIN = {"cpu": 0.5, "cuda": 1.0}
"""Å, by kind of device: a GPU has lists made less often, since all replicas wait for that of one."""

SPARE = 1.05
"""Room for pairs where they are filled up, as a multiple of those that there are at first."""

FAR = (0.02, 0.25, 0.5, 0.75, 1.0)
"""Parts of the skin at which a network is asked whether it sees atoms beyond the cutoff."""

UNSEEN = 1e-5
"""Change of energy and forces, relative to the largest, up to which a network does not see them."""


class UnphysicalReplica(Exception):
    """One of several replicas is at an end.

    Args:
        index: which.
        what: why, as a part of a sentence.
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"replica {index}: {what}")
        self.index, self.what = index, what


def can_batch(potential: Potential) -> bool:
    """Return whether replicas can be computed together: the potential is a network, which takes many structures."""
    return not isinstance(potential, GradientFree)


class ReplicaForces:
    """Energies and forces of ``R`` replicas of ``N`` atoms each.

    Args:
        potential: in evaluation mode, on the device to use.
        replicas: the structures, which have the same atoms.
        skin: how much further than the cutoff neighbours are listed, Å.
        whole: whether the network may be given all pairs that are listed, see :func:`takes_whole_lists`.
        by_images: whether lists are made for all replicas at once, see :class:`ImageSearch`; on a GPU, where cells are
            small, if None.
        padded: whether pairs are filled up to a number that seldom changes, so that passes can be recorded, see
            :class:`~distill.potentials.interface.recorded.Recorded`; on a GPU, for networks that can be, if None.

    Attributes:
        lists_built: how many lists were made so far.
        layouts: how often pairs were moved to another place in memory.
    """

    def __init__(
        self,
        potential: Potential,
        replicas: Frames,
        skin: float,
        whole: bool,
        by_images: bool | None = None,
        padded: bool | None = None,
    ) -> None:
        self.potential, self.skin, self.whole = potential, skin, whole
        self.n_atoms = len(replicas.numbers) // len(replicas)
        self.lists_built = self.layouts = 0
        device, on_gpu = potential.device, potential.device.type == "cuda"
        self._frames = list(replicas)
        self._lists: dict[int, tuple[Tensor, Tensor]] = {}
        self._listed_at = torch.zeros((len(replicas), self.n_atoms, 3), dtype=torch.float64, device=device)
        self._taken_off = torch.zeros_like(self._listed_at)
        self._images = ImageSearch(replicas.cells, replicas.pbc, potential.cutoff + skin, device)
        self._by_images = on_gpu and self._images.suits(self.n_atoms) if by_images is None else by_images
        can_pad = whole and potential.can_compile and bool(replicas.pbc.any(axis=1).all())
        self.padded = on_gpu and can_pad if padded is None else padded
        nothing = np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int32)
        self._batch = replace(potential.batch(replicas, nothing), extra={})

    def __len__(self) -> int:
        return len(self._frames)

    def moved(self, positions: Tensor) -> Tensor:
        """Return the largest squared distance of an atom from where its list was made, ``[R]`` Å²."""
        return (positions - self._listed_at).square().sum(-1).amax(-1)

    @property
    def limit(self) -> float:
        """The squared distance up to which lists hold, Å²."""
        return (self.skin / 2) ** 2

    def relist(self, positions: Tensor, which: Sequence[int]) -> None:
        """Make the lists of some replicas anew.

        Args:
            positions: of all, unwrapped, ``[R, N, 3]`` float64 Å.
            which: the replicas.

        Raises:
            UnphysicalReplica: there is no list for one of them.
        """
        if not len(which):
            return
        if not (self._by_images and self._list_by_images(positions, which)):
            self._list_one_by_one(positions, which)
        index = torch.tensor(which, device=positions.device)
        self._listed_at[index] = positions[index]
        self.lists_built += len(which)
        lists = [self._lists[k] for k in range(len(self))]
        edges = torch.cat([pairs + k * self.n_atoms for k, (pairs, _) in enumerate(lists)], dim=1)
        self._take(replace(self._batch, edges=edges, shifts=torch.cat([shifts for _, shifts in lists])))

    def _take(self, batch: Batch) -> None:
        """Take the pairs of a batch, where they are filled up into the memory that the last ones had, if they fit."""
        capacity, count = self._batch.edges.shape[1], batch.edges.shape[1]
        if not self.padded:
            self._batch = batch
        elif count > capacity:
            self._batch = filled(batch, int(SPARE * count) + 8, self.potential.cutoff)
            self.layouts += 1
        else:
            fitting = filled(batch, capacity, self.potential.cutoff)
            self._batch.edges.copy_(fitting.edges)
            self._batch.shifts.copy_(fitting.shifts)

    def _list_one_by_one(self, positions: Tensor, which: Sequence[int]) -> None:
        for k, found in zip(which, positions[list(which)].cpu().numpy(), strict=True):
            frames = replace(self._frames[k], positions=found)
            try:
                edges, shifts, _ = listed(frames, self.potential.cutoff + self.skin, self.potential.device)
            except UnphysicalStructure as error:
                raise UnphysicalReplica(k, error.what) from None
            part = self.potential.batch(frames, (edges, shifts))
            self._lists[k] = part.edges, part.shifts
            self._taken_off[k] = positions[k] - part.positions

    def _list_by_images(self, positions: Tensor, which: Sequence[int]) -> bool:
        """Make the lists on the device; return False where structures are not physical, so that the others say why."""
        index = torch.tensor(which, device=positions.device)
        chosen = positions[index]
        taken_off = self._images.anchors(chosen, index)
        cell, edges, shifts, squares = self._images.pairs(chosen - taken_off, index)
        bad = ~chosen.isfinite().all() | (chosen.abs() > FARTHEST).any() | (squares < SAME_PLACE**2).any()
        *counts, is_bad = torch.cat([cell.bincount(minlength=len(which)), bad.long().view(1)]).tolist()
        if is_bad:
            return False
        self._taken_off[index] = taken_off
        of_each = zip(which, edges.split(counts, dim=1), shifts.split(counts), strict=True)
        self._lists |= {k: (pairs, translations) for k, pairs, translations in of_each}
        return True

    def __call__(self, positions: Tensor, stress: bool) -> Prediction:
        """Return energies ``[R]``, forces ``[R, N, 3]``, both float64, and stresses ``[R, 3, 3]`` where wanted.

        All lists have been made before and hold at these positions, ``[R, N, 3]`` Å.
        """
        batch = replace(self._batch, positions=(positions - self._taken_off).view(-1, 3))
        found = self.potential(batch if self.whole else self._near(batch), stress)
        forces = found.forces.view(positions.shape).to(torch.float64)
        return Prediction(found.energy, forces, found.stress)

    def _near(self, batch: Batch) -> Batch:
        """Return the batch with the pairs within the cutoff alone, and with what the network needs besides."""
        near = (squared_lengths(batch) < self.potential.cutoff**2).nonzero().squeeze(1)
        chosen = replace(batch, edges=batch.edges.index_select(1, near), shifts=batch.shifts.index_select(0, near))
        return self.potential.add_features(chosen)


def squared_lengths(batch: Batch) -> Tensor:
    """Return the squared lengths of the edges in double precision, ``[P]`` Å²."""
    return replace(batch, dtype=torch.float64).vectors().square().sum(1)


def filled(batch: Batch, capacity: int, cutoff: float) -> Batch:
    """Return the batch with ``capacity`` pairs: those that fill up are of atom 0 and its image beyond the cutoff.

    Args:
        batch: its first structure is periodic in one direction at least.
        capacity: at least as many as it has.
        cutoff: Å.
    """
    lengths = batch.cells[0].norm(dim=1)
    along = int(lengths.argmax())
    missing = capacity - batch.edges.shape[1]
    shift = batch.shifts.new_zeros((missing, 3))
    shift[:, along] = torch.ceil((cutoff + 1) / lengths[along])
    edges = torch.cat([batch.edges, batch.edges.new_zeros((2, missing))], dim=1)
    return replace(batch, edges=edges, shifts=torch.cat([batch.shifts, shift]))


def takes_whole_lists(potential: Potential, numbers: Sequence[int], skin: float) -> bool:
    """Return whether pairs beyond the cutoff, up to a skin, change nothing, and pairs are all that the network needs.

    The network is asked: an atom with a neighbour sees atoms beyond the cutoff, and must not notice.

    Args:
        potential: the network, in evaluation mode.
        numbers: atomic numbers of the system.
        skin: Å.
    """
    elements = np.unique(numbers)
    reach = [0.5 * potential.cutoff, *(potential.cutoff + skin * part for part in FAR)]
    angles = np.linspace(0.0, 2.5, len(reach))
    around = [[r * np.cos(a), r * np.sin(a), 0.0] for r, a in zip(reach, angles, strict=True)]
    frames = Frames(
        n_atoms=np.array([1 + len(reach)]),
        numbers=np.resize(elements, 1 + len(reach)),
        positions=np.array([[0.0, 0.0, 0.0], *around]),
        cells=np.zeros((1, 3, 3)),
        pbc=np.zeros((1, 3), dtype=bool),
    )
    edges = np.stack([np.zeros(len(reach), dtype=np.int64), 1 + np.arange(len(reach))])
    shifts = np.zeros((len(reach), 3), dtype=np.int32)
    compiled, potential.compiled = potential.compiled, "no"
    try:
        batches = [potential.batch(frames, (edges[:, :n], shifts[:n])) for n in (len(reach), 1)]
        found, expected = (potential(batch, False) for batch in batches)
    finally:
        potential.compiled = compiled
    if any(batch.extra for batch in batches):
        return False
    pairs = ((found.energy, expected.energy), (found.forces, expected.forces))
    return all(bool((one - other).abs().max() <= UNSEEN * other.abs().max()) for one, other in pairs)
