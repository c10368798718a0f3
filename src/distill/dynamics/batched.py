"""Replicas of one system as one batch on a device, each written into a folder of its own as it goes.

The replicas go on together from one checkpoint to the next. Their folders are those that
:func:`distill.dynamics.md.run_md` leaves, and whatever reads those reads these. On a processor a batch gains nothing,
and replicas are computed one at a time: then every bit of one is the same with or without the others, and after a kill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from distill.base.arrays import Array
from distill.base.errors import UserError, WorkError
from distill.base.progress import Phase, Progress
from distill.base.random import stream_seed
from distill.dynamics.batched_files import BatchedReplica
from distill.dynamics.batched_state import BrokenReplica, ReplicaState
from distill.dynamics.batched_steps import ReplicaSteps
from distill.dynamics.course import Course, Dynamics
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials.interface.batch_size import out_of_memory
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.replica_forces import SKIN, ReplicaForces, can_batch, takes_whole_lists
from distill.structures.fixed import from_constraints
from distill.structures.frames import Frames


def run_batch(
    atoms: Atoms | Sequence[Atoms],
    potential: Potential,
    ensembles: Ensemble | Sequence[Ensemble],
    course: Course,
    folders: Sequence[str | Path],
    *,
    seeds: Sequence[int] | None = None,
    model: str = "",
    keep_velocities: bool = False,
    together: int | None = None,
    skin: float | None = None,
    progress: Progress | None = None,
) -> list[Dynamics]:
    """Run replicas of one system, each into a folder; those that are there are continued, also to a longer time.

    First velocities are those that :func:`distill.dynamics.md.run_md` gives for the same seed; the random numbers of a
    thermostat follow from seed, step and atom, see :mod:`distill.dynamics.counted_noise`. So a replica is the same to
    rounding whichever others run beside it, in whatever order, and wherever it was interrupted; to the last bit on a
    processor with ``together=1``.

    Args:
        atoms: the structure that all begin from, or one for each: the same atoms in the same order, in cells and at
            positions of their own. They are not changed.
        potential: a network, on the device to use; compiled if ``compile_for("use")`` was called before.
        ensembles: nve or nvt, of all or of each.
        course: how long, and what is kept.
        folders: where each replica goes.
        seeds: of each; those that follow from ``course.seed`` and the place in ``folders`` if None.
        model: what the potential is, so that a run is not continued with another one.
        keep_velocities: begin with the velocities that the structures have.
        together: how many are computed in one pass of the network; all on a GPU, one on a processor if None.
        skin: how much further than the cutoff neighbours are listed, Å; 1 on a GPU, 0.5 on a processor if None.
        progress: where to report; it counts the steps of all replicas.

    Returns:
        How each ended, in the order of ``folders``. One that breaks ends alone: a structure without finite energy or
        forces, or a temperature of more than 20 times that wanted.

    Raises:
        UserError: before anything is run: numbers of things do not agree, an ensemble is npt, the potential is no
            network, atoms differ or are all fixed, or a folder has a run of something else.
        WorkError: the memory of the device does not suffice for so many together.
    """
    for name, value in (("together", together), ("skin", skin)):
        if value is not None and not value > 0:
            raise UserError(f"{name} must be positive, and is {value:g}")
    replicas = _replicas(atoms, ensembles, course, folders, seeds, model, keep_velocities)
    if not can_batch(potential):
        what, remedy = "is no network that computes structures together", "Run its replicas one by one, with run_md"
        raise UserError(what, f"potential {potential.architecture}", remedy)
    potential.eval().check(Frames.from_atoms([one.atoms for one in replicas], constraints=False))
    for replica in replicas:
        replica.open()
    for replica in replicas:
        replica.announce()
    kind = potential.device.type
    runner = _Runner(potential, course, together or (1 if kind == "cpu" else len(replicas)), skin or SKIN[kind])
    done, total = sum(replica.step for replica in replicas), course.steps * len(replicas)
    with (progress or Progress()).phase(f"dynamics of {len(replicas)} replicas", total, "step", done) as phase:
        runner.run(replicas, phase)
    return [replica.close() for replica in replicas]


def _replicas(
    atoms: Atoms | Sequence[Atoms],
    ensembles: Ensemble | Sequence[Ensemble],
    course: Course,
    folders: Sequence[str | Path],
    seeds: Sequence[int] | None,
    model: str,
    keep_velocities: bool,
) -> list[BatchedReplica]:
    """Return the replicas, checked against each other."""
    n = len(folders)
    structures = [atoms] * n if isinstance(atoms, Atoms) else list(atoms)
    held = [ensembles] * n if isinstance(ensembles, Ensemble) else list(ensembles)
    own = [stream_seed(course.seed, "replica", k) for k in range(n)] if seeds is None else list(seeds)
    for name, given in (("structures", structures), ("ensembles", held), ("seeds", own)):
        if len(given) != n:
            raise UserError(f"there are {n} folders and {len(given)} {name}", remedy="Give as many of each")
    if not n or len({Path(folder).resolve() for folder in folders}) < n:
        raise UserError("every replica needs a folder of its own", remedy="Name at least one, and none twice")
    if any(one.kind == "npt" for one in held):
        raise UserError("replicas in a batch have constant volume", remedy="Use nvt, or run npt one by one")
    if any(not np.array_equal(one.numbers, structures[0].numbers) for one in structures):
        raise UserError("replicas in a batch have the same atoms in the same order", remedy="Make one batch of each")
    courses = [replace(course, seed=seed) for seed in own]
    return [
        BatchedReplica(one, keep_velocities, ensemble, course, TrajectoryFolder(Path(folder)), model)
        for one, ensemble, course, folder in zip(structures, held, courses, folders, strict=True)
    ]


class _Runner:
    """Brings replicas to their end, from checkpoint to checkpoint, always those that are farthest behind."""

    def __init__(self, potential: Potential, course: Course, together: int, skin: float) -> None:
        self.potential, self.course, self.together, self.skin = potential, course, together, skin
        self._whole: bool | None = None
        self._made: tuple[list[BatchedReplica], ReplicaSteps] | None = None

    def run(self, replicas: Sequence[BatchedReplica], phase: Phase) -> None:
        """Do all that is left."""
        while left := [one for one in replicas if not one.is_over]:
            step = min(one.step for one in left)
            group = [one for one in left if one.step == step][: self.together]
            with _within_memory(self.potential, len(group)):
                self._to_checkpoint(group, phase, sum(one.step for one in replicas if one not in group))

    def _to_checkpoint(self, group: list[BatchedReplica], phase: Phase, done: int) -> None:
        """Bring replicas that are at the same step to the next checkpoint; those that break leave the others."""
        leg = _Leg(group, self.course)
        while leg.active and leg.step < leg.end:
            steps = self._steps_of(leg.active)
            try:
                state = steps.begin(leg.step, leg.positions, leg.velocities)
                lost = leg.arrive(steps, state)
                while leg.step < leg.end and not lost:
                    state = steps.advance(state, self.course.every)
                    lost = leg.arrive(steps, state)
                    phase.update(
                        done + sum(one.step for one in group if one.broke) + len(leg.active) * leg.step, leg.text
                    )
            except BrokenReplica as error:
                leg.lose(error.index, f"after {self.course.time(leg.step)} {error.what}", error.positions)
        leg.keep()

    def _steps_of(self, group: list[BatchedReplica]) -> ReplicaSteps:
        """Return what makes the steps of replicas, the same as long as they are the same."""
        if self._made is None or self._made[0] != group:
            structures = [one.atoms for one in group]
            frames = Frames.from_atoms(structures, constraints=False)
            if self._whole is None:  # a processor is not waited for, and takes as few pairs as possible
                on_device = self.potential.device.type != "cpu"
                self._whole = on_device and takes_whole_lists(self.potential, structures[0].numbers, self.skin)
            fixed = [from_constraints([one]) for one in structures]
            made = ReplicaSteps(
                ReplicaForces(self.potential, frames, self.skin, self._whole),
                np.stack([one.get_masses() for one in structures]),
                np.stack([np.zeros((len(structures[0]), 3), bool) if one is None else one for one in fixed]),
                [one.ensemble for one in group],
                [one.course.seed for one in group],
                self.course.timestep_fs,
            )
            self._made = list(group), made
        return self._made[1]


class _Leg:
    """The way of replicas from one checkpoint to the next.

    Attributes:
        active: those that did not break.
        step: of the last sample.
        end: step of the next checkpoint.
        positions: at the last sample, ``[R, N, 3]`` Å.
        velocities: at the last sample, ``[R, N, 3]``.
    """

    def __init__(self, group: list[BatchedReplica], course: Course) -> None:
        self.active, self.step = list(group), group[0].step
        self.end = min(course.steps, (self.step // course.checkpoint + 1) * course.checkpoint)
        self.positions = np.stack([one.positions for one in group])
        self.velocities = np.stack([one.velocities for one in group])
        self._began = time.perf_counter()
        self._noted = self.step > 0  # else the sample at the beginning is not taken yet

    @property
    def text(self) -> str:
        """What a progress bar says of them: the time, and how many there are."""
        return f"{len(self.active)} at {self.active[0].course.time(self.step)}" if self.active else ""

    def arrive(self, steps: ReplicaSteps, state: ReplicaState) -> bool:
        """Note a sample of each, unless that was done; return whether one is given up because it is too hot."""
        self.positions, self.velocities = state.positions.cpu().numpy(), state.velocities.cpu().numpy()
        if self._noted and state.step == self.step:
            return False
        self.step, self._noted, hot = state.step, True, {}
        for k, (one, numbers) in enumerate(zip(self.active, steps.numbers(state), strict=True)):
            one.note(self.step, self.positions[k], self.velocities[k], numbers)
            hot[k] = one.exploded(self.step, numbers["temperature"])
        for k in reversed([k for k, why in hot.items() if why]):
            self.lose(k, hot[k], self.positions[k])
        return any(hot.values())

    def lose(self, index: int, why: str, positions: Array) -> None:
        """Let a replica end where it broke, and go on with the others from their last samples."""
        self.active.pop(index).end(self.step, why, positions, self._seconds())
        self.positions, self.velocities = (np.delete(one, index, axis=0) for one in (self.positions, self.velocities))

    def keep(self) -> None:
        """Write the parts and the states of those that arrived."""
        for one, positions, velocities in zip(self.active, self.positions, self.velocities, strict=True):
            one.keep(self.step, positions, velocities, self._seconds())

    def _seconds(self) -> float:
        return time.perf_counter() - self._began


@contextmanager
def _within_memory(potential: Potential, n: int) -> Iterator[None]:
    """Say what to do where the memory of the device does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or out_of_memory(error)):
            raise
        what = f"{n} replicas do not fit into the memory of {potential.device} together"
        raise WorkError(what, f"potential {potential.architecture}", "Compute fewer of them together") from error
