"""Published Orb weights under our names: the networks are the same, the names and what is left out are not."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from distill.base.errors import UserError
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.tensors import read_tensors
from distill.potentials.networks.orb_direct import OrbDirect

OLD_HEADS = {"node_head.": "heads.forces.", "graph_head.": "heads.energy.", "stress_head.": "heads.stress."}
"""What the heads of version 2 were called at first."""

NAMES = (
    (r"model\.atom_emb\.embeddings\.", "network.elements."),
    (r"model\._encoder\._node_fn\.", "network.encode_atoms."),
    (r"model\._encoder\._edge_fn\.", "network.encode_edges."),
    (r"model\.gnn_stacks\.(\d+)\._node_mlp\.", r"network.interactions.\1.atoms."),
    (r"model\.gnn_stacks\.(\d+)\._edge_mlp\.", r"network.interactions.\1.edges."),
    (r"model\.gnn_stacks\.(\d+)\._receive_attn\.", r"network.interactions.\1.receive."),
    (r"model\.gnn_stacks\.(\d+)\._send_attn\.", r"network.interactions.\1.send."),
    (r"heads\.energy\.mlp\.", "energy_head.perceptron.mlp."),
    (r"heads\.forces\.mlp\.", "force_head.perceptron.mlp."),
    (r"heads\.stress\.mlp\.", "stress_head.perceptron.mlp."),
)
LEFT_OUT = r"(model\._decoder\.|model\.rbf_transform\.|grad_\w+_normalizer\.|heads\.)"
"""Constants, what only the published training read, and heads that we do not have."""


def read_weights(potential: Potential, path: Path) -> None:
    """Fill in the weights of a checkpoint as the package ``orb-models`` publishes it, without running code.

    Raises:
        UserError: the file does not hold the weights of such a model.
    """
    try:
        published = read_tensors(path)
        state = potential.state_dict()
        potential.load_state_dict(convert(published, state, isinstance(potential, OrbDirect)), strict=True)
    except (KeyError, RuntimeError, AttributeError, ValueError) as error:
        raise UserError(
            f"it does not hold the weights of {potential.architecture} ({str(error).splitlines()[0]})",
            where=str(path),
            remedy="Delete it, and it is fetched again",
        ) from error


def convert(published: dict[str, Tensor], state: dict[str, Tensor], direct: bool) -> dict[str, Tensor]:
    """Return the state of our potential from that of the package's model.

    Args:
        published: the package's names and tensors.
        state: our names and tensors, for what the package does not have.
        direct: whether forces and stress have heads.

    Raises:
        KeyError: something is missing.
    """
    published = {current(name): value for name, value in published.items()}
    converted = {"reference_energies": state["reference_energies"], "reference": torch.zeros_like(state["reference"])}
    reference = published.pop("heads.energy.reference.linear.weight").flatten()
    converted["reference"][: len(reference)] = reference.double()
    scales: dict[str, tuple[str, ...]] = {"energy_head": ("heads.energy.normalizer",)}
    if direct:
        old = "heads.stress.normalizer.bn.running_mean" in published
        diagonal, rest = (("normalizer",) * 2) if old else ("diag_normalizer", "offdiag_normalizer")
        scales["force_head"] = ("heads.forces.normalizer",)
        scales["stress_head"] = (f"heads.stress.{diagonal}", f"heads.stress.{rest}")
    for head, normalizers in scales.items():
        size = len(state[f"{head}.mean"]) // len(normalizers)
        for ours, theirs in (("mean", "running_mean"), ("scale", "running_var")):
            values = torch.cat([published[f"{n}.bn.{theirs}"].flatten().expand(size) for n in normalizers])
            converted[f"{head}.{ours}"] = values.sqrt() if ours == "scale" else values
    for name, value in published.items():
        converted.update(renamed(name, value, state))
    return converted


def current(name: str) -> str:
    """Return a name of today's package from one of today or of version 2."""
    for old, new in OLD_HEADS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name.replace("model.model.", "model.", 1) if name.startswith("model.model.") else name


def renamed(name: str, value: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return one tensor under our name; that of a map of several inputs is cut into one for each."""
    ours = name
    for pattern, replacement in NAMES:
        ours = re.sub(f"^{pattern}", replacement, ours)
    ours = ours.replace(".layer_norm.", ".norm.")
    ours = re.sub(r"\.mlp\.NN-0\.", ".inputs.0.", ours)
    ours = re.sub(r"\.mlp\.NN-(\d+)\.", lambda found: f".layers.{int(found[1]) - 1}.", ours)
    if ours not in state:
        return {} if re.match(LEFT_OUT, name) else {name: value}
    if not ours.endswith("inputs.0.weight"):
        return {ours: value}
    inputs = value.split(state[ours].shape[1], dim=1)
    return {ours.replace("inputs.0.", f"inputs.{k}."): part for k, part in enumerate(inputs)}
