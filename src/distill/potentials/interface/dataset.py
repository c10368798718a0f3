"""Many prepared structures in one set of tensors, from which batches are gathered.

Nothing is copied structure by structure: a batch is a few gathers from flat tensors that stay where training runs, and
which rows to take is worked out from counts that the host knows, so that a device never has to be waited for. Indices
are kept relative to their own structure, and small: 32 bits, lattice translations 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from distill.base.arrays import Array
from distill.potentials.interface.batch import Batch, Graph

OF_GRAPHS = ("cells", "periodic", "energy", "stress")
PER_STRUCTURE = (*OF_GRAPHS, "energy_weight")


@dataclass
class Rows:
    """Flat tensors whose rows belong to structures, so many to each.

    Attributes:
        lengths: rows of each structure, ``[S]``.
        starts: its first row, ``[S]``.
        names: the tensors that are divided so.
    """

    lengths: Array
    starts: Array
    names: list[str] = field(default_factory=list)


class Dataset:
    """Prepared structures, with or without labels, from which any selection becomes a :class:`Batch`.

    Args:
        graphs: the structures, each a batch of one, on one device.
        increments: for each structure, by how much every later one's ``extra`` tensors of that name have to be raised,
            because they are indices into something that is joined; names that are missing are not indices.
    """

    def __init__(self, graphs: Sequence[Graph], increments: Sequence[Mapping[str, int]]) -> None:
        if not graphs:
            raise ValueError("a dataset has at least one structure")
        self.n_atoms = _counts(g.numbers for g in graphs)
        self.n_edges = np.array([g.edges.shape[1] for g in graphs])
        self.dtype = graphs[0].dtype
        self.extras = tuple(graphs[0].extra)
        self.increments = {"edges": self.n_atoms}
        for name in increments[0]:
            self.increments[name] = np.array([one[name] for one in increments])
        self.values: dict[str, Tensor] = {}
        self.groups: list[Rows] = []
        for name in OF_GRAPHS:
            self._add(name, [getattr(g, name) for g in graphs])
        self._add_rows("numbers", [g.numbers for g in graphs])
        self._add_rows("positions", [g.positions for g in graphs])
        self._add_rows("forces", [g.forces for g in graphs])
        self._add_rows("edges", [g.edges.T for g in graphs])
        self._add_rows("shifts", [g.shifts for g in graphs])
        for name in self.extras:
            self._add_rows(name, [g.extra[name] for g in graphs])
        self.labelled = self._labelled()

    def attach(self, name: str, values: Array, counts: Array | None = None) -> None:
        """Add a target of every atom, which batches then have in ``extra``.

        Args:
            name: its name.
            values: one for each atom, ``[N, ...]``; energies stay in double precision, others take that of the network.
            counts: how many labelled numbers each structure has of it, ``[S]``; by default it is not counted.
        """
        tensor = torch.tensor(values, dtype=None if name == "atomic_energy" else self.dtype, device=self.device)
        self._add_rows(name, list(tensor.split(self.n_atoms.tolist())))
        self.extras = (*self.extras, name)
        if counts is not None:
            self.labelled[name] = counts

    def weigh(self, energy: Array, forces: Array) -> None:
        """Add how much labels count, which batches then have in ``extra``.

        Args:
            energy: ``energy_weight`` of each structure, ``[S]``.
            forces: ``forces_weight`` of each atom, ``[N]``.
        """
        self.attach("forces_weight", forces)
        self.values["energy_weight"] = torch.tensor(energy, dtype=self.dtype, device=self.device)
        self.extras = (*self.extras, "energy_weight")

    def _add(self, name: str, parts: list[Tensor | None]) -> bool:
        """Keep the parts joined, as small as they can be kept; a label that one structure lacks is left out."""
        present = [part for part in parts if part is not None]
        if len(present) < len(parts):
            return False
        joined = torch.cat(present)
        if name in self.increments or name == "numbers":
            joined = joined.to(torch.int32)
        elif name == "shifts" and not (joined.abs() > 127).any():
            joined = joined.to(torch.int8)
        self.values[name] = joined
        return True

    def _add_rows(self, name: str, parts: list[Tensor | None]) -> None:
        if not self._add(name, parts):
            return
        lengths = _counts(part for part in parts if part is not None)
        for group in self.groups:
            if np.array_equal(group.lengths, lengths):
                group.names.append(name)
                return
        self.groups.append(Rows(lengths, np.cumsum(lengths) - lengths, [name]))

    def _labelled(self) -> dict[str, Array]:
        """Return how many labelled numbers of each quantity every structure has."""
        found = {}
        if "energy" in self.values:
            found["energy"] = self.values["energy"].isfinite().cpu().numpy().astype(np.int64)
        if "forces" in self.values:
            of_atom = self.values["forces"].isfinite().sum(dim=1).cpu().numpy()
            found["forces"] = np.add.reduceat(of_atom, np.cumsum(self.n_atoms) - self.n_atoms)
        if "stress" in self.values:
            has = torch.isfinite(self.values["stress"]).all(dim=-1).all(dim=-1)
            found["virial"] = 9 * has.cpu().numpy().astype(np.int64)
        return found

    def __len__(self) -> int:
        return len(self.n_atoms)

    def __deepcopy__(self, memo: dict[int, object]) -> Dataset:
        """Return the dataset itself: what averages weights copies a whole module, and data are only read."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.values["numbers"].device

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(value.nbytes for value in self.values.values())

    @property
    def costs(self) -> Array:
        """What evaluating each structure costs, in arbitrary units: its atoms and edges, ``[S]``."""
        return np.asarray(self.n_atoms + self.n_edges)

    def to(self, device: torch.device | str) -> Dataset:
        """Move the tensors to a device and return the dataset."""
        self.values = {name: value.to(device) for name, value in self.values.items()}
        return self

    def counts(self, chosen: Array) -> dict[str, int]:
        """Return how many labelled numbers of each quantity the chosen structures have."""
        return {name: int(of_each[chosen].sum()) for name, of_each in self.labelled.items()}

    def collate(self) -> Batch:
        """Return all structures as one batch."""
        return self.select(np.arange(len(self)))

    def select(self, chosen: Array, device: torch.device | str | None = None) -> Batch:
        """Return the chosen structures, in their order, as one batch on ``device``, by default on that of the dataset.

        Args:
            chosen: indices of structures, ``[B]``.
            device: where the batch is wanted.
        """
        chosen = np.asarray(chosen, dtype=np.int64)
        index = self._on_device(chosen)
        taken = {name: self.values[name].index_select(0, index) for name in PER_STRUCTURE if name in self.values}
        for group in self.groups:
            lengths = group.lengths[chosen]
            total = int(lengths.sum())
            repeats = self._on_device(lengths)
            before = np.cumsum(lengths) - lengths
            rows = torch.arange(total, device=self.device)
            rows += torch.repeat_interleave(self._on_device(group.starts[chosen] - before), repeats, output_size=total)
            for name in group.names:
                value = self.values[name].index_select(0, rows)
                if name in self.increments:
                    steps = self.increments[name][chosen]
                    raised = self._on_device(np.cumsum(steps) - steps)
                    by = torch.repeat_interleave(raised, repeats, output_size=total)
                    value = value.long() + by.view(-1, *[1] * (value.dim() - 1))
                taken[name] = value
        batch = self._batch(taken, chosen)
        return batch if device is None or torch.device(device) == self.device else batch.to(device)

    def _batch(self, taken: dict[str, Tensor], chosen: Array) -> Batch:
        n_atoms = self.n_atoms[chosen]
        of_atom = torch.repeat_interleave(
            torch.arange(len(chosen), device=self.device), self._on_device(n_atoms), output_size=int(n_atoms.sum())
        )
        return Batch(
            numbers=taken["numbers"].long(),
            positions=taken["positions"],
            cells=taken["cells"],
            periodic=taken["periodic"],
            edges=taken["edges"].T.contiguous(),
            shifts=taken["shifts"].double(),
            structure=of_atom,
            dtype=self.dtype,
            extra={name: taken[name] for name in self.extras},
            energy=taken.get("energy"),
            forces=taken.get("forces"),
            stress=taken.get("stress"),
        )

    def _on_device(self, array: Array) -> Tensor:
        """Return a small array of integers as a tensor on the device, without waiting for it."""
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor


def _counts(tensors: object) -> Array:
    return np.array([len(t) for t in tensors], dtype=np.int64)  # type: ignore[attr-defined]
