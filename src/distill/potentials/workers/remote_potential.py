"""A network in another interpreter as a potential that can be differentiated and fitted like any other.

Its parameters are ours, by the names that they have over there; optimisers, averages and checkpoints see nothing but
parameters. Neighbours, forces and stress are ours as well: what the network gives are energies and their derivatives by
the vectors between neighbours, and in a fit the gradient of the loss by its parameters (double backward happens there).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distill.base.errors import UserError
from distill.potentials.interface.batch import Batch, differentiable
from distill.potentials.interface.batch_size import CPU_ATOMS, BatchSize
from distill.potentials.interface.gradient_free import failure_as_error
from distill.potentials.interface.potential import Potential
from distill.potentials.settings.external import NetworkSettings
from distill.potentials.workers.network_worker import Kept, NetworkWorker
from distill.potentials.workers.places import Place
from distill.potentials.workers.protocol import WorkerError

GPU_ATOMS = 1024
"""Atoms evaluated together at first on a GPU, whose memory is used by another process; halved where it runs out."""


class RemotePotential(Potential):
    """A published network of another package, which runs in an interpreter of its own, plus ``reference_energies``.

    Args:
        place: the model, and where it is.
        network: its parameters, its cutoff and its elements.
        origin: licence and level of theory.
    """

    def __init__(self, place: Place, network: NetworkSettings, origin: dict[str, str]) -> None:
        super().__init__(network.cutoff, elements=tuple(network.elements), learn_reference_energies=False)
        self.place, self.origin, self.published = place, origin, network
        self.network = Parameters(network)
        self._workers: dict[str, NetworkWorker] = {}

    def start_from(self, worker: NetworkWorker) -> None:
        """Take over the published weights, and the process that has opened them."""
        weights, isolated = worker.published()
        state = {f"network.{name}": value for name, value in weights.items()}
        with torch.no_grad():
            for name, value in state.items():
                self.get_parameter(name).copy_(value)
            for number, energy in isolated.items():
                self.reference_energies[number] = energy
        self._workers = {str(self.device): worker}
        said = worker.handshake
        self.origin |= {
            "weights": said["published"]["file"].rpartition("/")[2],
            "sha256": said["published"]["sha256"],
            "versions": ", ".join(f"{name} {number}" for name, number in said["versions"].items()),
        }

    def worker(self) -> NetworkWorker:
        """Return the process for the present device; one for another device is ended.

        Raises:
            UserError: file, interpreter or package is missing, or the published network is another than it was.
            WorkError: the network cannot be opened.
        """
        device = str(self.device)
        if device not in self._workers:
            self._workers.clear()
            worker = NetworkWorker(self.place, device)
            try:
                found = worker.settings()
            except WorkerError as failure:
                raise failure_as_error(failure, self.place.where) from failure
            if (found.sha256, found.parameters) != (self.published.sha256, self.published.parameters):
                what = "the package there has published weights that are not those that this potential was made from"
                raise UserError(what, self.place.where, self.place.install)
            self._workers[device] = worker
        return self._workers[device]

    @property
    def predicts_atomic_energies(self) -> bool:
        """Yes: the network sums up energies of atoms."""
        return True

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the energy of each atom without its E0, ``[N]`` eV; not differentiable here in positions and cells."""
        return self._evaluated(batch, batch.vectors().detach())[0]

    def files(self) -> dict[str, bytes]:
        """Return a file that the network's own package opens; we never read it, since it is a pickle."""
        moved = {z: float(energy) for z, energy in enumerate(self.reference_energies.tolist()) if energy}
        try:
            name, content = self.worker().file(self._weights(), moved)
        except WorkerError as failure:
            raise failure_as_error(failure, self.place.where) from failure
        return {name: content}

    def _derivatives(self, batch: Batch, stress: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        deformed, leaves = differentiable(batch, stress)
        vectors = deformed.vectors()
        atomic, by_vectors = self._evaluated(batch, vectors.detach())
        by_positions, *by_strain = torch.autograd.grad(
            vectors, leaves, by_vectors, create_graph=self.training, materialize_grads=True
        )
        return atomic, by_positions.to(batch.dtype), by_strain[0].to(batch.dtype) if stress else None

    def _evaluated(self, batch: Batch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energy of each atom ``[N]`` and the derivative of their sum by each vector ``[P, 3]``."""
        graph = {
            "numbers": batch.numbers.cpu().numpy(),
            "edges": batch.edges.int().cpu().numpy(),
            "vectors": vectors.cpu().numpy(),
            "structure": batch.structure.cpu().numpy(),
            "n_structures": batch.n_structures,
        }
        if self.training:
            names, parameters = zip(*self.network.named(), strict=True)
            energies, by_vectors = _Evaluation.apply(self, graph, names, *parameters)
            return energies, by_vectors
        energies, by_vectors, _ = self._ask(graph, keep=False)
        return energies.to(self.device), by_vectors.to(self.device)

    def _ask(self, graph: dict[str, Any], keep: bool) -> tuple[Tensor, Tensor, Kept | None]:
        try:
            return self.worker().evaluate(graph, self._weights(), keep)
        except WorkerError as failure:
            raise self._error(failure) from failure

    def _weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().cpu() for name, parameter in self.network.named()}

    def _error(self, failure: WorkerError) -> Exception:
        """Return the error that is raised here; memory that ran out there is what a smaller batch can cure."""
        if failure.kind == "memory":
            return torch.OutOfMemoryError(failure.what)
        return failure_as_error(failure, self.place.where)

    @property
    def _batch_size(self) -> BatchSize:
        """What is known of the batches that the other process can hold; its memory cannot be measured from here."""
        if self.device not in self._batch_sizes:
            self._batch_sizes[self.device] = BatchSize(CPU_ATOMS if self.device.type == "cpu" else GPU_ATOMS)
        return self._batch_sizes[self.device]


class _Evaluation(torch.autograd.Function):
    """Energies of atoms and their derivatives by vectors, as a function of the parameters."""

    @staticmethod
    def forward(
        ctx: Any, potential: RemotePotential, graph: dict[str, Any], names: tuple[str, ...], *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        energies, by_vectors, ctx.kept = potential._ask(graph, keep=any(ctx.needs_input_grad))
        ctx.potential, ctx.names = potential, names
        device = parameters[0].device
        return energies.to(device), by_vectors.to(device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_energies: Tensor, by_by_vectors: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [name for name, needs in zip(ctx.names, ctx.needs_input_grad[3:], strict=True) if needs]
        try:
            found = ctx.potential.worker().gradient(ctx.kept, by_energies, by_by_vectors, wanted)
        except WorkerError as failure:
            raise ctx.potential._error(failure) from failure
        gradients = (found.get(name) for name in ctx.names)
        return None, None, None, *(None if g is None else g.to(by_energies.device) for g in gradients)


class Parameters(nn.Module):
    """Parameters by the names that they have in another network, as a tree of modules with these names."""

    def __init__(self, network: NetworkSettings) -> None:
        super().__init__()
        self._names = list(network.parameters)
        dtype = getattr(torch, network.precision)
        for name, shape in network.parameters.items():
            *path, last = name.split(".")
            part: nn.Module = self
            for word in path:
                if word not in part._modules:
                    part.add_module(word, nn.Module())
                part = part.get_submodule(word)
            values = nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=name not in network.fixed)
            part.register_parameter(last, values)

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """Return names and parameters, in the order of the other network."""
        return [(name, self.get_parameter(name)) for name in self._names]
