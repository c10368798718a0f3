"""A student behind LAMMPS' interface ML-IAP, by which LAMMPS on GPUs calls Python: ``pair_style mliap unified``.

LAMMPS' KOKKOS form of it hands over tensors on the GPU, without a copy, and exchanges features of atoms between the
domains of its ranks: the networks are evaluated on the atoms of a domain and their ghosts, and before each layer that
reads features of neighbours those of ghosts are fetched from where they are atoms. Gradients go the other way.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from distill.base.conventions import Precision
from distill.base.errors import UserError
from distill.exporting.certificate import reference
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.networks.painn import PaiNNPotential
from distill.potentials.networks.student import Student
from distill.potentials.networks.tensornet import TensorNetPotential


class Data(Protocol):
    """What LAMMPS hands over (``MLIAPDataPy`` of its KOKKOS package): ``L`` atoms, ``T`` with ghosts, ``P`` pairs.

    Arrays are of numpy or, on a GPU, of cupy; atoms come before ghosts. Of a domain without atoms none is to be read.

    Attributes:
        nlistatoms: L. ntotal: T. npairs: P.
        elems: index of each atom's element in ``element_types``, ``[T]`` int32.
        pair_i: an atom, ``[P]`` int32; both directions of a pair of atoms are there, one of an atom and a ghost.
        pair_j: its neighbour, an atom or a ghost, ``[P]`` int32.
        rij: R[j] − R[i], ``[P, 3]`` float64 Å.
        eatoms: energies of atoms to be filled, ``[L]`` float64 eV.
        energy: their sum, to be set.
    """

    nlistatoms: int
    ntotal: int
    npairs: int
    elems: Any
    pair_i: Any
    pair_j: Any
    rij: Any
    eatoms: Any
    energy: float

    def forward_exchange(self, copy_from: Tensor, copy_to: Tensor, vec_len: int) -> None:
        """Fill ``copy_to``, ``[T, vec_len]``, from the same; rows of ghosts are those of the atoms that they are."""

    def reverse_exchange(self, copy_from: Tensor, copy_to: Tensor, vec_len: int) -> None:
        """Fill ``copy_to``, ``[T, vec_len]``, from the same; rows of ghosts are added to their atoms', and are zero."""

    def update_pair_forces(self, fij: Tensor) -> None:
        """Add ``[P, 3]`` eV/Å to the forces of atoms i, take them from those of j, and count the virial."""


class Pairs(Batch):
    """Atoms of a domain with its ghosts, whose vectors are known instead of their positions."""

    def vectors(self) -> Tensor:
        """Return the vectors of the edges, ``[P, 3]`` Å."""
        return self.extra["vectors"]


class Exchange(torch.autograd.Function):
    """Fetches features of ghosts; its derivative gives gradients of ghosts back."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, data: Data) -> Tensor:
        """Return ``[T, F]`` from the same."""
        ctx.data = data
        return _moved(data.forward_exchange, features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return ``[T, F]`` from the same."""
        return _moved(ctx.data.reverse_exchange, gradients[0]), None


def _moved(exchange: Any, features: Tensor) -> Tensor:
    """Return what an exchange makes of features; torch and LAMMPS wait for each other on a GPU."""
    features = features.contiguous()
    made = torch.empty_like(features)
    _wait(features.device)
    exchange(features, made, features.shape[1])
    _wait(features.device)
    return made


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def layers_of(student: Student) -> tuple[list[nn.Module], int]:
    """Return the layers that read features of neighbours, and how many of their first arguments those are.

    Raises:
        UserError: a student that is neither PaiNN nor TensorNet.
    """
    if isinstance(student, PaiNNPotential):
        return list(student.interactions)[1:], 2  # all that the first reads is the elements, which are known of ghosts
    if isinstance(student, TensorNetPotential):
        return list(student.interactions), 1
    raise UserError("LAMMPS' ML-IAP is given PaiNN and TensorNet students alone", f"potential {student.architecture}")


