"""Liquid argon as A. Rahman simulated it first (Phys. Rev. 136, A405 (1964)), with ``distill.md`` and our observables.

864 atoms of Lennard-Jones (σ = 3.4 Å, ε = 120 K, cut off at 2.25 σ) at 94.4 K and 1.374 g/cm³, in steps of 10 fs:

    python tests/benchmarks/argon.py                   # 864 atoms, 4 runs of 40 ps: 5 minutes on one core
    python tests/benchmarks/argon.py --cells 4 --runs 1 --ps 30        # 256 atoms
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses
from scipy.signal import find_peaks, peak_widths, savgol_filter

import distill
from distill.analysis.diffusion import Diffusion, box_size_correction, diffusion
from distill.analysis.means import mean
from distill.analysis.radial_distribution import RadialDistribution, radial_distribution
from distill.analysis.structure_factor import StructureFactor, structure_factor
from distill.structures.neighbours import NeighbourSearch

SIGMA, EPSILON = 3.4, 120 * units.kB
TEMPERATURE, DENSITY = 94.4, 1.374
CUTOFF, SKIN = 2.25 * SIGMA, 1.0
VISCOSITY = 0.25
"""mPa s, of argon near 94 K: what the correction for the size of the box is computed with."""
STEP_FS, SAVE_FS = 10.0, 50.0
EDGE = (4 * atomic_masses[18] * units._amu * 1e27 / DENSITY) ** (1 / 3)
"""Of a face-centred cell of four atoms, Å."""
RAHMAN = {"D": 0.243, "g(r)": (3.7, 7.0, 10.4), "S(q)": (6.8, 12.5, 18.5, 24.8)}
"""Å²/ps; maxima in Å, and in units of 1/σ."""


class LennardJones(Calculator):
    """Energy, forces and stress of argon; the list of pairs is kept while no atom moves by half of the skin."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, sigma: float = SIGMA) -> None:
        super().__init__()
        self._sigma = sigma
        self._search = NeighbourSearch(CUTOFF + SKIN)
        self._listed: np.ndarray | None = None

    def reset(self) -> None:
        super().reset()
        self._listed = None

    def calculate(self, atoms: Atoms, properties=(), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x, cell = atoms.positions, atoms.cell.array
        listed = self._listed
        if listed is None or {"cell", "numbers", "pbc"} & set(system_changes) or _far(x, listed):
            i, j, shifts = self._search.pairs(x, cell, atoms.pbc, "ijS")
            self._pairs, self._shifts, self._listed = (i.astype(np.int64), j.astype(np.int64)), shifts @ cell, x.copy()
        i, j = self._pairs
        vectors = x[j] - x[i] + self._shifts
        squares = np.einsum("pk,pk->p", vectors, vectors)
        near = np.flatnonzero(squares < CUTOFF**2)
        i, j, vectors, squares = i[near], j[near], vectors[near], squares[near]
        sixth = (self._sigma**2 / squares) ** 3
        energy = 4 * EPSILON * float((sixth**2 - sixth).sum())
        pulls = (24 * EPSILON * (sixth - 2 * sixth**2) / squares)[:, None] * vectors  # on the first atom of each pair
        forces = [np.bincount(i, f, len(x)) - np.bincount(j, f, len(x)) for f in pulls.T]
        stress = (vectors.T @ pulls) / atoms.get_volume()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.stack(forces, axis=1),
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


def _far(x: np.ndarray, listed: np.ndarray) -> bool:
    return bool((((x - listed) ** 2).sum(axis=1) > (SKIN / 2) ** 2).any())


@dataclass(frozen=True)
class Argon:
    """What one NVE run gave."""

    temperature: float
    diffusion: Diffusion
    g: RadialDistribution
    S: StructureFactor


def melt(cells: int, folder: Path) -> Atoms:
    """Return a liquid: the crystal, molten at 200 K."""
    crystal = bulk("Ar", "fcc", a=EDGE, cubic=True) * cells
    return _last(_md(crystal, folder / "melt", ps=3, temperature=200, thermostat="bussi"))


def liquid(start: Atoms, folder: Path, *, equilibrate_ps: float, ps: float, seed: int) -> Argon:
    """Equilibrate with a thermostat and run without one, at the mean energy.

    A canonical sample of N atoms is off the mean temperature by T / sqrt(N) or more, which an NVE run keeps. So it
    begins at the sample whose energy, with the velocities that it is given, is the mean.
    """
    held = _md(start, folder / f"held-{seed}", ps=equilibrate_ps, seed=seed, thermostat="bussi").trajectory
    potential, kinetic = held.column("energy"), held.column("kinetic_energy")
    late = len(potential) // 4
    wanted = potential[late:].mean() + 1.5 * len(start) * units.kB * TEMPERATURE - kinetic[0]  # the seed's velocities
    best = late + int(np.abs(potential[late:] - wanted).argmin())
    run = _md(list(held.snapshots())[best], folder / f"free-{seed}", ps=ps, seed=seed, ensemble="nve").trajectory
    frames = distill.Frames.from_atoms(run.snapshots(every=10))
    return Argon(
        float(run.column("temperature").mean()),
        diffusion(run.column("positions"), SAVE_FS),
        radial_distribution(frames, longest=12.0, width=0.05),
        structure_factor(frames, largest=8.0, width=0.15, vectors=50),
    )


def peaks(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the places of maxima that stand out by 0.08: of parabolas through the upper third of each."""
    smooth = savgol_filter(values, 7, 3)
    found = find_peaks(smooth, height=1.0, prominence=0.08)[0]
    begin, end = np.array(peak_widths(smooth, found, rel_height=1 / 3)[2:]).round().astype(int)
    fits = [np.polyfit(places[a : b + 1], values[a : b + 1], 2) for a, b in zip(begin - 1, end + 1, strict=True)]
    return np.array([-fit[1] / (2 * fit[0]) for fit in fits])


def _md(atoms: Atoms, out: Path, *, ps: float, temperature: float = TEMPERATURE, **settings) -> distill.Dynamics:
    return distill.md(
        LennardJones(), atoms, ps=ps, temperature=temperature, timestep_fs=STEP_FS, save_every_fs=SAVE_FS,
        checkpoint_ps=20, out=out, device="cpu", **settings,
    )  # fmt: skip


def _last(run) -> Atoms:
    return list(run.trajectory.snapshots())[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6, help="face-centred cells along each edge")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--ps", type=float, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        start = melt(asked.cells, Path(scratch))
        edge = asked.cells * EDGE
        print(f"{len(start)} atoms in {edge:.2f} Å; wanted {TEMPERATURE} K and D = {RAHMAN['D']} Å²/ps", flush=True)
        runs = []
        for seed in range(asked.runs):
            runs.append(liquid(start, Path(scratch), equilibrate_ps=15, ps=asked.ps, seed=seed))
            D = runs[-1].diffusion
            told = D.reason or f"D = {D.value:.4f} ± {D.error:.4f}, from {D.from_ps:.2f} ps on"
            print(f"{runs[-1].temperature:.1f} K: {told}", flush=True)
    known = mean([run.diffusion.value for run in runs if not run.diffusion.reason])
    larger = box_size_correction(TEMPERATURE, VISCOSITY, edge)
    print(f"D = {known.value:.4f} ({known.low:.4f} to {known.high:.4f}); in an infinite box {larger:.4f} more")
    g, S = (np.mean([getattr(run, name).values for run in runs], axis=0) for name in ("g", "S"))
    print(f"g(r) has maxima at {peaks(runs[0].g.radius, g).round(2)} Å; Rahman's are at {RAHMAN['g(r)']}")
    print(f"S(q) at qσ = {(SIGMA * peaks(runs[0].S.wavenumber, S)).round(1)}; Rahman's at {RAHMAN['S(q)']}")


if __name__ == "__main__":
    main()
