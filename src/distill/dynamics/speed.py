"""How long a step of molecular dynamics takes: measured on ever larger supercells, or read from a user's own table.

What is timed is what a user of ASE waits for: one velocity-Verlet step with the potential's calculator, from arrays to
arrays. Steps that rebuild the neighbour list are rare and expensive, so both kinds are timed and weighted as they
occur.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from distill.base.processor import processor, seconds_in_queue
from distill.dynamics.engines import calculator_for
from distill.potentials.interface.batch_size import out_of_memory
from distill.potentials.interface.calculator import CPP
from distill.structures.guard import UnphysicalResult, UnphysicalStructure
from distill.structures.read import read_frames

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

WARM_UP = 3
"""Steps at each size that are not counted: memory is allocated, kernels are chosen."""

FEWEST, MOST = 5, 100
"""Steps that are counted at each size."""

SHARE = 0.05
"""Share of the time of a model after which a size with enough steps is done."""

ALONE_S = 2.0
"""Seconds for the steps of a potential that is timed at one size."""

EXPLODED = 20.0
"""Times the starting temperature at which dynamics is not worth timing: every step rebuilds the neighbour list."""


@dataclass(frozen=True)
class Timing:
    """How long one step takes at one size.

    Attributes:
        atoms: atoms of the supercell.
        ms_per_step: milliseconds of one step.
        n_steps: steps that the number rests on.
        waiting: share of the time for which a thread had no core, because others had it.
    """

    atoms: int
    ms_per_step: float
    n_steps: int
    waiting: float = 0.0


@dataclass(frozen=True)
class Speed:
    """The timings of one potential by size, why no larger size was measured, and whether its dynamics broke there."""

    timings: tuple[Timing, ...]
    stopped: str
    broke: bool = False

    @property
    def waiting(self) -> float:
        """Share of the time of all counted steps for which a thread had no core."""
        spent = np.array([timing.ms_per_step * timing.n_steps for timing in self.timings])
        shares = np.array([timing.waiting for timing in self.timings])
        return float(spent @ shares / spent.sum()) if spent.sum() > 0 else 0.0


class _Broken(Exception):
    """The dynamics are no longer physical."""


def measure(
    potential: Potential,
    structure: Atoms,
    *,
    seconds: float,
    largest: int | None,
    temperature: float,
    timestep_fs: float,
    rng: np.random.Generator,
    report: Callable[[Timing], None] = lambda timing: None,
    compiled: bool = False,
) -> Speed:
    """Time steps of molecular dynamics on supercells of a structure, each twice as large as the one before.

    A size is not begun if the steps it needs would exceed what is left of the time.

    Args:
        potential: what drives the dynamics, on the device to time.
        structure: is repeated along its periodic directions.
        seconds: for all sizes together; the first is always measured.
        largest: atoms at most, but at least the structure itself; None: until time or memory ends.
        temperature: of the velocities to start from, K.
        timestep_fs: fs.
        rng: random stream of the velocities.
        report: called after each size.
        compiled: have torch compile a network that is not computed in C++; compiling takes none of the time.
    """
    first = structure.copy()
    first.calc = calculator_for(potential, compiled)
    if compiled or first.calc.computed_by == CPP:
        with suppress(UnphysicalResult):  # the steps below will see it too
            first.get_forces()
    begin, timings = time.perf_counter(), list[Timing]()
    for atoms in supercells(structure):
        n = len(atoms)
        if timings and largest is not None and n > largest:
            return Speed(tuple(timings), f"no more than {largest} atoms were asked for")
        left = seconds - (time.perf_counter() - begin)
        if timings and _expected(timings[-1], n) > left:
            return Speed(tuple(timings), f"{n} atoms would have exceeded the time")
        try:
            timing = time_steps(potential, atoms, temperature, timestep_fs, rng, SHARE * seconds)
        except (_Broken, UnphysicalStructure, UnphysicalResult):
            return Speed(tuple(timings), f"the dynamics of {n} atoms broke", broke=True)
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError) or out_of_memory(error)):
                raise
            return Speed(tuple(timings), f"{n} atoms did not fit into the memory")
        finally:
            if potential.device.type == "cuda":
                torch.cuda.empty_cache()
        timings.append(timing)
        report(timing)
    return Speed(tuple(timings), "the structure is not periodic and cannot be repeated")


def timed_structure(given: Path | None, frames: Path) -> Atoms:
    """Return what is repeated: the first structure of a file, or the most periodic one of ``frames``."""
    if given is not None:
        return read_frames(given, labels="none")[0].to_atoms()[0]
    known = read_frames(frames)[0]
    return known[int(known.pbc.sum(axis=1).argmax())].to_atoms()[0]


def supercells(structure: Atoms) -> Iterator[Atoms]:
    """Yield the structure and supercells of it, each doubled along what is then the shortest periodic direction.

    Constraints are left out. Without periodic directions there is only the structure itself.
    """
    structure = structure.copy()
    structure.set_constraint()
    repeat = np.ones(3, dtype=int)
    while True:
        yield structure.repeat(tuple(int(r) for r in repeat))
        if not structure.pbc.any():
            return
        repeat[np.argmin(np.where(structure.pbc, repeat * structure.cell.lengths(), np.inf))] *= 2


def time_of_atom(
    potential: Potential,
    structure: Atoms,
    atoms: int,
    *,
    temperature: float,
    timestep_fs: float,
    rng: np.random.Generator,
) -> Timing | None:
    """Return how long a step takes in the first supercell of at least so many atoms; None where its dynamics break."""
    cells = supercells(structure)
    cell = next(cells)
    while len(cell) < atoms and (larger := next(cells, None)) is not None:
        cell = larger
    try:
        return time_steps(potential, cell, temperature, timestep_fs, rng, ALONE_S)
    except (_Broken, UnphysicalStructure, UnphysicalResult):
        return None


def time_steps(
    potential: Potential,
    atoms: Atoms,
    temperature: float,
    timestep_fs: float,
    rng: np.random.Generator,
    seconds: float,
) -> Timing:
    """Time steps of one structure for about so many seconds, between :data:`FEWEST` and :data:`MOST` of them."""
    atoms.calc = calculator = calculator_for(potential)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    if len(atoms) > 1:  # a single atom would be left without motion
        Stationary(atoms)
    dynamics = VelocityVerlet(atoms, timestep_fs * units.fs)
    _refuse_broken(atoms, temperature)
    for _ in range(WARM_UP):
        dynamics.run(1)
        _refuse_broken(atoms, temperature)
    took: list[float] = []
    listed: list[bool] = []
    begin, queued = time.perf_counter(), seconds_in_queue()
    while len(took) < FEWEST or (len(took) < MOST and time.perf_counter() - begin < seconds):
        lists, start = calculator.lists_built, time.perf_counter()
        dynamics.run(1)
        took.append(1000 * (time.perf_counter() - start))
        listed.append(calculator.lists_built > lists)
        _refuse_broken(atoms, temperature)
    waiting = (seconds_in_queue() - queued) / (time.perf_counter() - begin)
    return Timing(len(atoms), _typical(np.array(took), np.array(listed)), len(took), waiting)


def _typical(took: np.ndarray, listed: np.ndarray) -> float:
    """Return the mean of the medians of steps with and without a new list of neighbours, weighted by their numbers.

    Medians, because other work of the machine lengthens single steps; two of them, because one would hide the lists.
    """
    kinds = [took[kind] for kind in (listed, ~listed) if kind.any()]
    return float(sum(len(kind) * np.median(kind) for kind in kinds) / len(took))


def _refuse_broken(atoms: Atoms, temperature: float) -> None:
    """Raise where forces are not finite or the atoms fly apart."""
    if not np.isfinite(atoms.get_forces()).all() or not atoms.get_temperature() < EXPLODED * temperature:
        raise _Broken


def _expected(last: Timing, atoms: int) -> float:
    """Return how many seconds a size will take at least, from the last one: time grows with the number of atoms."""
    return last.ms_per_step / 1000 * atoms / last.atoms * (1 + WARM_UP + FEWEST)


def times_faster(slow: Speed, fast: Speed) -> tuple[int, float, float] | None:
    """Return the largest size that both were measured at and the milliseconds a step of each there, or None."""
    of = [{timing.atoms: timing.ms_per_step for timing in speed.timings} for speed in (slow, fast)]
    common = of[0].keys() & of[1].keys()
    return (max(common), of[0][max(common)], of[1][max(common)]) if common else None


def describe_machine(device: torch.device) -> str:
    """Return what steps are timed on, e.g. ``Intel Xeon E5, 2 threads`` or ``NVIDIA A6000``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}"


# ---- a table of the user's ------------------------------------------------------------------------------------------
