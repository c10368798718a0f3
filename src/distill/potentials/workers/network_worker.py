"""The starter's side of :mod:`distill.potentials.workers.networks`: keeps the network over there in step with ours.

Weights travel when they have changed. A process that has died took weights and graphs with it: the next one is told
all weights again and, where a gradient is asked for, makes the graph anew, so that a death costs time alone.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.potentials.settings.external import NetworkSettings
from distill.potentials.workers import networks
from distill.potentials.workers.places import Place
from distill.potentials.workers.process import Worker

Weights = Mapping[str, Tensor]
"""Parameters by name, on the CPU, all of one type."""


@dataclass(eq=False)
class Kept:
    """An evaluation whose graph a process has kept.

    Attributes:
        number: of the graph.
        life: of the worker, see :attr:`Worker.life`.
        weights: that it was made with.
        request: what was asked, as it travels, without the weights.
    """

    number: int
    life: int
    weights: Weights
    request: Mapping[str, Any]


class NetworkWorker(Worker):
    """A network in another interpreter. Copies share the process, pickled ones start their own.

    Args:
        place: the model, and where it is.
        device: as torch names it.
    """

    def __init__(self, place: Place, device: str) -> None:
        self._arguments = (place, device)
        opening = {"model": place.name, "file": place.file(), "device": device}
        super().__init__(place.settings.environment or "", networks, place.name, opening, place.install)
        self._numbers = itertools.count()
        self._told: tuple[int, Weights] = (0, {})
        self._forget: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def __deepcopy__(self, memo: dict[int, object]) -> NetworkWorker:
        return self

    def settings(self) -> NetworkSettings:
        """Return what the network is, once it is open; raises as :meth:`Worker.open` does."""
        said = self.open()
        names = set(NetworkSettings.model_fields) - {"sha256"}
        return NetworkSettings(sha256=said["published"]["sha256"], **{name: said[name] for name in names})

    def published(self) -> tuple[dict[str, Tensor], dict[int, float]]:
        """Return the parameters as published, and by atomic number the energies that were taken out of the network."""
        answer = self.ask({"do": "weights"})
        return {name: torch.tensor(value) for name, value in answer["weights"].items()}, dict(answer["isolated"])

    def evaluate(self, graph: Mapping[str, Any], weights: Weights, keep: bool) -> tuple[Tensor, Tensor, Kept | None]:
        """Return the energy of each atom ``[N]`` and the derivative of their sum by each vector ``[P, 3]``.

        Args:
            graph: arrays ``numbers [N]``, ``edges [2, P]``, ``vectors [P, 3]``, ``structure [N]`` and the number
                ``n_structures``.
            weights: all parameters.
            keep: whether their gradient may be asked for; the third result is what to ask :meth:`gradient` with.
        """
        number = next(self._numbers) if keep else None
        request = {"keep": number, "precision": _precision(weights), **graph}
        answer = self._with_weights("evaluate", request, weights)
        life, told = self._told
        kept = None if number is None else Kept(number, life, told, request)
        if kept is not None:
            weakref.finalize(kept, self._forget.append, kept.number)
        return torch.tensor(answer["energies"]), torch.tensor(answer["by_vectors"]), kept

    def gradient(self, kept: Kept, by_energies: Tensor, by_by_vectors: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """Return the gradient of a loss by the parameters that are wanted, as far as it depends on them.

        Args:
            kept: the evaluation; it can be asked once.
            by_energies: derivative of the loss by the energy of each atom, ``[N]``.
            by_by_vectors: by the derivative of their sum by each vector, ``[P, 3]``.
            wanted: names of parameters.
        """
        question = {
            "do": "gradient",
            "graph": kept.number,
            "by_energies": by_energies.cpu().numpy(),
            "by_by_vectors": by_by_vectors.cpu().numpy(),
            "wanted": wanted,
        }

        def message(life: int) -> Mapping[str, Any]:
            if life == kept.life:
                return question
            self._told = (life, kept.weights)
            return {**question, **kept.request, "forget": [], "weights": _arrays(kept.weights)}

        answer = self._asked_safely(message)
        return {name: torch.tensor(value) for name, value in answer["gradients"].items()}

    def file(self, weights: Weights, energies: Mapping[int, float]) -> tuple[str, bytes]:
        """Return name and content of a file that the package opens; ``energies``, eV, are added by atomic number."""
        request = {"precision": _precision(weights), "energies": list(energies.items())}
        answer = self._with_weights("file", request, weights)
        return answer["name"], answer["content"]

    def _with_weights(self, do: str, request: Mapping[str, Any], weights: Weights) -> dict[str, Any]:
        """Ask something of the network with these weights, telling those that the process does not have."""

        def message(life: int) -> Mapping[str, Any]:
            before, told = self._told
            news = weights if life != before else {n: w for n, w in weights.items() if not _same(w, told.get(n))}
            known = dict(told) if life == before else {}
            self._told = (life, known | {name: value.clone() for name, value in news.items()})
            forget, self._forget[:] = list(self._forget), []
            return {"do": do, **request, "forget": forget, "weights": _arrays(news)}

        return self._asked_safely(message)

    def _asked_safely(self, message: Any) -> dict[str, Any]:
        """Return the answer; after a failure nothing is taken for known over there."""
        try:
            return self.ask(message)
        except BaseException:
            self._told = (0, {})
            raise


def _precision(weights: Weights) -> str:
    return str(next(iter(weights.values())).dtype)


def _arrays(weights: Weights) -> dict[str, Any]:
    return {name: value.numpy() for name, value in weights.items()}


def _same(one: Tensor, other: Tensor | None) -> bool:
    """Return whether two tensors are equal to the last bit, also in their type."""
    return other is not None and one.dtype == other.dtype and torch.equal(one, other)
