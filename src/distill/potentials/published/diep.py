"""Published DIEP weights under our names."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.potentials.networks.diep import BLOCKS, WIDTH


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of :class:`DIEPNetwork` from that of the package ``diep`` (version 2.0)."""
    state = {
        "scale": published["data_std"].double(),
        "reference": published["element_refs.property_offset"].double(),
        "elements.weight": published["model.embedding.layer_node_embedding.weight"],
    }
    _copy(state, "edge_embedding", published, "model.embedding.layer_edge_embedding.layers.0")
    for k in range(BLOCKS):
        theirs, conv = f"model.three_body_interactions.{k}", f"model.graph_layers.{k}.conv"
        _copy(state, f"blocks.{k}.of_end", published, f"{theirs}.update_network_atom.layers.0")
        kinds = [published[f"{theirs}.update_network_bond.{kind}.0.weight"] for kind in ("layers", "gates")]
        state[f"blocks.{k}.of_triplets.weight"] = torch.cat(kinds)
        weights = [published[f"{conv}.{of}_weight_func.weight"] for of in ("edge", "node")]
        state[f"blocks.{k}.weights.weight"] = torch.cat(weights)
        for of in ("edge", "node"):
            _copy_gated(state, f"blocks.{k}.{of}_update", published, f"{conv}.{of}_update_func", hidden=2)
    _copy_gated(state, "read_out", published, "model.final_layer.gated", hidden=3)
    return state


def _copy(state: dict[str, Tensor], ours: str, published: dict[str, Tensor], theirs: str) -> None:
    for part in ("weight", "bias"):
        state[f"{ours}.{part}"] = published[f"{theirs}.{part}"]


def _copy_gated(state: dict[str, Tensor], ours: str, published: dict[str, Tensor], theirs: str, hidden: int) -> None:
    """Split the first linear maps by input, core above gate, and copy the rest."""
    kinds = {"core": "layers", "gate": "gates"}
    weight = torch.cat([published[f"{theirs}.{kind}.0.weight"] for kind in kinds.values()])  # (128, 64 · inputs)
    for k, block in enumerate(weight.split(WIDTH, dim=1)):
        state[f"{ours}.inputs.{k}.weight"] = block
    state[f"{ours}.inputs.0.bias"] = torch.cat([published[f"{theirs}.{kind}.0.bias"] for kind in kinds.values()])
    for name, kind in kinds.items():
        for k in range(hidden):
            _copy(state, f"{ours}.{name}.{k}", published, f"{theirs}.{kind}.{2 * (k + 1)}")
