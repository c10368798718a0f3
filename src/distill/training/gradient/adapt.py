"""Fit a part of a potential only: freeze what is named, or learn low-rank changes of its linear maps.

LoRA (Hu et al., arXiv:2106.09685) replaces a weight W by W + (alpha / rank) B A with W fixed, A drawn at random and B
zero, so that a fit starts from the pretrained model; merged afterwards, the model costs what it did before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from distill.base.errors import UserError, nearest
from distill.potentials.interface.potential import Potential


def parts(potential: Potential) -> list[str]:
    """Return the names of the modules of the network that have parameters to fit, as ``freeze`` takes them."""
    network = {name.partition(".")[0] for name, _ in _fitted(potential)}
    names: dict[str, None] = {}
    for name, _ in _fitted(potential):
        words = name.split(".")[1 if len(network) == 1 else 0 : -1]
        names.update(dict.fromkeys(".".join(words[:depth]) for depth in range(1, len(words) + 1)))
    return list(names)


def freeze(potential: Potential, names: Sequence[str]) -> int:
    """Exclude parts of the network from the fit, and return how many parameters are still fitted.

    Args:
        potential: changed in place.
        names: names of modules as :func:`parts` lists them; a part includes all that is inside it.

    Raises:
        UserError: a part that the potential does not have, or nothing is left to fit.
    """
    known = parts(potential)
    for name in names:
        if name not in known:
            tops = ", ".join(k for k in known if "." not in k)
            remedy = f"{nearest(name, known)} Its parts are {tops}, and what is inside them (layers.0)"
            raise UserError(f"{potential.architecture} has no part {name!r}", "teacher.finetune.freeze", remedy)
        for parameter_name, parameter in list(_fitted(potential)):
            if f".{name}." in f".{parameter_name}":
                parameter.requires_grad_(False)
    left = sum(parameter.numel() for _, parameter in _fitted(potential))
    if not left:
        raise UserError("every part is frozen: nothing is left to fit", "teacher.finetune.freeze", "Name fewer parts")
    return left


class LowRank(nn.Module):
    """The change of one weight matrix, (alpha / rank) B A."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + self.scale * (self.up @ self.down)


def add_lora(potential: Potential, rank: int, alpha: float, seed: int) -> int:
    """Fix all weights of ``potential``, add trainable low-rank changes to its linear maps, return how many parameters.

    Parts that were frozen before get none.

    Raises:
        UserError: the potential has no linear maps that can be changed so.
    """
    layers = [layer for layer in _linear(potential) if layer.weight.requires_grad]
    if not layers:
        where, remedy = "teacher.finetune.lora", "Remove lora, or freeze parts by name instead"
        raise UserError(f"{potential.architecture} has no linear layers to change", where, remedy)
    potential.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha))
            layer.parametrizations.weight.original.requires_grad_(False)
    return sum(parameter.numel() for _, parameter in _fitted(potential))


def can_take_lora(potential: Potential) -> bool:
    """Return whether the potential has linear maps that :func:`add_lora` can change."""
    return any(layer.weight.requires_grad for layer in _linear(potential))


def merge_lora(potential: Potential) -> None:
    """Add the low-rank changes to the weights; afterwards the potential is an ordinary one again."""
    for layer in _linear(potential):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _linear(potential: Potential) -> list[Any]:
    """Return the layers that multiply by a matrix."""
    return [module for module in potential.modules() if isinstance(module, nn.Linear)]


def _fitted(potential: Potential) -> Iterator[tuple[str, nn.Parameter]]:
    return (
        (name, p)
        for name, p in potential.named_parameters()
        if p.requires_grad and p is not potential.reference_energies
    )
