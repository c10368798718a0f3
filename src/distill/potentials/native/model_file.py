"""The file of a student that the C++ reads, for LAMMPS as for our own engine; ``distill_model_file.h`` describes it.

Lines of text, then all numbers in double precision, with a checksum of both. What takes part in the network of an
element that the student does not know is left out; names of arrays are those of the C++.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.conventions import Precision
from distill.base.errors import UserError
from distill.base.files import replacing
from distill.potentials.interface.potential import Potential
from distill.potentials.native.arrays import Network, array_of, network_of
from distill.potentials.networks.student import Student
from distill.potentials.networks.zbl import AMPLITUDES, EXPONENTS, ZBLRepulsion, pair_lengths, pair_strengths

VERSION = 1


def write_model_file(potential: Potential, file: Path, precision: Precision = "double") -> None:
    """Write a student for LAMMPS, the whole file or none; arguments and errors are those of :func:`model_content`."""
    content = model_content(potential, precision)
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def model_content(potential: Potential, precision: Precision) -> bytes:
    """Return the content of a student's file.

    Args:
        potential: a PaiNN or TensorNet student.
        precision: in which the C++ computes the network; energies are summed and positions kept in double in any case.

    Raises:
        UserError: a potential of another architecture, or one that says no elements.
    """
    student = exportable(potential)
    network = _network(student)
    known = list(student.elements or ())
    arrays = {
        "offsets": array_of(student.reference_energies[known]),
        "scales": array_of(student.scale[known]),
        **network.padded(),
        **_repulsion(student),
    }
    numbers = b"".join(value.astype("<f8").tobytes() for value in arrays.values())
    head = "".join(f"{line}\n" for line in _lines(student, network, precision, arrays)).encode()
    checksum = zlib.crc32(numbers, zlib.crc32(head))
    return head + f"data {len(numbers) // 8} {checksum:08x}\n".encode() + numbers


def exportable(potential: Potential) -> Student:
    """Return the potential if the pair style computes it.

    Raises:
        UserError: it does not.
    """
    if not isinstance(potential, Student):
        raise _refused(potential)
    if not potential.elements:
        raise UserError("it says no elements", f"potential {potential.architecture}", "Export a trained student")
    _network(potential)
    return potential


def _network(student: Student) -> Network:
    network = network_of(student)
    if network is None:
        raise _refused(student)
    return network


def _refused(potential: Potential) -> UserError:
    return UserError(
        "LAMMPS' pair style distill computes PaiNN and TensorNet students alone",
        where=f"potential {potential.architecture}",
        remedy="Export a student of arch: painn or tensornet, or an ACE student, which pair_style pace computes",
    )


def symbols_of(student: Student) -> list[str]:
    """Return the elements that a student knows, in the order of the file."""
    return [chemical_symbols[z] for z in student.elements or ()]


def _lines(student: Student, network: Network, precision: Precision, arrays: Mapping[str, Array]) -> list[str]:
    """Return the text of the file but for its last line."""
    return [
        f"distill-lammps {VERSION}",
        f"architecture {network.architecture}",
        f"precision {precision}",
        f"cutoff {student.cutoff!r}",
        f"elements {' '.join(symbols_of(student))}",
        f"channels {network.written_channels}",
        f"counted_channels {network.channels}",
        f"layers {network.layers}",
        *(f"array {name} {' '.join(map(str, value.shape))}" for name, value in arrays.items()),
    ]


def _repulsion(student: Student) -> dict[str, Array]:
    """Return the repulsion of nuclei for pairs of elements, ``[E, E]``; nothing for a student without it."""
    zbl = student.short_range_repulsion
    if not isinstance(zbl, ZBLRepulsion):
        return {}
    z = torch.tensor(student.elements, device=zbl.radii.device)
    first, second = z[:, None], z[None, :]
    return {
        "zbl_range": array_of(zbl.range),
        "zbl_amplitudes": np.array(AMPLITUDES),
        "zbl_exponents": np.array(EXPONENTS),
        "zbl_lengths": array_of(pair_lengths(first, second)),
        "zbl_strengths": array_of(pair_strengths(first, second)),
        "zbl_reaches": array_of(zbl.radii[first] + zbl.radii[second]),
    }
