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
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.recorded import Recorded
from distill.potentials.interface.verlet_list import listed
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalStructure

SKIN = {"cpu": 0.5, "cuda": 1.0}
"""Å, by kind of device: a GPU has lists made less often, since all replicas wait for that of one."""

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
    """Return whether replicas can be computed together: the potential is a network, and not in another program."""
    return not isinstance(potential, GradientFree)


class ReplicaForces:
    """Energies and forces of ``R`` replicas of ``N`` atoms each.

    Args:
        potential: in evaluation mode, on the device to use.
        replicas: the structures, which have the same atoms.
        skin: how much further than the cutoff neighbours are listed, Å.
        whole: whether the network may be given all pairs that are listed, see :func:`takes_whole_lists`.

    Attributes:
        lists_built: how many lists were made so far.
    """

    def __init__(self, potential: Potential, replicas: Frames, skin: float, whole: bool) -> None:
        self.potential, self.skin, self.whole = potential, skin, whole
        self.n_atoms = len(replicas.numbers) // len(replicas)
        self.lists_built = 0
        self._frames = list(replicas)
        self._parts: dict[int, Batch] = {}
        self._listed_at = torch.zeros((len(replicas), self.n_atoms, 3), dtype=torch.float64, device=potential.device)
        self._taken_off = torch.zeros_like(self._listed_at)
        replayed = whole and potential.can_compile and bool(replicas.pbc.any(axis=1).all())
        self._recorded = Recorded(potential) if replayed and potential.device.type == "cuda" else None

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
        for k, found in zip(which, positions[list(which)].cpu().numpy(), strict=True):
            frames = replace(self._frames[k], positions=found)
            try:
                edges, shifts, _ = listed(frames, self.potential.cutoff + self.skin, self.potential.device)
            except UnphysicalStructure as error:
                raise UnphysicalReplica(k, error.what) from None
            self._parts[k] = part = self.potential.batch(frames, (edges, shifts))
            self._listed_at[k] = positions[k]
            self._taken_off[k] = positions[k] - part.positions
            self.lists_built += 1
        self._batch = joined([self._parts[k] for k in range(len(self))])

    def __call__(self, positions: Tensor, stress: bool) -> Prediction:
        """Return energies ``[R]``, forces ``[R, N, 3]``, both float64, and stresses ``[R, 3, 3]`` where wanted.

        All lists have been made before and hold at these positions, ``[R, N, 3]`` Å.
        """
        batch = replace(self._batch, positions=(positions - self._taken_off).view(-1, 3))
        if self._recorded is not None and not stress:
            found = self._recorded(batch)
        else:
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


def joined(parts: Sequence[Batch]) -> Batch:
    """Return batches of one structure, of as many atoms each, as one; what they have in ``extra`` is left out."""
    n_atoms = len(parts[0].numbers)
    return Batch(
        numbers=torch.cat([part.numbers for part in parts]),
        positions=torch.cat([part.positions for part in parts]),
        cells=torch.cat([part.cells for part in parts]),
        periodic=torch.cat([part.periodic for part in parts]),
        edges=torch.cat([part.edges + k * n_atoms for k, part in enumerate(parts)], dim=1),
        shifts=torch.cat([part.shifts for part in parts]),
        structure=torch.cat([part.structure + k for k, part in enumerate(parts)]),
        dtype=parts[0].dtype,
    )


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
