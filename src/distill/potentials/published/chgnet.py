"""Published CHGNet weights under our names."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.potentials.networks.chgnet import LAYERS, WIDTH


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of :class:`CHGNetNetwork` from that of the package ``chgnet`` (versions 0.3.0 and r2scan)."""
    names = {
        "elements.weight": "atom_embedding.embedding.weight",
        "pair_basis.frequencies": "bond_basis_expansion.rbf_expansion_ag.frequencies",
        "bond_basis.frequencies": "bond_basis_expansion.rbf_expansion_bg.frequencies",
        "angle_basis.frequencies": "angle_basis_expansion.fourier_expansion.frequencies",
        "bond_embedding.weight": "bond_embedding.weight",
        "angle_embedding.weight": "angle_embedding.weight",
        "pair_weights.weight": "bond_weights_ag.weight",
        "bond_weights.weight": "bond_weights_bg.weight",
    }
    state = {ours: published[theirs] for ours, theirs in names.items()}
    state["reference"] = published["composition_model.fc.weight"].view(-1).double()
    for part in ("weight", "bias"):
        state[f"read_out.0.{part}"] = published[f"readout_norm.{part}"]
        for ours, theirs in ((1, 0), (3, 2), (5, 4), (7, 7)):
            state[f"read_out.{ours}.{part}"] = published[f"mlp.layers.{theirs}.{part}"]
    for k in range(LAYERS):
        _convert_gate(state, f"atom_layers.{k}.message", published, f"atom_conv_layers.{k}.twoBody_atom", hidden=True)
        state[f"atom_layers.{k}.out.weight"] = published[f"atom_conv_layers.{k}.mlp_out.layers.1.weight"]
    for k in range(LAYERS - 1):
        _convert_gate(state, f"bond_layers.{k}.message", published, f"bond_conv_layers.{k}.twoBody_bond", hidden=True)
        state[f"bond_layers.{k}.out.weight"] = published[f"bond_conv_layers.{k}.mlp_out.layers.1.weight"]
    for k in range(LAYERS - 2):
        _convert_gate(state, f"angle_layers.{k}.message", published, f"angle_layers.{k}.twoBody_bond", hidden=False)
    return state


def _convert_gate(state: dict[str, Tensor], ours: str, published: dict[str, Tensor], theirs: str, hidden: bool) -> None:
    """Split the first linear maps by input, core above gate, and copy the rest."""
    first = 0 if hidden else 1  # without a hidden layer a dropout layer comes first
    parts = [f"{theirs}.mlp_{kind}.layers.{first}" for kind in ("core", "gate")]
    weight = torch.cat([published[f"{part}.weight"] for part in parts])  # (128, 64 · inputs)
    for k, block in enumerate(weight.split(WIDTH, dim=1)):
        state[f"{ours}.inputs.{k}.weight"] = block
    state[f"{ours}.inputs.0.bias"] = torch.cat([published[f"{part}.bias"] for part in parts])
    for part in ("weight", "bias"):
        state[f"{ours}.core_norm.{part}"] = published[f"{theirs}.bn1.{part}"]
        state[f"{ours}.gate_norm.{part}"] = published[f"{theirs}.bn2.{part}"]
        if hidden:
            state[f"{ours}.core.{part}"] = published[f"{theirs}.mlp_core.layers.3.{part}"]
            state[f"{ours}.gate.{part}"] = published[f"{theirs}.mlp_gate.layers.3.{part}"]
