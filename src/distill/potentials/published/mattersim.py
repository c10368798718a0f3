"""Published MatterSim weights under our names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.base.errors import UserError
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.tensors import read_tensors
from distill.potentials.networks.mattersim import BASIS, RADIAL


def read_checkpoint(path: Path, model: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments and weights of a checkpoint as the package ``mattersim`` writes it, without running code.

    Raises:
        UserError: the file is not such a checkpoint, or of a network that differs in more than sizes.
    """
    try:
        checkpoint = read_tensors(path)
        arguments, weights = checkpoint["model_args"], checkpoint["model"]
        if (arguments["max_n"], arguments["max_l"]) != (RADIAL, BASIS // RADIAL):
            raise ValueError(f"its basis has {arguments['max_n']} by {arguments['max_l']} functions")
        return arguments, weights
    except (KeyError, TypeError, ValueError) as error:
        raise _no_weights(path, model, error) from error


def fill(potential: Potential, published: dict[str, Tensor], path: Path) -> None:
    """Set the weights of a checkpoint.

    Raises:
        UserError: some are missing or have other sizes.
    """
    try:
        potential.get_submodule("network").load_state_dict(convert(published), strict=True)
    except (KeyError, RuntimeError) as error:
        raise _no_weights(path, potential.architecture, error) from error


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of :class:`M3GNet` from that of the package ``mattersim`` 1.x."""
    state = {
        "elements.weight": published["atom_embedding.mlp.0.linear.weight"].t().contiguous(),
        "edge_embedding.weight": published["edge_encoder.mlp.0.linear.weight"],
        "scale": published["normalizer.scale"],
        "reference": published["normalizer.shift"].double(),
        **_gate("read_out", published, "final", inputs=1),
    }
    for k in _blocks(published):
        ours, theirs = f"blocks.{k}", f"graph_conv.{k}"
        for kind in ("atom", "edge"):
            state |= _gate(f"{ours}.{kind}s", published, f"{theirs}.gated_mlp_{kind}", inputs=3)
            state[f"{ours}.{kind}_weights.weight"] = published[f"{theirs}.edge_layer_{kind}.linear.weight"]
        for part in ("weight", "bias"):
            state[f"{ours}.atom_gate.{part}"] = published[f"{theirs}.three_body.atom_mlp.linear.{part}"]
        halves = [published[f"{theirs}.three_body.edge_gate_mlp.{half}.0.linear.weight"] for half in ("g", "sigma")]
        state[f"{ours}.three_body.weight"] = torch.cat(halves)
    return state


def _blocks(published: dict[str, Tensor]) -> Iterator[int]:
    """Yield the numbers of the blocks."""
    found = {int(match[1]) for name in published if (match := re.match(r"graph_conv\.(\d+)\.", name))}
    yield from sorted(found)


def _gate(ours: str, published: dict[str, Tensor], theirs: str, inputs: int) -> dict[str, Tensor]:
    """Return a gated perceptron, core above gate, the first map cut into one for each input."""
    halves = [f"{theirs}.{half}" for half in ("g", "sigma")]
    first = torch.cat([published[f"{half}.0.linear.weight"] for half in halves])
    blocks = first.chunk(inputs, dim=1)
    state = {f"{ours}.inputs.{k}.weight": block.contiguous() for k, block in enumerate(blocks)}
    state[f"{ours}.inputs.0.bias"] = torch.cat([published[f"{half}.0.linear.bias"] for half in halves])
    for name, half in zip(("core", "gate"), halves, strict=True):
        for part in ("weight", "bias"):
            for k in range(1, 3):
                if f"{half}.{k}.linear.{part}" in published:
                    state[f"{ours}.{name}.{k - 1}.{part}"] = published[f"{half}.{k}.linear.{part}"]
    return state


def _no_weights(path: Path, model: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(
        f"it does not hold the weights of {model} ({reason})",
        where=str(path),
        remedy="Delete it, and it is fetched again",
    )
