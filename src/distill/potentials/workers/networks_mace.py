"""MACE for :mod:`distill.potentials.workers.networks`: a file that the package ``mace-torch`` wrote.

The energies of isolated atoms, thousands of eV in all-electron models, are taken out of the network, so that it has to
be right about interactions only, also in single precision.
"""

from __future__ import annotations

import io
from typing import Any

if __package__:
    from distill.potentials.workers.protocol import WorkerError, describe, module
else:  # a script: its folder is on the path, and this package may not be installed
    from protocol import WorkerError, describe, module  # type: ignore[import-not-found,no-redef]


class MACE:
    """See :data:`distill.potentials.workers.networks.FAMILIES`."""

    def __init__(self, model: str, file: str | None, device: str) -> None:
        import torch

        package = module("mace.modules", "mace-torch")
        self.published = str(file)
        try:
            self.module = torch.load(self.published, map_location=device, weights_only=False)
        except Exception as error:  # reading what is not a model can fail in any way
            raise WorkerError("input", f"{file} is not a model file of mace-torch ({describe(error)})") from error
        if not isinstance(self.module, package.MACE):
            raise WorkerError("input", f"{file} holds a {type(self.module).__name__}, not a MACE model")
        heads = list(getattr(self.module, "heads", None) or ["Default"])
        self.head = next((k for k, name in enumerate(heads) if name.lower() == "default"), 0)
        self.elements = [int(z) for z in self.module.atomic_numbers]
        self.cutoff = float(self.module.r_max)
        energies = torch.atleast_2d(self.module.atomic_energies_fn.atomic_energies)
        self._isolated = energies.double().clone()
        self.isolated = dict(zip(self.elements, self._isolated[self.head].tolist()))  # noqa: B905 - Python 3.9
        energies.zero_()

    def energies(self, graph: Any) -> Any:
        """Return the energy of each atom without that of the isolated atom, ``[N]`` eV.

        The network adds the difference of two positions to a shift; here the shift is the whole vector of the edge.
        """
        import torch

        kinds = graph.numbers.new_zeros(max(self.elements) + 1)
        kinds[torch.tensor(self.elements)] = torch.arange(len(self.elements), device=kinds.device)
        counts = torch.bincount(graph.structure, minlength=graph.n_structures)
        inputs = {
            "positions": graph.vectors.new_zeros(len(graph.numbers), 3),
            "cell": graph.vectors.new_zeros(3 * graph.n_structures, 3),
            "node_attrs": torch.nn.functional.one_hot(kinds[graph.numbers], len(self.elements)).to(graph.vectors.dtype),
            "edge_index": graph.edges,
            "shifts": graph.vectors,
            "unit_shifts": torch.zeros_like(graph.vectors),
            "batch": graph.structure,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "head": torch.full_like(counts, self.head),
        }
        return self.module(inputs, training=True, compute_force=False)["node_energy"]

    def file(self, energies: dict[int, float]) -> tuple[str, bytes]:
        """Return a model file for ``MACECalculator``; ``energies`` are those of isolated atoms."""
        import copy

        import torch

        whole = copy.deepcopy(self.module).cpu()
        own = torch.atleast_2d(whole.atomic_energies_fn.atomic_energies)
        own.copy_(self._isolated)
        for number, energy in energies.items():
            own[self.head, self.elements.index(number)] = energy
        buffer = io.BytesIO()
        torch.save(whole, buffer)
        return "mace.model", buffer.getvalue()
