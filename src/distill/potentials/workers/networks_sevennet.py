"""SevenNet for :mod:`distill.potentials.workers.networks`: the published networks of the package ``sevenn``."""

from __future__ import annotations

import hashlib
import importlib
import io
from typing import Any

if __package__:
    from distill.potentials.workers.protocol import module
else:  # a script: its folder is on the path, and this package may not be installed
    from protocol import module  # type: ignore[import-not-found,no-redef]

MULTI_FIDELITY = "sevennet-mf-0-"
"""The name of the multi-fidelity network ends in a level of theory."""

OUTPUTS = ("reduce_total_enegy", "force_output")
"""Modules at the end of the package's network that are not needed: sums and derivatives are taken outside of it."""


def named(model: str) -> tuple[str, str | None]:
    """Return a network's name in the package, and the level of theory where it knows several."""
    if not model.startswith(MULTI_FIDELITY):
        return model, None
    return MULTI_FIDELITY[:-1], model[len(MULTI_FIDELITY) :].upper()


class SevenNet:
    """See :data:`distill.potentials.workers.networks.FAMILIES`."""

    def __init__(self, model: str, file: str | None, device: str) -> None:
        package = module("sevenn.util", "sevenn")
        self.key = importlib.import_module("sevenn._keys")
        name, level = named(model)
        self.checkpoint = package.load_checkpoint(name)
        self.published = str(self.checkpoint.checkpoint_path)
        self.module = self.checkpoint.build_model().to(device)
        for output in OUTPUTS:
            self.module.delete_module_by_key(output)
        self.module.key_grad, self.module.eval_modal_map = None, False  # neither is read from the data
        self.level = None if level is None else self.module.modal_map[level]
        self.cutoff, self.elements = self.module.cutoff, list(self.module.type_map)
        self.isolated: dict[int, float] = {}

    def energies(self, graph: Any) -> Any:
        """Return the energy of each atom, ``[N]`` eV."""
        data = {
            self.key.ATOMIC_NUMBERS: graph.numbers,
            self.key.NODE_FEATURE: graph.numbers,  # the package replaces it
            self.key.EDGE_IDX: graph.edges,
            self.key.EDGE_VEC: graph.vectors,
            self.key.BATCH: graph.structure,
        }
        if self.level is not None:
            data[self.key.MODAL_TYPE] = graph.structure.new_full((graph.n_structures,), self.level)
        data = self.module._preprocess(data)
        for part in self.module:
            data = part(data)
            for name in (self.key.NODE_FEATURE, self.key.NODE_ATTR, self.key.MODAL_ATTR):
                if name in data and data[name].is_floating_point():  # what is one-hot comes in single precision
                    data[name] = data[name].to(graph.vectors.dtype)
        return data[self.key.ATOMIC_ENERGY].reshape(-1)

    def file(self, energies: dict[int, float]) -> tuple[str, bytes]:
        """Return a checkpoint for ``SevenNetCalculator``; energies of atoms are added to its shifts."""
        import torch

        content = self.checkpoint.get_checkpoint_dict()
        state = {name: value.detach().cpu().clone().float() for name, value in self._state()}
        shift = state["rescale_atomic_energy.shift"]
        of_level = shift[self.level] if shift.dim() == 2 else shift
        for number, energy in energies.items():
            of_level[self.module.type_map[number]] += energy
        content["model_state_dict"] = state
        content["config"]["version"] = importlib.import_module("sevenn").__version__
        content["optimizer_state_dict"], content["scheduler_state_dict"] = {}, {}
        of_weights = b"".join(state[name].numpy().tobytes() for name in sorted(state))
        content["hash"], content["time"] = hashlib.sha256(of_weights).hexdigest(), self.checkpoint.time
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return "sevennet.pth", buffer.getvalue()

    def _state(self) -> Any:
        """Return names and values of parameters and constants; the modules that were left out have none."""
        return self.module.state_dict().items()