@contextmanager
def exchanging(student: Student, data: Data) -> Iterator[None]:
    """Have features of ghosts fetched before each layer that reads them."""
    layers, count = layers_of(student)

    def fetch(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        features = given[:count]
        flat = torch.cat([one.flatten(1) for one in features], dim=1)
        parts = Exchange.apply(flat, data).split([math.prod(one.shape[1:]) for one in features], dim=1)
        return (*(part.view(one.shape) for part, one in zip(parts, features, strict=True)), *given[count:])

    handles = [layer.register_forward_pre_hook(fetch) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Unified:
    """What LAMMPS calls; it has the attributes and methods of its class ``MLIAPUnified``.

    Args:
        student: PaiNN or TensorNet, of elements that it says.
        precision: in which the network is computed.

    Raises:
        UserError: another student.
    """

    ndescriptors = nparams = 1  # of no meaning here, but demanded

    def __init__(self, student: Potential, precision: Precision = "double") -> None:
        if not isinstance(student, Student) or not student.elements:
            raise UserError("LAMMPS' ML-IAP is given PaiNN and TensorNet students alone", "the student")
        layers_of(student)
        self.interface: Any = None
        self.precision: Precision = precision
        self.student = reference(student, precision)
        self.student.requires_grad_(False)
        self.element_types = [chemical_symbols[z] for z in student.elements]
        self.cutoff = student.cutoff
        self.rcutfac = student.cutoff / 2  # LAMMPS multiplies it by the sum of two radii of 1

    def compute_descriptors(self, data: Data) -> None:
        """Do nothing: there are no descriptors apart."""

    def compute_gradients(self, data: Data) -> None:
        """Do nothing, as above."""

    def compute_forces(self, data: Data) -> None:
        """Fill in energies and forces; on a domain without atoms too, which takes part in the exchange.

        Raises:
            UserError: a LAMMPS that does not exchange features.
        """
        if not hasattr(data, "forward_exchange"):
            raise UserError(
                "this LAMMPS does not exchange features of atoms",
                "pair_style mliap",
                "Run its KOKKOS form, of 22 July 2025 or later: lmp -k on g 1 -sf kk",
            )
        batch, chosen = self._batch(data)
        vectors = batch.extra["vectors"].requires_grad_()
        with exchanging(self.student, data):
            network = self.student.atomic_energies(batch)[: data.nlistatoms]
            (pulls,) = torch.autograd.grad(network.sum(), vectors)
        numbers = batch.numbers[: data.nlistatoms]
        energies = network.detach().double() + self.student.reference_energies[numbers]
        data.energy = float(energies.sum())
        if data.nlistatoms:
            torch.as_tensor(data.eatoms, device=energies.device).copy_(energies)
        if data.npairs:
            forces = torch.zeros(data.npairs, 3, dtype=torch.float64, device=pulls.device)
            forces[chosen] = pulls.double()
            _wait(forces.device)
            data.update_pair_forces(forces)

    def _batch(self, data: Data) -> tuple[Pairs, Tensor]:
        """Return atoms and ghosts with each pair once, and which of LAMMPS' pairs those are."""
        elements = torch.zeros(0, dtype=torch.long, device=self.student.device)
        if data.ntotal:
            elements = torch.as_tensor(data.elems).long()
        device = elements.device
        self.student.to(device)
        known = torch.tensor(self.student.elements, device=device)
        pairs = torch.zeros(2, 0, dtype=torch.long, device=device)
        vectors = torch.zeros(0, 3, dtype=torch.float64, device=device)
        if data.npairs:
            pairs = torch.stack([torch.as_tensor(one).long() for one in (data.pair_i, data.pair_j)])
            vectors = torch.as_tensor(data.rij)
        chosen = ((pairs[0] < pairs[1]) | (pairs[1] >= data.nlistatoms)).nonzero().squeeze(-1)
        numbers = known[elements]
        box = torch.zeros(1, 3, 3, dtype=torch.float64, device=device)
        batch = Pairs(
            numbers=numbers,
            positions=torch.zeros(len(numbers), 3, dtype=torch.float64, device=device),
            cells=box,
            periodic=torch.zeros(1, dtype=torch.bool, device=device),
            edges=pairs[:, chosen],
            shifts=torch.zeros(len(chosen), 3, dtype=torch.float64, device=device),
            structure=torch.zeros_like(numbers),
            dtype=self.student.dtype,
            extra={"vectors": vectors[chosen].to(self.student.dtype)},
        )
        return batch, chosen

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the student's own files, which later versions of this package can read, too."""
        with tempfile.TemporaryDirectory() as folder:
            save(self.student, Path(folder), {})
            return opened, ({file.name: file.read_bytes() for file in Path(folder).iterdir()}, self.precision)


def opened(files: Mapping[str, bytes], precision: Precision) -> Unified:
    """Return what :class:`Unified` was, from the files of its student."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return Unified(load(Path(folder)), precision)
