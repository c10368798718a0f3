"""Whatever predicts energies, forces and stress: one interface for teachers and students.

A subclass writes the energy of each atom as a differentiable function of positions and cells; everything else is
written once, here: exact derivatives, batched evaluation, a calculator, saving and loading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from distill.base.arrays import Array
from distill.base.compiler import check_compiler
from distill.base.errors import UserError, WorkError
from distill.base.progress import Phase
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import (
    Batch,
    Prediction,
    differentiable,
    distances,
    divide_by_volume,
    half_neighbour_list,
    with_labels,
    without_coincident,
)
from distill.potentials.interface.batch_size import BatchSize, out_of_memory, room_of
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.dataset import Dataset
from distill.potentials.interface.neighbour_cache import cached_neighbour_list
from distill.potentials.settings import PotentialSettings
from distill.structures.frames import Frames
from distill.structures.guard import refuse_coincident, refuse_unphysical
from distill.structures.periodic import anchored

if TYPE_CHECKING:
    from ase import Atoms

    from distill.structures.spread import Spread

MAX_Z = 118


class Potential(nn.Module):
    """Base of potentials; subclasses write :meth:`atomic_energies` and, if edges are not enough, :meth:`add_features`.

    Args:
        cutoff: the distance up to which neighbours are listed, Å.
        elements: atomic numbers that it knows; None for all.
        learn_reference_energies: whether the atomic reference energies are trained (students) or fixed (teachers).

    Attributes:
        reference_energies: atomic reference energies (E0s), added for each atom by its atomic number, ``[119]`` float64
            eV.
        architecture: its name in the table; set when it is built.
        settings: the settings it was built with.
        origin: where published weights are from: file, SHA-256, licence; empty for students.
        attachments: files, by name, that are saved with it because its settings do not describe it.
        violated_symmetries: laws of ``check_potential`` that it does not keep by construction: derivatives, smoothness,
            rotation, separation.
        compiled: ``"fit"`` or ``"use"`` while computed with a compiled network, see :meth:`compile_for`; else ``"no"``.
        memory_per_atom: bytes that one atom takes in evaluation, roughly; sizes the first batch on a GPU.
    """

    predicts_stress = True
    memory_per_atom = 4_000_000
    violated_symmetries: tuple[str, ...] = ()

    def __init__(
        self, cutoff: float, *, elements: tuple[int, ...] | None = None, learn_reference_energies: bool
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.elements = elements
        self.reference_energies = nn.Parameter(
            torch.zeros(MAX_Z + 1, dtype=torch.float64), requires_grad=learn_reference_energies
        )
        self.architecture = ""
        self.settings = PotentialSettings()
        self.origin: dict[str, str] = {}
        self.attachments: dict[str, bytes] = {}
        self.compiled: Literal["no", "fit", "use"] = "no"
        self._batch_sizes: dict[torch.device, BatchSize] = {}

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the energy of each atom without its E0, ``[N]`` eV, differentiable in positions and cells."""
        raise NotImplementedError

    @property
    def predicts_atomic_energies(self) -> bool:
        """Whether the energies of single atoms mean something, and not only their sum."""
        return type(self).atomic_energies is not Potential.atomic_energies

    def energies_of_atoms(self, frames: Frames) -> Array:
        """Return the energy of each atom of structures evaluated together, its element's included, ``[N]`` eV."""
        with torch.no_grad():
            batch = self.batch(frames)
            energies = self.atomic_energies(batch).double() + self.reference_energies.index_select(0, batch.numbers)
        return np.asarray(energies.cpu().numpy())

    def parts(self) -> Mapping[str, Potential]:
        """Return the potentials that this one is made of, by name; most are of one piece."""
        return {}

    def add_features(self, batch: Batch) -> Batch:
        """Add to ``batch.extra`` what the model needs besides edges, on the device of the batch."""
        return batch

    def files(self) -> Mapping[str, bytes]:
        """Return the files, by name, that are saved with it besides its weights and its description."""
        return self.attachments

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return for each index tensor in ``batch.extra`` how many of the things that it points to the batch has."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.reference_energies.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the network computes in."""
        return next((p.dtype for p in self.parameters() if p is not self.reference_energies), torch.float32)

    def in_precision(self, precision: Literal["float32", "float64"]) -> Self:
        """Return this potential computing in the given precision; its reference energies are double in any case."""
        if precision == "float64":
            return self.double()
        if self.dtype == torch.float64:
            energies = self.reference_energies.detach().clone()
            self.float()
            self.reference_energies.data = energies
        return self

    def __repr__(self) -> str:
        known = "all elements" if self.elements is None else " ".join(chemical_symbols[z] for z in self.elements)
        weights = sum(weight.numel() for weight in self.parameters())
        return f"{type(self).__name__}({self.architecture}, cut-off {self.cutoff:g} Å, {weights} weights, {known})"

    @property
    def n_parameters(self) -> int:
        """How many numbers a fit may change."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def extrapolation_grades(self, frames: Frames) -> Array | None:
        """Return how far the surroundings of each atom are from the training data, ``[N]``, or None without a measure.

        Up to 1 they are inside, above 1 outside of them (D-optimality, Podryabinkin and Shapeev, Comput. Mater. Sci.
        140, 171, 2017).
        """
        return None

    def graded(self, frames: Frames) -> Frames:
        """Return the structures with the largest extrapolation grade of their atoms as ``info["grade"]``, if any."""
        grades = self.extrapolation_grades(frames)
        if grades is None:
            return frames
        return frames.with_info(grade=[float(g) for g in np.maximum.reduceat(grades, frames.offsets[:-1])])

    def batch(self, frames: Frames, neighbours: tuple[Array, Array] | tuple[Tensor, Tensor] | None = None) -> Batch:
        """Return the structures as one batch without labels, on the device of the potential.

        Args:
            frames: the structures.
            neighbours: their edges and shifts as ``half_neighbour_list`` gives them, or as tensors, from a caller who
                has them and has had the structures checked; by default the structures are checked and all edges within
                the cutoff found.

        Raises:
            UserError: an element that the potential does not know, or a structure that is not physical.
        """
        if neighbours is None:
            self.check(frames)
            neighbours = half_neighbour_list(frames, self.cutoff)
        edges, shifts = (torch.as_tensor(found) for found in neighbours)
        positions, taken_off = anchored(frames)
        if taken_off.any():
            of_i, of_j = torch.as_tensor(taken_off, device=edges.device)[edges]
            shifts = shifts + of_j - of_i
        batch = Batch(
            numbers=torch.tensor(frames.numbers),
            positions=torch.tensor(positions),
            cells=torch.tensor(frames.cells),
            periodic=torch.tensor(frames.pbc.all(-1) & (frames.volumes > 0)),
            edges=edges,
            shifts=shifts.double(),
            structure=torch.tensor(frames.structure_of_atom),
            dtype=self.dtype,
        )
        return self.add_features(batch.to(self.device))

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> Dataset:
        """Return the structures with their neighbours and labels, for a training that reads them often.

        Neighbours of many atoms are kept on disk and found there again.

        Args:
            frames: the structures; at least one.
            device: where to keep them.

        Raises:
            UserError: an element that the potential does not know, or a structure that is not physical: not finite,
                degenerate, too dense, or with two atoms at one place.
        """
        self.check(frames)
        edges, shifts = cached_neighbour_list(frames, self.cutoff)
        refuse_coincident(frames, edges, distances(frames, edges, shifts))
        bounds = np.searchsorted(frames.structure_of_atom[edges[0]], np.arange(len(frames) + 1))
        graphs = []
        for one, first, begin, end in zip(frames, frames.offsets, bounds, bounds[1:], strict=False):
            batch = self.batch(one, (edges[:, begin:end] - first, shifts[begin:end]))
            graphs.append(with_labels(batch.to("cpu"), one))
        return Dataset(graphs, [self.extra_increments(g) for g in graphs]).to(device)

    def forward(self, batch: Batch, stress: bool = True) -> Prediction:
        """Return energies, forces and stress; forces and stress are exact derivatives of the energy.

        The stress is the derivative with respect to a symmetric strain of positions and cell, by the volume (Knuth et
        al., Comput. Phys. Commun. 190, 33, 2015). In training mode the result can be differentiated once more. It works
        also where the caller switched gradients off.
        """
        return self.with_atomic_energies(batch, stress)[0]

    @torch.enable_grad()
    def with_atomic_energies(self, batch: Batch, stress: bool = True) -> tuple[Prediction, Tensor]:
        """Return what :meth:`forward` does, and the energy of each atom with its element's, ``[N]`` float64 eV."""
        atomic, by_positions, by_strain = self._derivatives(batch, stress)
        free = self.reference_energies.index_select(0, batch.numbers)
        energy = self._sum(atomic, batch) + self._sum(free, batch)
        tensor = None if by_strain is None else divide_by_volume(by_strain, batch)
        prediction = Prediction(energy if self.training else energy.detach(), -by_positions, tensor)
        return prediction, atomic.double() + free

    def _derivatives(self, batch: Batch, stress: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the energy of each atom ``[N]``, and the derivatives of their sum by positions ``[N, 3]`` and strain.

        The latter is symmetric, ``[B, 3, 3]``, or None where no stress is wanted. In training mode all can be
        differentiated once more. They are in the precision of the network.
        """
        deformed, leaves = differentiable(batch, stress)
        atomic = self.atomic_energies(deformed)
        total = self._sum(atomic, batch)
        if total.requires_grad:
            gradients = torch.autograd.grad(
                total.sum(), leaves, create_graph=self.training, allow_unused=True, materialize_grads=True
            )
        else:  # nothing depends on the positions: no atom has a neighbour
            gradients = tuple(torch.zeros_like(leaf) for leaf in leaves)
        by_positions, *by_strain = (gradient.to(batch.dtype) for gradient in gradients)
        return atomic, by_positions, by_strain[0] if stress else None

    def predict(self, frames: Frames, stress: bool = True) -> Prediction:
        """Return what the potential says of structures evaluated together, without a check of their elements.

        It is NaN for structures in which two atoms are at one place.
        """
        batch = self.batch(frames, half_neighbour_list(frames, self.cutoff))
        return without_coincident(self(batch, stress), batch)

    def _sum(self, per_atom: Tensor, batch: Batch) -> Tensor:
        """Return the sum over the atoms of each structure in double precision, ``[B]``."""
        zeros = per_atom.new_zeros(batch.n_structures, dtype=torch.float64)
        return zeros.index_add(0, batch.structure, per_atom.double())

    def evaluate(
        self,
        structures: Frames | Sequence[Atoms],
        *,
        max_atoms: int | None = None,
        stress: bool = True,
        progress: Phase | None = None,
    ) -> Frames:
        """Return the structures with predicted labels, in their order; NaN where two atoms are at one place.

        Structures of similar size are evaluated together; when memory runs out, batches are halved, also those of later
        calls.

        Args:
            structures: as frames, or as a list of ASE structures.
            max_atoms: atoms evaluated together at most, fewer where they are dense, a larger structure alone; by
                default :meth:`batch_atoms`.
            stress: whether the stress is wanted.
            progress: counts structures.

        Raises:
            UserError: an element that the potential does not know, or a structure that is not physical.
            WorkError: memory does not suffice for one structure alone.
        """
        frames = structures if isinstance(structures, Frames) else Frames.from_atoms(structures)
        self.check(frames)
        energy, forces = np.zeros(len(frames)), np.zeros((len(frames.numbers), 3))
        tensor = np.full((len(frames), 3, 3), np.nan)
        order, room = np.argsort(frames.n_atoms, kind="stable"), room_of(frames)
        training = self.training
        self.eval()
        try:
            while len(order):
                limit = self._batch_size.limit(max_atoms)
                size = max(1, int(np.searchsorted(np.cumsum(room[order]), limit, side="right")))
                chosen = order[:size]
                try:
                    with self._batch_size.learning(int(room[chosen].sum())):
                        prediction = self.predict(frames[chosen], stress)
                except RuntimeError as error:
                    self._make_room(error, frames.n_atoms[chosen], room[chosen])
                    continue
                energy[chosen] = prediction.energy.cpu().numpy()
                forces[frames.atom_indices(chosen)] = prediction.forces.cpu().numpy()
                if prediction.stress is not None:
                    tensor[chosen] = prediction.stress.cpu().numpy()
                order = order[size:]
                if progress is not None:
                    progress.advance(size)
        finally:
            self.train(training)
        return frames.with_labels(energy, forces, tensor if stress else None)

    def evaluate_with_spread(
        self,
        structures: Frames | Sequence[Atoms],
        *,
        max_atoms: int | None = None,
        stress: bool = True,
        progress: Phase | None = None,
    ) -> tuple[Frames, Spread | None]:
        """Return what :meth:`evaluate` does and, for potentials made of several, how far these lie apart."""
        return self.evaluate(structures, max_atoms=max_atoms, stress=stress, progress=progress), None

    def batch_atoms(self) -> int:
        """Return how many atoms are evaluated together on the present device; on a GPU it is learnt and may change."""
        return self._batch_size.atoms

    @property
    def _batch_size(self) -> BatchSize:
        """What is known of the batches that the present device can hold."""
        if self.device not in self._batch_sizes:
            self._batch_sizes[self.device] = BatchSize.of(self.device, self.memory_per_atom)
        return self._batch_sizes[self.device]

    def _make_room(self, error: RuntimeError, n_atoms: Array, room: Array) -> None:
        """Halve the batches where ``room`` was not there; raises ``error`` again if it is not about memory."""
        if not out_of_memory(error):
            raise error
        if len(n_atoms) == 1:
            raise WorkError(
                f"a structure of {n_atoms[0]} atoms does not fit into the memory of {self.device}",
                where=f"potential {self.architecture}",
                remedy="Use a smaller structure or a device with more memory",
            ) from error
        self._batch_size.halve(int(room.sum()))

    @property
    def can_compile(self) -> bool:
        """Whether :meth:`compile_for` can do it."""
        return self.architecture in POTENTIALS and bool(POTENTIALS[self.architecture].compiles)

    def compile_for(self, purpose: Literal["fit", "use"]) -> None:
        """Compute with a compiled network from now on, made when it is first needed, which takes about a minute.

        Args:
            purpose: a fit, or predictions alone.

        Raises:
            UserError: this architecture cannot be compiled, or there is no compiler.
        """
        if not self.can_compile:
            able = ", ".join(name for name in POTENTIALS if POTENTIALS[name].compiles)
            raise UserError("it cannot be compiled", f"potential {self.architecture}", f"Those that can: {able}")
        try:
            check_compiler(True)
        except ValueError as error:
            raise UserError(f"torch.compile {error}", f"potential {self.architecture}") from None
        self.compiled = purpose

    def calculator(self, compiled: bool = False) -> PotentialCalculator:
        """Return an ASE calculator of this potential, which is put into evaluation mode.

        Args:
            compiled: compute with compiled code: on a processor in C++ with the present weights (PaiNN, TensorNet;
                compiled within a minute, once), otherwise by what torch compiles.
        """
        if compiled:
            if (native := self.native_calculator()) is not None:
                return native
            self.compile_for("use")
        return self.eval()._calculator()

    def native_calculator(self) -> PotentialCalculator | None:
        """Return an ASE calculator in C++, or None: on a GPU, for most architectures, or without a compiler."""
        if self.architecture not in POTENTIALS:
            return None
        made: PotentialCalculator | None = POTENTIALS[self.architecture].native_calculator(self.eval())
        return made

    def _calculator(self) -> PotentialCalculator:
        """Return the calculator for the present mode."""
        return PotentialCalculator(self)

    def check(self, frames: Frames) -> None:
        """Refuse structures that the potential cannot describe, or nothing can: see :mod:`distill.structures.guard`."""
        unknown = sorted(set(frames.elements) - set(self.elements)) if self.elements is not None else []
        if unknown:
            symbols = ", ".join(chemical_symbols[z] for z in unknown)
            raise UserError(
                f"it does not know the element{'s' if len(unknown) > 1 else ''} {symbols}",
                where=f"potential {self.architecture}",
                remedy="Use a potential that was trained on all elements of the data",
            )
        refuse_unphysical(frames, self.cutoff)
