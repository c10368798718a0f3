"""The numbers of each architecture that the C++ computes, by the names that it knows them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from distill.base.arrays import Array
from distill.potentials.networks.painn import PaiNNPotential
from distill.potentials.networks.student import Student
from distill.potentials.networks.tensornet import TensorNetPotential

VECTOR = 8
"""Channels are written as a multiple of this, the numbers in a vector of the processor in single precision."""

Blocks = Mapping[str, tuple[int, ...]]

PAINN: Blocks = {
    "embedding": (0, 1),
    "filter": (3, 0),
    "phi.first": (1, 1),
    "phi.second": (3, 1),
    "mlp.first": (1, 2),
    "mlp.second": (3, 1),
    "uv": (2, 1),
    "read_out.first": (1, 1),
    "read_out.second": (0, 1),
}
"""How many times the channels an array has along each axis, by the end of its name; 0 where it is something else."""

TENSORNET: Blocks = {
    "own": (0, 1),
    "other": (0, 1),
    "radial.mapping": (3, 0),
    "radial.first": (2, 0),
    "radial.second": (3, 2),
    "mlp.first": (2, 1),
    "mlp.second": (3, 2),
    "embedding.norm": (1,),
    "norm": (3,),
    "read_out.first": (2, 3),
    "read_out.second": (0, 2),
    **{f"{name}.{part}": (1, 1) for name in ("linear", "before", "after") for part in range(3)},
}


@dataclass(frozen=True)
class Network:
    """What a model file says of a network."""

    architecture: str
    channels: int
    layers: int
    arrays: Mapping[str, Array]

    @property
    def written_channels(self) -> int:
        """The channels with those that are always zero."""
        return -(-self.channels // VECTOR) * VECTOR

    def padded(self) -> dict[str, Array]:
        """Return the arrays with channels that are always zero, so that vectors of numbers are full."""
        blocks = PAINN if self.architecture == "painn" else TENSORNET
        return {name: self._padded(array, _blocks(name, blocks)) for name, array in self.arrays.items()}

    def _padded(self, array: Array, blocks: tuple[int, ...]) -> Array:
        for axis, number in enumerate(blocks[: array.ndim]):
            if number:
                before, after = array.shape[:axis], array.shape[axis + 1 :]
                split = array.reshape(*before, number, self.channels, *after)
                widths = [(0, 0)] * split.ndim
                widths[axis + 1] = (0, self.written_channels - self.channels)
                array = np.pad(split, widths).reshape(*before, number * self.written_channels, *after)
        return array


def _blocks(name: str, table: Blocks) -> tuple[int, ...]:
    """Return the entry of the longest name that the array's ends with."""
    module = name.removesuffix(".weight").removesuffix(".bias")
    fitting = [known for known in table if module == known or module.endswith(f".{known}")]
    return table[max(fitting, key=len)] if fitting else ()


@torch.no_grad()
def network_of(student: Student) -> Network | None:
    """Return what the C++ needs of a student's network; None for one that it does not compute."""
    numbers = list(student.elements or ())
    if isinstance(student, PaiNNPotential):
        channels, layers = student.embedding.weight.shape[1], len(student.interactions)
        return Network("painn", channels, layers, _of_painn(student, numbers))
    if isinstance(student, TensorNetPotential):
        channels, layers = student.embedding.elements.weight.shape[1], len(student.interactions)
        return Network("tensornet", channels, layers, _of_tensornet(student, numbers))
    return None


def array_of(tensor: torch.Tensor) -> Array:
    """Return a tensor as an array in double precision; a single number as an array of one."""
    return np.atleast_1d(np.asarray(tensor.detach().cpu().double().numpy()))


def _of_painn(student: PaiNNPotential, numbers: list[int]) -> dict[str, Array]:
    arrays = {"embedding": array_of(student.embedding.weight[numbers])}
    for name, value in student.state_dict().items():
        module, _, rest = name.partition(".")
        if module == "read_out":
            arrays[name] = array_of(value)
        elif module in ("interactions", "updates"):
            arrays[rest.replace("filter.linear", "filter").replace("filter.freq", "freq")] = array_of(value)
    return arrays


def _of_tensornet(student: TensorNetPotential, numbers: list[int]) -> dict[str, Array]:
    z = student.embedding.elements.weight[numbers]
    own, other = student.embedding.pair_of_elements.weight.split(z.shape[1], dim=1)
    arrays = {"own": array_of(z @ own.T), "other": array_of(z @ other.T)}
    for name, value in student.state_dict().items():
        short = name.replace("mapping.layers", "layers").replace(".maps", "")
        short = short.replace("layers.0", "first").replace("layers.1", "second")
        module = short.partition(".")[0]
        if module in ("interactions", "embedding", "norm", "read_out"):
            arrays[short.removeprefix("interactions.")] = array_of(value)
    return arrays
