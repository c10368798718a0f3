"""MACE as a potential: the package's network, our derivatives.

The energies of isolated atoms, thousands of eV in all-electron models, are taken out of the network and added in double
precision (``reference_energies``), so that the network has to be right about interactions only, also in single
precision.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from distill.base.errors import UserError
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.settings.mace import MACESettings


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import the package without its notices, and without leaving ``torch.load`` unsafe in this process.

    The package and its ``e3nn`` read a pickled table of theirs while they are imported, for which they need this
    variable; the package would leave it set.
    """
    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    with redirect_stdout(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(variable, None)


with quiet_import():
    from e3nn import o3
    from mace import modules

ISOLATED = "atomic_energies_fn.atomic_energies"
"""The buffer of the energies of isolated atoms in the package's network, ``[heads, elements]`` eV; zero in ours."""


class MACEPotential(Potential):
    """MACE; ``reference_energies`` hold the energies of isolated atoms of the head that is used."""

    memory_per_atom = 10_000_000

    def __init__(self, settings: MACESettings) -> None:
        super().__init__(
            settings.r_max, elements=tuple(sorted(settings.atomic_numbers)), learn_reference_energies=False
        )
        self.network = make_network(settings)
        self.head = settings.heads.index(settings.head)
        species = torch.zeros(MAX_Z + 1, dtype=torch.int64)
        species[settings.atomic_numbers] = torch.arange(len(settings.atomic_numbers))
        self.register_buffer("species", species, persistent=False)
        self.species: Tensor

    def in_precision(self, precision: Literal["float32", "float64"]) -> Self:
        """Return this potential computing in the given precision, which is one of its settings."""
        self.settings = self.settings.model_copy(update={"precision": precision})
        return super().in_precision(precision)

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return MACE's energy of each atom without that of the isolated atom, ``[N]`` eV."""
        energies: Tensor = self.network(self.inputs(batch), training=self.training, compute_force=False)["node_energy"]
        return energies

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the batch as the package's network reads it, differentiable in the same positions and cells.

        The network adds the difference of two positions to a shift. Here the shift is the whole vector of the edge,
        because positions in single precision would lose digits.
        """
        counts = batch.atoms_per_structure()
        vectors = batch.vectors()
        species = self.species.index_select(0, batch.numbers)
        return {
            "positions": vectors.new_zeros(batch.positions.shape),
            "cell": batch.cells.to(batch.dtype),
            "node_attrs": nn.functional.one_hot(species, len(self.elements or ())).to(batch.dtype),
            "edge_index": torch.stack([batch.centres, batch.neighbours]),
            "shifts": torch.cat([vectors, -vectors]),
            "unit_shifts": torch.cat([batch.shifts, -batch.shifts]).to(batch.dtype),
            "batch": batch.structure,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "head": torch.full_like(counts, self.head),
        }


BY_NAME = {"interaction_cls", "interaction_cls_first", "readout_cls", "gate"}
IRREPS = {"hidden_irreps", "edge_irreps", "MLP_irreps"}
OURS = {"scale_shift", "head", "precision"}
"""Settings that name something of the package, that are representations, and that the package does not have."""


def make_network(settings: MACESettings) -> Any:
    """Return the package's network, untrained, with isolated atoms at zero, in the precision of the settings.

    Raises:
        UserError: the installed package is too old for these settings.
    """
    heads, elements = len(settings.heads), len(settings.atomic_numbers)
    irreps = settings.model_dump(include=IRREPS)
    try:
        arguments = settings.model_dump(exclude=BY_NAME | IRREPS | OURS) | {
            "interaction_cls": modules.interaction_classes[settings.interaction_cls],
            "interaction_cls_first": modules.interaction_classes[settings.interaction_cls_first],
            "readout_cls": modules.readout_classes[settings.readout_cls],
            "gate": modules.gate_dict[settings.gate],
            **{name: None if value is None else o3.Irreps(value) for name, value in irreps.items()},
            "num_elements": elements,
            "atomic_energies": np.zeros((heads, elements)),
        }
        if settings.scale_shift:
            arguments |= {"atomic_inter_scale": np.ones(heads), "atomic_inter_shift": np.zeros(heads)}
        with default_dtype(getattr(torch, settings.precision)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript's, about every block of the package
            return (modules.ScaleShiftMACE if settings.scale_shift else modules.MACE)(**arguments)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"mace-torch {version('mace-torch')} cannot build this network ({error})",
            where="potential mace",
            remedy="Run: pip install --upgrade mace-torch",
        ) from error


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors be of ``dtype``, which the package's constructors go by."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
