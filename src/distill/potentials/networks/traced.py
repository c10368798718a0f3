"""A student as one TorchScript function of tensors, for programs that know torch and not this package.

It is traced rather than compiled from its source, so that networks are written as they are read. It is one function for
any number of atoms and edges, and computes on the device of its input.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.networks.student import Student


class EnergiesOfAtoms(nn.Module):
    """Energies of atoms from atomic numbers and edges, reference energies included."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, numbers: Tensor, edges: Tensor, vectors: Tensor) -> Tensor:
        """Return the energy of each atom, ``[N]`` float64 eV, differentiable in the vectors.

        Args:
            numbers: atomic numbers, ``[N]`` int64.
            edges: atoms i and j of each pair nearer than the cutoff, ``[2, P]`` int64; each pair once.
            vectors: from i to j, ``[P, 3]`` Å, in the precision of the network.
        """
        unread = numbers.new_zeros(0)
        batch = Batch(
            numbers, positions=unread, cells=unread, periodic=unread, edges=edges, shifts=unread, structure=unread
        )
        energies = self.student.network_energies(batch, vectors)
        if self.student.short_range_repulsion is not None:
            energies = energies + self.student.short_range_repulsion(batch, vectors)
        return energies.double() + self.student.reference_energies.index_select(0, numbers)


def traced(student: Student) -> torch.jit.ScriptModule:
    """Return :class:`EnergiesOfAtoms` of a student as TorchScript, in the student's precision, without gradients of
    its weights.
    """
    student = copy.deepcopy(student).to("cpu").eval().requires_grad_(False)
    numbers = torch.full((3,), (student.elements or (1,))[0])
    edges, vectors = torch.tensor([[0, 0], [1, 2]]), 0.4 * student.cutoff * torch.eye(3, dtype=student.dtype)[:2]
    with torch.no_grad(), warnings.catch_warnings():
        # An edge has two ends, whatever the number of edges.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return torch.jit.trace(EnergiesOfAtoms(student), (numbers, edges, vectors), check_trace=False)
