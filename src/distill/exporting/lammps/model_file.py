"""The file of a student that ``pair_style distill`` reads; ``distill_model_file.h`` describes it.

Lines of text, then all numbers in double precision, with a checksum of both. What takes part in the network of an
element that the student does not know is left out; names of arrays are those of the C++.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import replacing
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.painn import PaiNNPotential
from distill.potentials.networks.student import Student
from distill.potentials.networks.zbl import AMPLITUDES, EXPONENTS, ZBLRepulsion, pair_lengths, pair_strengths

Precision = Literal["double", "single"]

VERSION = 1

VECTOR = 8
"""Channels are written as a multiple of this, the numbers in a vector of the processor in single precision."""

BLOCKS = {
    "filter": (3, 0),
    "phi.first": (1, 1),
    "phi.second": (3, 1),
    "mlp.first": (1, 2),
    "mlp.second": (3, 1),
    "uv": (2, 1),
    "read_out.first": (1, 1),
    "read_out.second": (0, 1),
}
"""How many times the channels the outputs and the inputs of each linear map are; 0 where they are something else."""


def write_model_file(potential: Potential, file: Path, precision: Precision = "double") -> None:
    """Write a student for LAMMPS, the whole file or none.

    Args:
        potential: a PaiNN student.
        file: where.
        precision: in which LAMMPS computes the network; energies are summed and positions kept in double in any case.

    Raises:
        UserError: a potential of another architecture, or one that says no elements.
    """
    student = exportable(potential)
    arrays = {name: value.astype("<f8") for name, value in _arrays(student).items()}
    numbers = b"".join(value.tobytes() for value in arrays.values())
    head = "".join(f"{line}\n" for line in _lines(student, precision, arrays)).encode()
    checksum = zlib.crc32(numbers, zlib.crc32(head))
    with replacing(file) as temporary:
        temporary.write_bytes(head + f"data {len(numbers) // 8} {checksum:08x}\n".encode() + numbers)


def exportable(potential: Potential) -> PaiNNPotential:
    """Return the potential if the pair style computes it.

    Raises:
        UserError: it does not.
    """
    if not isinstance(potential, PaiNNPotential):
        raise UserError(
            "LAMMPS' pair style distill computes PaiNN students alone",
            where=f"potential {potential.architecture}",
            remedy="Export a student of arch: painn; ACE students have a .yace file for pair_style pace",
        )
    if not potential.elements:
        raise UserError("it says no elements", f"potential {potential.architecture}", "Export a trained student")
    return potential


def symbols_of(student: PaiNNPotential) -> list[str]:
    """Return the elements that a student knows, in the order of the file."""
    return [chemical_symbols[z] for z in student.elements or ()]


def _lines(student: PaiNNPotential, precision: Precision, arrays: Mapping[str, Array]) -> list[str]:
    """Return the text of the file but for its last line."""
    return [
        f"distill-lammps {VERSION}",
        "architecture painn",
        f"precision {precision}",
        f"cutoff {student.cutoff!r}",
        f"elements {' '.join(symbols_of(student))}",
        f"channels {_padded_channels(student)}",
        f"layers {len(student.interactions)}",
        *(f"array {name} {' '.join(map(str, value.shape))}" for name, value in arrays.items()),
    ]


@torch.no_grad()
def _arrays(student: PaiNNPotential) -> dict[str, Array]:
    """Return the numbers of the file by name; rows of elements in the order of the student's."""
    numbers = list(student.elements or ())
    arrays = {
        "offsets": _array(student.reference_energies[numbers]),
        "scales": _array(student.scale[numbers]),
        "embedding": _array(student.embedding.weight[numbers]),
    }
    for name, value in student.state_dict().items():
        module, _, rest = name.partition(".")
        if module == "read_out":
            arrays[name] = _array(value)
        elif module in ("interactions", "updates"):
            arrays[rest.replace("filter.linear", "filter").replace("filter.freq", "freq")] = np.atleast_1d(
                _array(value)
            )
    return _padded(arrays, student) | _repulsion(student)


def _array(tensor: torch.Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _padded_channels(student: PaiNNPotential) -> int:
    return -(-student.embedding.weight.shape[1] // VECTOR) * VECTOR


def _padded(arrays: Mapping[str, Array], student: PaiNNPotential) -> dict[str, Array]:
    """Return the arrays with channels that are always zero, so that vectors of numbers are full."""
    channels, wanted = student.embedding.weight.shape[1], _padded_channels(student)
    padded = {}
    for name, array in arrays.items():
        for axis, blocks in enumerate(_blocks_of_channels(name)):
            if blocks:
                shape = array.shape
                array = array.reshape(*shape[:axis], blocks, channels, *shape[axis + 1 :])
                widths = [(0, wanted - channels if at == axis + 1 else 0) for at in range(array.ndim)]
                array = np.pad(array, widths).reshape(*shape[:axis], blocks * wanted, *shape[axis + 1 :])
        padded[name] = array
    return padded


def _blocks_of_channels(name: str) -> tuple[int, ...]:
    """Return how many times the channels an array has along each axis; 0 where the axis is another."""
    what = name.lstrip("0123456789").lstrip(".").rpartition(".")
    return (0, 1) if name == "embedding" else BLOCKS.get(what[0], (0, 0))[: 1 if what[2] == "bias" else 2]


def _repulsion(student: Student) -> dict[str, Array]:
    """Return the repulsion of nuclei for pairs of elements, ``[E, E]``; nothing for a student without it."""
    zbl = student.short_range_repulsion
    if not isinstance(zbl, ZBLRepulsion):
        return {}
    z = torch.tensor(student.elements, device=zbl.radii.device)
    first, second = z[:, None], z[None, :]
    return {
        "zbl_range": _array(zbl.range),
        "zbl_amplitudes": np.array(AMPLITUDES),
        "zbl_exponents": np.array(EXPONENTS),
        "zbl_lengths": _array(pair_lengths(first, second)),
        "zbl_strengths": _array(pair_strengths(first, second)),
        "zbl_reaches": _array(zbl.radii[first] + zbl.radii[second]),
    }
