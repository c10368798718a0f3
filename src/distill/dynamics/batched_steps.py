"""Steps of several replicas of one system at once, with everything that moves on the device of the potential.

One integrator serves: B A O A B (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102, 2013), which is velocity Verlet
where there is no friction. Stochastic velocity rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101,
2007) precedes such a step. Each replica may have another ensemble and another temperature.

A few steps are a block, in which nothing waits for the device; steps of the networks that can be compiled are recorded
as a CUDA graph. After a block the processor reads, of each replica, how far atoms moved from where its neighbours were
listed. Where a list did not hold, or a number is not finite, the block is done again from its beginning, with the same
random numbers, and looked at after every step: so no step is ever made with a list that does not hold, and a replica
breaks at a known step. Lists are made anew before a block in which they would probably not hold. What is read of a
replica decides for it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from ase import units
from torch import Tensor

from distill.base.arrays import Array
from distill.dynamics.batched_state import BrokenReplica, ReplicaState
from distill.dynamics.counted_noise import CountedNoise
from distill.dynamics.ensembles import Ensemble
from distill.potentials.interface.recorded import Recorded
from distill.potentials.interface.replica_forces import ReplicaForces, UnphysicalReplica

BLOCK = 5
"""Steps between two looks at the device, at most."""

DRAWN = 8 * BLOCK
"""Steps whose noise is drawn together, at most."""

FASTER = 1.3
"""How much faster than now the fastest atom may become in a block before its list is made too late; then the block is
done again."""


class ReplicaSteps:
    """Makes steps of ``R`` replicas.

    Args:
        forces: of the replicas.
        masses: of their atoms, ``[R, N]`` u.
        fixed: Cartesian components that are held in place, ``[R, N, 3]`` booleans.
        ensembles: of each replica, nve or nvt.
        seeds: of each replica's random numbers.
        timestep_fs: fs.
    """

    def __init__(
        self,
        forces: ReplicaForces,
        masses: Array,
        fixed: Array,
        ensembles: Sequence[Ensemble],
        seeds: Sequence[int],
        timestep_fs: float,
    ) -> None:
        self.device = forces.potential.device
        self._timestep_fs, self.dt = timestep_fs, timestep_fs * units.fs
        self._forces = forces
        self._masses = self._tensor(masses)[:, :, None]
        self._free = self._tensor(~fixed)
        self._inverse_masses = self._free / self._masses
        self._degrees = self._free.sum((1, 2))
        counted = self._free.flatten(1).cumsum(1).view_as(self._free)
        self._first_free = self._free * (counted == 1)
        self._ensembles = ensembles
        keep = [np.exp(-timestep_fs / one.thermostat_fs) for one in ensembles]
        is_langevin, is_bussi = ([_thermostat(one) == name for one in ensembles] for name in ("langevin", "bussi"))
        self._rubs, self._rescales = any(is_langevin), any(is_bussi)
        self._noise = CountedNoise(seeds, masses.shape[1], self.device) if self._rubs or self._rescales else None
        self._friction = self._tensor(np.where(is_langevin, keep, 1.0)).view(-1, 1, 1)
        self._rescale = self._tensor(np.where(is_bussi, keep, 1.0))
        self._kt, self._kick = torch.zeros_like(self._rescale), torch.zeros_like(self._inverse_masses)
        self._set_temperatures(0.0)
        self._recorded = {stress: Recorded(partial(self._step, stress)) for stress in (False, True)}
        self._layouts = forces.layouts

    def _set_temperatures(self, ps: float) -> None:
        """Have the thermostats act as they should at a time; recorded steps read the same memory."""
        self._kt.copy_(self._tensor([units.kB * one.temperature_at(ps) for one in self._ensembles]))
        kt = self._kt.view(-1, 1, 1)
        self._kick.copy_((kt * self._inverse_masses * (1 - self._friction.square())).sqrt())

    def begin(self, step: int, positions: Array, velocities: Array) -> ReplicaState:
        """Return the state from which steps are made, with new lists of neighbours.

        Args:
            step: how many were made.
            positions: ``[R, N, 3]`` Å.
            velocities: ``[R, N, 3]``.

        Raises:
            BrokenReplica: there are no neighbours or no finite forces for one of them.
        """
        x, v = self._tensor(positions), self._tensor(velocities) * self._free
        self._relist(x, range(len(x)))
        energy, forces, stress = self._forces(x, self._wants_stress(True))
        state = ReplicaState(step, x, v, forces, energy, stress)
        self._refuse_broken(state)
        return state

    def advance(self, state: ReplicaState, steps: int) -> ReplicaState:
        """Return the state after so many steps, with the stress; lists hold in the one as in the other.

        Temperatures of programmes are those of the time half-way.

        Raises:
            BrokenReplica: a replica broke; the others are still where they were.
        """
        end = state.step + steps
        if any(one.programme for one in self._ensembles):
            self._set_temperatures((state.step + steps / 2) * self._timestep_fs / 1000)
        while state.step < end:
            n = min(DRAWN, end - state.step)
            noise = self._draw(state.step, n)
            for k in range(0, n, BLOCK):
                some = noise[k : k + BLOCK]
                state = self._block(state, some, stress_last=state.step + len(some) == end)
        return state

    def _draw(self, first: int, steps: int) -> Tensor:
        """Return the noise of steps, a row for each; there is nothing in it where nobody needs any."""
        if self._noise is None:
            return torch.zeros((steps, 1), device=self.device)
        return self._noise.normals(first, steps)

    def numbers(self, state: ReplicaState) -> list[dict[str, float]]:
        """Return ``energy``, ``kinetic_energy`` (eV) and ``temperature`` (K) of each replica.

        Where a stress was computed, they have its ``trace`` too (eV/Å³).
        """
        kinetic = self._kinetic_energy(state.velocities)
        columns = {"energy": state.energy, "kinetic_energy": kinetic}
        columns["temperature"] = 2 * kinetic / (units.kB * self._degrees)
        if state.stress is not None:
            columns["trace"] = state.stress.double().diagonal(dim1=1, dim2=2).sum(-1)
        rows = torch.stack(list(columns.values()), dim=1).cpu().tolist()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _kinetic_energy(self, velocities: Tensor) -> Tensor:
        """Return the kinetic energy of each replica, ``[R]`` eV."""
        return 0.5 * (self._masses * velocities.square()).sum((1, 2))

    def _tensor(self, values: Array | Sequence[float]) -> Tensor:
        return torch.tensor(np.asarray(values, dtype=np.float64), device=self.device)

    def _block(self, state: ReplicaState, noise: Tensor, stress_last: bool) -> ReplicaState:
        """Return the state after a step for each row of noise, and make the lists that the next block would need."""
        if self._layouts != self._forces.layouts:
            self._layouts = self._forces.layouts
            for one in self._recorded.values():
                one.forget()
        begin, farthest = state, torch.zeros_like(state.energy)
        for k, kicks in enumerate(noise):
            with_stress = self._wants_stress(stress_last and k + 1 == len(noise))
            step = self._recorded[with_stress] if self._forces.padded else partial(self._step, with_stress)
            *found, farthest = step(state.positions, state.velocities, state.forces, kicks, farthest)
            state = ReplicaState(state.step + 1, *found)
        went, moved, speed, finite = self._look(state, farthest)
        if not (finite.all() and (went < self._forces.limit).all()):
            state = self._watched(begin, noise, stress_last)
            _, moved, speed, _ = self._look(state, farthest)
        ahead = np.sqrt(moved) + FASTER * BLOCK * self.dt * np.sqrt(speed)
        self._relist(state.positions, np.flatnonzero(ahead**2 >= self._forces.limit))
        return state

    def _look(self, state: ReplicaState, farthest: Tensor) -> Array:
        """Return of each replica what is read after a block, ``[4, R]``: the one thing that waits for the device.

        The rows are the largest squared distance from the listed positions in the block and now, the largest squared
        speed, and whether all numbers are finite.
        """
        v = state.velocities
        finite = v.isfinite().all(-1).all(-1) & state.energy.isfinite()
        rows = [farthest, self._forces.moved(state.positions), v.square().sum(-1).amax(-1), finite.double()]
        return np.asarray(torch.stack(rows).cpu().numpy())

    def _watched(self, state: ReplicaState, noise: Tensor, stress_last: bool) -> ReplicaState:
        """Return what :meth:`_block` does, with lists and numbers looked at after every step."""
        for k, kicks in enumerate(noise):
            x, v = self._move(state.positions, state.velocities, state.forces, kicks)
            held = (self._forces.moved(x) < self._forces.limit).cpu().numpy()
            self._relist(x, np.flatnonzero(~held))
            with_stress = self._wants_stress(stress_last and k + 1 == len(noise))
            state = ReplicaState(state.step + 1, *self._arrive(with_stress, x, v))
            self._refuse_broken(state)
        return state

    def _wants_stress(self, asked: bool) -> bool:
        return asked and self._forces.potential.predicts_stress

    def _step(
        self, stress: bool, x: Tensor, v: Tensor, f: Tensor, noise: Tensor, farthest: Tensor
    ) -> tuple[Tensor, ...]:
        """Return positions, velocities, forces, energy and, if wanted, stress after a step, and ``farthest``.

        The latter is the largest squared distance from where lists were made, ``[R]``; NaN stays NaN.
        """
        x, v = self._move(x, v, f, noise)
        return (*self._arrive(stress, x, v), torch.maximum(farthest, self._forces.moved(x)))

    def _move(self, x: Tensor, v: Tensor, f: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions and velocities before the forces of the next step: (rescaling) B A O A."""
        if self._rescales:
            v = v * self._rescaling(v, noise)
        v = v + 0.5 * self.dt * f * self._inverse_masses
        if not self._rubs:
            return x + self.dt * v, v
        x = x + 0.5 * self.dt * v
        v = self._friction * v + self._kick * noise
        return x + 0.5 * self.dt * v, v

    def _arrive(self, stress: bool, x: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Return what :meth:`_step` does, from what :meth:`_move` gave: forces, and the last B."""
        energy, forces, tensor = self._forces(x, stress)
        found = x, v + 0.5 * self.dt * forces * self._inverse_masses, forces, energy
        return found if tensor is None else (*found, tensor)

    def _rescaling(self, v: Tensor, noise: Tensor) -> Tensor:
        """Return by what velocities are multiplied, ``[R, 1, 1]``: equation A7 of Bussi's paper, 1 without Bussi.

        As many squared normal numbers as degrees of freedom are added: they are those of all components that are free,
        of which the first is the one that also stands alone.
        """
        keep, noise = self._rescale, noise * self._free
        first = (noise * self._first_free).sum((1, 2))
        part = (1 - keep) * self._kt / (2 * self._kinetic_energy(v))
        squared = keep + part * noise.square().sum((1, 2)) + 2 * first * (keep * part).sqrt()
        return squared.sqrt().view(-1, 1, 1)

    def _relist(self, x: Tensor, which: Sequence[int] | Array) -> None:
        try:
            self._forces.relist(x, [int(k) for k in which])
        except UnphysicalReplica as error:
            raise BrokenReplica(error.index, error.what, x[error.index].cpu().numpy()) from None

    def _refuse_broken(self, state: ReplicaState) -> None:
        finite = (state.forces.isfinite().all(-1).all(-1) & state.energy.isfinite()).cpu().numpy()
        if not finite.all():
            k = int(np.flatnonzero(~finite)[0])
            raise BrokenReplica(k, "energy, forces or stress are not finite", state.positions[k].cpu().numpy())


def _thermostat(ensemble: Ensemble) -> str:
    return ensemble.thermostat if ensemble.kind == "nvt" else ""
