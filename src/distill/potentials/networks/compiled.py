"""Energies of atoms and their derivatives as one compiled function.

A network of narrow layers spends most of its time on getting numbers in and out of memory between small operations;
``torch.compile`` joins them. The derivatives with respect to the vectors of the edges are taken inside of what is
compiled, so that a fit, which differentiates forces, needs only a first derivative of it: the compiler knows no second
ones.

Compilers make mistakes: for processors that of torch 2.13 gives derivatives of PaiNN and TensorNet that are wrong by a
percent when it joins loops as it likes, and right ones when it may not. So the first batch of every network is also
computed without it, and a difference is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn

from distill.base.errors import WorkError
from distill.potentials.interface.batch import Batch

FEWEST = 2
"""Atoms and edges that a compiled function is made for at least; it would be compiled once more for one."""

Options = dict[str, str | int | bool | Callable[..., object]]

OPTIONS: Mapping[str, Options] = {"cpu": {"max_fusion_size": 1}}
"""Of the compiler, by kind of device. On a processor loops are not joined beyond what is one expression, which costs a
tenth of the gain; a GPU, whose code another part of the compiler writes, gains most by joining."""

ALIKE = 1e-3
"""Largest difference from what is computed without a compiler, relative to the largest value: rounding gives 1e-6."""

NOISE = 1e-6
"""The same for gradients of single weights, relative to the sum of all."""


class EdgeNetwork(Protocol):
    """What is compiled: energies of atoms as a function of the vectors of the edges."""

    architecture: str

    @property
    def short_range_repulsion(self) -> nn.Module | None:
        """The repulsion of nuclei, added without a compiler."""

    def network_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the energy of each atom without that repulsion, ``[N]`` eV."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights."""


EdgeDerivatives = Callable[[EdgeNetwork, Batch, Tensor], tuple[Tensor, Tensor]]

_checked: dict[bool, WeakSet[EdgeNetwork]] = {False: WeakSet(), True: WeakSet()}
"""The networks whose compiled function was compared, without and with the derivatives that a fit needs."""


def edge_derivatives(network: EdgeNetwork, batch: Batch, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return energies of atoms ``[N]`` eV and the derivative of their sum by the edges' vectors, ``[P, 3]`` eV/Å."""

    def total(moved: Tensor) -> tuple[Tensor, Tensor]:
        atomic = network.network_energies(batch, moved)
        return atomic.sum(), atomic

    by_vectors, atomic = torch.func.grad(total, has_aux=True)(vectors)
    return atomic, by_vectors


def plain_derivatives(network: EdgeNetwork, batch: Batch, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return what :func:`edge_derivatives` does, without what a compiler needs."""
    with torch.enable_grad():
        moved = vectors.detach().requires_grad_()
        atomic = network.network_energies(batch, moved)
        (by_vectors,) = torch.autograd.grad(atomic.sum(), moved, create_graph=True)
    return atomic, by_vectors


@cache
def compiled_derivatives(kind: str) -> EdgeDerivatives:
    """Return :func:`edge_derivatives` for a kind of device, compiled at its first call for an architecture.

    It serves any number of atoms.
    """
    compiled: EdgeDerivatives = torch.compile(edge_derivatives, dynamic=True, options=OPTIONS.get(kind, {}))
    return compiled


def check(compiled: EdgeDerivatives, network: EdgeNetwork, batch: Batch, vectors: Tensor) -> None:
    """Compare the compiled function with the plain one on a batch, in a fit also the gradients of the weights.

    Raises:
        WorkError: they differ.
    """
    of_weights = torch.is_grad_enabled()
    results = []
    for function in (compiled, plain_derivatives):
        atomic, by_vectors = function(network, batch, vectors)
        found = [atomic.detach(), by_vectors.detach()]
        if of_weights:
            weights = [weight for weight in network.parameters() if weight.requires_grad]
            objective = atomic.sum() + by_vectors.square().sum()
            found += torch.autograd.grad(objective, weights, allow_unused=True, materialize_grads=True)
        results.append(found)
    found, expected = results
    sizes = torch.stack([values.abs().max() for values in expected]).double()
    if not sizes.isfinite().all():
        return  # broken weights: there is nothing to compare
    errors = torch.stack([(one - other).abs().max() for one, other in zip(found, expected, strict=True)]).double()
    allowed = ALIKE * sizes
    allowed[2:] += NOISE * sizes[2:].sum()  # some gradients are sums that cancel
    if not bool((errors <= allowed).all()):
        what = "the compiled network is not the same function as the network"
        where = f"potential {network.architecture}, torch {torch.__version__}"
        raise WorkError(what, where, "Leave compile out, and tell us")
    _checked[of_weights].add(network)


def derivatives(network: EdgeNetwork, batch: Batch, stress: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return energies of atoms ``[N]`` eV, and the derivatives of the energy by positions ``[N, 3]`` and strain.

    The latter is ``[B, 3, 3]`` eV, None where no stress is wanted. The structures have at least :data:`FEWEST` atoms
    and edges.

    Raises:
        WorkError: the compiled network gives something else than the network.
    """
    vectors = batch.vectors()
    graph = replace(batch, extra={}, energy=None, forces=None, stress=None)  # the code is not to depend on labels
    function = compiled_derivatives(vectors.device.type)
    if network not in _checked[torch.is_grad_enabled()]:
        check(function, network, graph, vectors)
    atomic, by_vectors = function(network, graph, vectors)
    if network.short_range_repulsion is not None:
        repulsion, of_repulsion = _short_range_repulsion(network.short_range_repulsion, batch, vectors)
        atomic, by_vectors = atomic + repulsion, by_vectors + of_repulsion
    i, j = batch.edges
    by_positions = by_vectors.new_zeros(batch.positions.shape).index_add(0, j, by_vectors).index_add(0, i, -by_vectors)
    if not stress:
        return atomic, by_positions, None
    outer = vectors.unsqueeze(2) * by_vectors.unsqueeze(1)  # (P, 3, 3)
    virial = by_vectors.new_zeros(batch.cells.shape).index_add(0, batch.structure.index_select(0, i), outer)
    return atomic, by_positions, (virial + virial.transpose(1, 2)) / 2


def _short_range_repulsion(repulsion: nn.Module, batch: Batch, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energies and derivatives of the repulsion; few edges feel it, and there is nothing in it to learn."""
    with torch.enable_grad():
        moved = vectors.detach().requires_grad_()
        energies = repulsion(batch, moved)
        if not energies.requires_grad:
            return energies, torch.zeros_like(vectors)
        (by_vectors,) = torch.autograd.grad(energies.sum(), moved)
    return energies.detach(), by_vectors
