"""TorchSim as what a certificate is made with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms

from distill.base.arrays import Array
from distill.exporting.certificate import NVE_STEPS, NVE_TEMPERATURE, NVE_TIMESTEP_FS, Evaluated
from distill.exporting.frames import SEED
from distill.exporting.torchsim.model import TorchSimModel
from distill.potentials.interface.potential import Potential


class TorchSimSession:
    """A student in TorchSim, which computes all structures at once that repeat in the same directions."""

    def __init__(self, potential: Potential) -> None:
        self.model = TorchSimModel(potential)

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluated]:
        """Return energies, forces and stresses of structures."""
        found: dict[int, Evaluated] = {}
        for pbc in {tuple(atoms.pbc) for atoms in structures}:
            alike = [k for k, atoms in enumerate(structures) if tuple(atoms.pbc) == pbc]
            together = [structures[k] for k in alike]
            predicted = {name: value.cpu().numpy() for name, value in self.model(self._state(together)).items()}
            ends = np.cumsum([len(atoms) for atoms in together])[:-1]
            forces = np.split(predicted["forces"], ends)
            for k, energy, force, stress in zip(alike, predicted["energy"], forces, predicted["stress"], strict=True):
                found[k] = Evaluated(float(energy), force, stress)
        return [found[k] for k in range(len(structures))]

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in TorchSim's velocity Verlet, ``[steps + 1]`` eV each."""
        temperature = torch.tensor(NVE_TEMPERATURE * ts.units.MetalUnits.temperature)
        timestep = torch.tensor(NVE_TIMESTEP_FS / 1000 * ts.units.MetalUnits.time)
        state = self._state([atoms])
        state.rng = SEED
        state = ts.nve_init(state, self.model, kT=temperature)
        energies = []
        for _ in range(NVE_STEPS + 1):
            kinetic = float((state.momenta.square().sum(1) / state.masses).sum() / 2)
            energies.append((float(state.energy) + kinetic, float(state.energy)))
            state = ts.nve_step(state, self.model, dt=timestep)
        total, potential = np.array(energies).T
        return total, potential

    def _state(self, structures: list[Atoms]) -> ts.SimState:
        return ts.io.atoms_to_state(structures, self.model.device, self.model.dtype)
