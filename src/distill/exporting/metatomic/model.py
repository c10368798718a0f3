"""A student as metatomic's atomistic model: energies of atoms; forces and stress are derivatives that engines take.

Metatomic and TorchScript read the annotations of the class, which therefore are no strings and of ``typing``.
"""

from typing import Dict, List, Optional  # noqa: UP035

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

from distill.base.conventions import DTYPES, Precision
from distill.exporting.certificate import reference
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.student import Student
from distill.potentials.networks.traced import traced

SOFTWARE = "distill, https://pypi.org/project/mlip-distill"


class EnergyModel(torch.nn.Module):
    """What metatomic calls: systems with their half lists of neighbours to energies."""

    def __init__(self, energies_of_atoms: torch.jit.ScriptModule, cutoff: float) -> None:
        super().__init__()
        self.energies_of_atoms = energies_of_atoms
        self.cutoff = cutoff

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:  # noqa: UP006
        """Ask for each pair once, none further than the cutoff."""
        return [NeighborListOptions(cutoff=self.cutoff, full_list=False, strict=True)]

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels],  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        """Return the energies of systems or of their atoms, of the selected atoms alone where some are selected."""
        results: Dict[str, TensorMap] = {}  # noqa: UP006
        if "energy" not in outputs or len(systems) == 0:
            return results
        options = NeighborListOptions(cutoff=self.cutoff, full_list=False, strict=True)
        numbers: List[torch.Tensor] = []  # noqa: UP006
        edges: List[torch.Tensor] = []  # noqa: UP006
        vectors: List[torch.Tensor] = []  # noqa: UP006
        atoms: List[torch.Tensor] = []  # noqa: UP006
        first = 0
        for index, system in enumerate(systems):
            neighbours = system.get_neighbor_list(options)
            device = system.positions.device
            numbers.append(system.types.to(torch.int64))
            edges.append(neighbours.samples.values[:, :2].to(torch.int64).T + first)
            vectors.append(neighbours.values.reshape(-1, 3))
            of_system = torch.full((len(system),), index, dtype=torch.int64, device=device)
            atoms.append(torch.stack([of_system, torch.arange(len(system), device=device)], 1))
            first += len(system)
        samples = torch.cat(atoms)
        energies = self.energies_of_atoms(torch.cat(numbers), torch.cat(edges, 1), torch.cat(vectors))
        if selected_atoms is not None:
            key = samples[:, 0] * first + samples[:, 1]
            wanted = selected_atoms.values.to(torch.int64)
            kept = torch.isin(key, wanted[:, 0] * first + wanted[:, 1])
            samples, energies = samples[kept], energies[kept]
        names = ["system", "atom"]
        if outputs["energy"].sample_kind != "atom":
            names = ["system"]
            whole = torch.zeros(len(systems), dtype=energies.dtype, device=energies.device)
            energies = whole.index_add(0, samples[:, 0], energies)
            samples = torch.arange(len(systems), device=energies.device).reshape(-1, 1)
        zero = torch.zeros(1, 1, dtype=torch.int32, device=energies.device)
        block = TensorBlock(
            values=energies.to(systems[0].positions.dtype).reshape(-1, 1),
            samples=Labels(names, samples.to(torch.int32)),
            components=torch.jit.annotate(List[Labels], []),  # noqa: UP006
            properties=Labels(["energy"], zero),
        )
        results["energy"] = TensorMap(Labels(["_"], zero), [block])
        return results


def atomistic_model(potential: Potential, precision: Precision, safety: str) -> AtomisticModel:
    """Return a student as a model that metatomic saves.

    Its interaction range is that of all rounds of messages together, which engines need that divide space.

    Args:
        potential: a PaiNN or TensorNet student.
        precision: of positions, network and energies; in single, energies are rounded to 6e-8 of themselves.
        safety: one line, for the description.
    """
    if not isinstance(potential, Student):
        raise TypeError(f"{type(potential).__name__} is no student")
    student = reference(potential, precision)
    row = POTENTIALS[student.architecture]
    rounds = len(list(student.get_submodule("interactions").children()))
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom")},
        atomic_types=list(student.elements or ()),
        interaction_range=student.cutoff * rounds,
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype=DTYPES[precision],
    )
    metadata = ModelMetadata(
        name=f"{student.architecture} student of distill",
        description=safety,
        authors=["distill"],
        references={"architecture": [row.reference], "implementation": [SOFTWARE]},
    )
    return AtomisticModel(EnergyModel(traced(student), student.cutoff).eval(), metadata, capabilities)
