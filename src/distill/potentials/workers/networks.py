"""Networks of other packages behind the workers' protocol: edges in, energies with their derivatives and gradients out.

The neighbours of atoms come as vectors, so that no package has to find them; back go the energy of each atom and the
derivative of their sum by every vector. For a fit the graph of both is kept, until the derivatives of a loss by them
arrive and the gradient of the parameters is sent back. This file is the script that another interpreter runs; each
family of networks has a file of its own beside it, ``networks_<family>.py``.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

if __package__:
    from distill.potentials.workers.calculator import PACKAGES, on_device
    from distill.potentials.workers.networks_mace import MACE
    from distill.potentials.workers.networks_sevennet import SevenNet
    from distill.potentials.workers.protocol import Server, WorkerError, describe, serve, versions
else:  # a script: its folder is on the path, and this package may not be installed
    from calculator import PACKAGES, on_device  # type: ignore[import-not-found,no-redef]
    from networks_mace import MACE  # type: ignore[import-not-found,no-redef]
    from networks_sevennet import SevenNet  # type: ignore[import-not-found,no-redef]
    from protocol import Server, WorkerError, describe, serve, versions  # type: ignore[import-not-found,no-redef]

FAMILIES: dict[str, Any] = {"sevennet": SevenNet, "mace": MACE}
"""The adapter of each family. It is made with a model's name, its file, if any, and a device, and has

- ``module``: the package's network; its parameters are what a fit changes,
- ``cutoff``: Å, and ``elements``: atomic numbers,
- ``published``: path of the file that its weights are from,
- ``isolated``: by atomic number, energies, eV, that were taken out of the network and have to be added,
- ``energies(graph)``: the energy of each atom of a :class:`Graph`, ``[N]`` eV,
- ``file(energies)``: name and content of a file that the package opens, with energies, eV, by atomic number added.
"""


class Graph(NamedTuple):
    """What a network reads.

    Attributes:
        numbers: atomic numbers, ``[N]`` int64.
        edges: from atom i to its neighbour j, each pair of neighbours both ways, ``[2, 2P]`` int64.
        vectors: from i to j, ``[2P, 3]`` Å, in the precision of the network.
        structure: index of the structure of each atom, ``[N]`` int64.
        n_structures: how many.
    """

    numbers: Any
    edges: Any
    vectors: Any
    structure: Any
    n_structures: int


def family_of(model: str) -> str | None:
    """Return the key of :data:`FAMILIES` that a model belongs to."""
    return next((name for name in FAMILIES if model == name or model.startswith(f"{name}-")), None)


class NetworkServer(Server):
    """Holds a network, and the graphs of evaluations whose gradients may be asked for."""

    does = ("handshake", "weights", "evaluate", "gradient", "file")

    def handshake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open the published network and say what it is."""
        family = family_of(request["model"])
        if family is None:
            raise WorkerError("input", f"{request['model']} has no adapter", f"Known: {', '.join(FAMILIES)}")
        self.device = on_device(request["device"])
        self.network = FAMILIES[family](request["model"], request["file"], self.device)
        self.network.module.eval()
        self.parameters = dict(self.network.module.named_parameters())
        self.precision = str(next(iter(self.parameters.values())).dtype)
        self.graphs: dict[int, tuple[Any, Any]] = {}
        with open(self.network.published, "rb") as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
        return {
            "versions": versions(PACKAGES),
            "cutoff": float(self.network.cutoff),
            "elements": sorted(int(z) for z in self.network.elements),
            "parameters": {name: list(p.shape) for name, p in self.parameters.items()},
            "fixed": [name for name, p in self.parameters.items() if not p.requires_grad],
            "precision": self.precision[len("torch.") :],
            "published": {"file": self.network.published, "sha256": sha256},
        }

    def weights(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as they are, and the energies of isolated atoms that were taken out."""
        return {
            "weights": {name: p.detach().cpu().numpy() for name, p in self.parameters.items()},
            "isolated": [[int(z), float(energy)] for z, energy in self.network.isolated.items()],
        }

    def evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the energy of each atom ``[N]`` and the derivative of their sum by each vector ``[P, 3]``.

        The graph is kept under the number ``keep``, if there is one.
        """
        self._take(request)
        try:
            energies, by_vectors = self._forward(request, request["keep"] is not None)
        except Exception as error:
            raise self._described(error) from error
        if request["keep"] is not None:
            self.graphs[request["keep"]] = (energies, by_vectors)
        return {"energies": _array(energies), "by_vectors": _array(by_vectors)}

    def gradient(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the gradients by the parameters that are wanted; the graph is given up.

        Asked for are the derivatives of a loss ``by_energies [N]`` and ``by_by_vectors [P, 3]``. Where the graph went
        with the process that had it, the request brings weights and edges to make it again.
        """
        import torch

        if "numbers" in request:
            self.evaluate(request)
        outputs = self.graphs.pop(request["graph"])
        given = (request["by_energies"], request["by_by_vectors"])
        pairs = [(o, self._tensor(c)) for o, c in zip(outputs, given) if o.requires_grad]  # noqa: B905 - Python 3.9
        wanted = [self.parameters[name] for name in request["wanted"]]
        try:
            found = torch.autograd.grad([o for o, _ in pairs], wanted, [c for _, c in pairs], allow_unused=True)
        except Exception as error:
            raise self._described(error) from error
        named = zip(request["wanted"], found)  # noqa: B905 - Python 3.9
        return {"gradients": {name: _array(gradient) for name, gradient in named if gradient is not None}}

    def file(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return name and content of a file of the package's own, with the energies of atoms that were moved."""
        self._take(request)
        name, content = self.network.file({int(z): float(energy) for z, energy in request["energies"]})
        return {"name": name, "content": content}

    def _take(self, request: dict[str, Any]) -> None:
        """Take over weights that have changed, and give up graphs that nobody will ask for."""
        import torch

        for graph in request["forget"]:
            self.graphs.pop(graph, None)
        if request["precision"] != self.precision:
            self.network.module.to(getattr(torch, request["precision"][len("torch.") :]))
            self.precision = request["precision"]
        with torch.no_grad():
            for name, value in request["weights"].items():
                self.parameters[name].copy_(self._tensor(value))

    def _forward(self, request: dict[str, Any], keep: bool) -> tuple[Any, Any]:
        import torch

        vectors = self._tensor(request["vectors"]).requires_grad_()
        edges = self._tensor(request["edges"]).long()
        graph = Graph(
            self._tensor(request["numbers"]),
            torch.cat([edges, edges.flip(0)], dim=1),
            torch.cat([vectors, -vectors]),
            self._tensor(request["structure"]),
            request["n_structures"],
        )
        energies = self.network.energies(graph)
        if not energies.requires_grad:
            return energies, torch.zeros_like(vectors)
        (by_vectors,) = torch.autograd.grad(energies.sum(), [vectors], create_graph=keep, allow_unused=True)
        return energies, torch.zeros_like(vectors) if by_vectors is None else by_vectors

    def _tensor(self, array: Any) -> Any:
        import torch

        return torch.tensor(array, device=self.device)

    def _described(self, error: Exception) -> WorkerError:
        """Return what travels of an error; that memory did not suffice is told from all else."""
        import torch

        if isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error):
            self.graphs.clear()
            torch.cuda.empty_cache()
            return WorkerError("memory", describe(error))
        return WorkerError("work", f"the network failed ({describe(error)})")


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


if __name__ == "__main__":
    serve(NetworkServer())
