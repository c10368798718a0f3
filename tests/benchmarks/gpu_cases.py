"""What ``gpu.py`` measures, case by case, in the order of its worth. Seconds are taken from synchronised devices."""

from __future__ import annotations

import copy
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dynamics
import finetuning
import numpy as np
import torch
import training
from ase import Atoms
from generation import (
    RULES,
    SILICON,
    STOCK,
    Ours,
    Theirs,
    Tool,
    build_water,
    machine,
    now,
    our_teacher,
    stock_calculator,
)
from gpu import COMPILED, Bench, Case, Figures, Skipped
from torch import Tensor

from distill.base.progress import Progress, Record
from distill.base.random import stream
from distill.doctor import missing_packages
from distill.dynamics.batched import run_batch
from distill.dynamics.course import Course
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.speed import time_steps
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import Batch, half_neighbour_list
from distill.potentials.interface.calculator import SKIN, PotentialCalculator
from distill.potentials.interface.conformance import example_frames
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.verlet_list import half_neighbour_list_on_gpu
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.training.gradient.fit import fit

NETWORKS = (
    STOCK,
    "painn",
    "tensornet",
    "mattersim-v1.0.0-1m",
    "orb-v3-conservative-20-omat",
    "orb-v3-direct-20-omat",
    "orb-v2",
    "schnet",
    "eddp",
    "nequip",
    "mace-student",
    "mace",
)
"""Rows of the table of potentials, one of each network; teachers that are downloaded have random weights here."""

ALLOWED = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Relative difference from double precision on the processor that rounding explains."""

LARGE = 256
"""Structures a step of the batches that fill a GPU."""

STEPS_PER_PS = 2000
"""At 0.5 fs."""

PUBLISHED = {("painn", 192): 0.50, ("painn", 1536): 0.67, ("tensornet", 192): 0.62, ("tensornet", 1536): 1.33}
"""Minutes for a picosecond of water with graph-pes' networks on an NVIDIA A6000 (Gardner et al., arXiv:2506.10956)."""


# Structures and potentials


def silicon() -> Frames:
    """Return the labelled cells of 16 atoms of the repository."""
    return read_frames(SILICON / "train.xyz")[0]


def water(bench: Bench) -> Frames:
    """Return cells of 64 molecules; without a file, one that is built, labelled by the teacher."""
    if bench.water is not None:
        return read_frames(bench.water)[0]
    teacher = our_teacher(None, bench.device)
    return teacher.evaluate(Frames.from_atoms([build_water(0, teacher, steps=10)]))


def repeated(frames: Frames, count: int) -> Frames:
    """Return so many structures, from the beginning again where there are fewer."""
    return frames[np.arange(count) % len(frames)]


def untrained(name: str) -> Potential:
    """Return a potential of the table without a download; raises :class:`Skipped` where a package is missing."""
    row = POTENTIALS[name]
    if missing := missing_packages(row):
        raise Skipped(f"{', '.join(missing)} is not installed")
    settings = row.for_data(row.Settings(), name, ["O", "Si"])
    built: Potential = row.build(settings, 0) if row.role == "student" or name == STOCK else row.create(settings, 0)
    return built


def student(arch: str, frames: Frames, device: str, scale: float | None = None) -> Potential:
    """Return an untrained student of the size that is timed."""
    built: Potential = training.Ours(arch, frames, 1, device).potential
    if scale is not None:
        with torch.no_grad():
            built.scale.fill_(scale)  # type: ignore[operator]
    return built.eval()


@contextmanager
def taking(seconds: list[float]) -> Iterator[None]:
    """Add the seconds that what runs inside takes."""
    begin = now()
    yield
    seconds.append(now() - begin)


def difference(found: Any, expected: Any) -> float:
    """Return ‖found − expected‖ / ‖expected‖; infinite where one is not a number and the other is."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    found, expected = np.nan_to_num(found), np.nan_to_num(expected)
    return float(np.linalg.norm(found - expected)) / max(float(np.linalg.norm(expected)), 1e-30)


# Correctness


def describe(bench: Bench) -> None:
    """Record machine and versions."""
    found: dict[str, Any] = machine(bench.device, torch.get_num_threads()) | {
        name: version(name) for name in ("numpy", "lightning", "vesin", "graph-pes")
    }
    found |= {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    if bench.on_gpu:
        found["triton"] = version("triton")
        query = ["nvidia-smi", "--query-gpu=driver_version,memory.total", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    bench.row("machine", **found)


def predictions(potential: Potential, frames: Frames) -> dict[str, Any]:
    """Return energies, forces, stresses, and the gradient of an objective of them by all weights."""
    found = potential.evaluate(frames)
    potential.train()
    weights = [weight for weight in potential.parameters() if weight.requires_grad]
    prediction = potential(potential.batch(frames))
    objective = prediction.energy.sum() + prediction.forces.double().square().sum()
    gradients = torch.autograd.grad(objective, weights, allow_unused=True, materialize_grads=True)
    potential.eval()
    flat = torch.cat([gradient.detach().double().flatten() for gradient in gradients]).cpu().numpy()
    return {"energy": found.energy, "forces": found.forces, "stress": found.stress, "gradients": flat}


def network(name: str, bench: Bench) -> None:
    """Compare a network on the device with double precision on the processor."""
    potential = untrained(name)
    frames = example_frames(potential.elements)
    exact = predictions(copy.deepcopy(potential).double(), frames)
    for dtype in dict.fromkeys((potential.dtype, torch.float64)):
        moved = copy.deepcopy(potential).to(bench.device)
        found = predictions(moved.double() if dtype == torch.float64 else moved, frames)
        errors = {what: difference(found[what], exact[what]) for what in exact}
        fine = all(error < ALLOWED[dtype] for error in errors.values())
        bench.row(f"network {name}", dtype=str(dtype).removeprefix("torch."), ok=str(fine), **errors)


class Killed(Exception):
    """Ends a training as a kill would."""


class StopAt(Progress):
    """Ends a training at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def publish(self, record: Record, force: bool = False) -> None:
        """Raise at the step."""
        if record.done >= self.step:
            raise Killed


def resumed(bench: Bench) -> None:
    """Compare a training that was interrupted and resumed with one that was not, and two that were not."""
    frames = silicon()

    def train(work: Path, stop: int | None = None) -> Tensor:
        potential = student("painn", frames, "cpu")
        progress = None if stop is None else StopAt(stop)
        fit(potential, frames, frames[:8], steps=40, batch_size=8, learning_rate=3e-3, validation_interval=10, seed=1,
            work=work, device=bench.device, progress=progress)  # fmt: skip
        return torch.cat([weight.detach().double().flatten().cpu() for weight in potential.parameters()])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, again = train(folder / "whole"), train(folder / "again")
        with suppress(Killed):
            train(folder / "halted", stop=25)
        continued = train(folder / "halted")
    bench.row(
        "training resumed", resumed_differs=difference(continued, whole), repeated_differs=difference(again, whole)
    )


def memory_batches(bench: Bench) -> None:
    """Evaluate in batches that the memory decides, once more with little memory, and compare the labels."""
    potential = our_teacher(None, bench.device)
    frames = repeated(silicon(), 4000 if bench.on_gpu else 40)
    few = frames[:40]
    expected = potential.evaluate(few, max_atoms=64)
    first = potential.batch_atoms()
    found = potential.evaluate(frames)
    learnt = potential.batch_atoms()
    errors = {"forces_differ": difference(found[:40].forces, expected.forces)}
    bench.row("batches by memory", first_atoms=first, learnt_atoms=learnt, **errors)
    if bench.on_gpu:
        with little_memory(bytes_=2 * 1024**3):
            potential = our_teacher(None, bench.device)
            found = potential.evaluate(frames, max_atoms=len(frames.numbers))
            ended = min(potential._batch_size.ceiling, len(frames.numbers))
        errors = {"forces_differ": difference(found[:40].forces, expected.forces)}
        bench.row("batches where memory runs out", asked_atoms=len(frames.numbers), fitted_atoms=ended, **errors)


@contextmanager
def little_memory(bytes_: int) -> Iterator[None]:
    """Let this process have no more of the GPU's memory than it has and so much."""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + min(bytes_, free)) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# Compilation


def compiling(arch: str, purpose: str) -> Case:
    """Return what fills the compiler's cache, in a process of its own while others check correctness."""
    name = f"compiling {arch} for {purpose}"

    def run(bench: Bench) -> None:
        bench.row(name, forces_differ=compiled_error(arch, purpose, bench))

    return Case(name, "correctness", 30, run)


def compiled_error(arch: str, purpose: str, bench: Bench) -> float:
    """Compile a student and return how far its forces are from those of double precision on the processor."""
    frames = repeated(silicon(), 8)
    potential = student(arch, frames, bench.device)
    exact = copy.deepcopy(potential).to("cpu").double().evaluate(frames)
    potential.compile_for("fit" if purpose == "fit" else "use")
    if purpose == "fit":
        potential.train()
        forces = potential(potential.batch(frames)).forces
        forces.square().sum().backward()
        return difference(forces.detach().cpu().numpy(), exact.forces)
    return difference(potential.evaluate(frames).forces, exact.forces)


def require_compiled(bench: Bench, arch: str, purpose: str) -> None:
    """Refuse what would have to wait for a compiler."""
    if bench.figure(f"compiling {arch} for {purpose}", "seconds") is None:
        raise Skipped(f"{arch} was not compiled for {purpose} in time")


# Speed


def growing(material: str, batched: bool, bench: Bench) -> None:
    """Grow structures with CHGNet: by distill in batches, or one by one by augment-atoms or, without it, by distill."""
    name = f"generation, {material}, {'batched' if batched else 'one by one'}"
    teacher = our_teacher(None, bench.device)
    tool: Tool = Ours(teacher) if batched else one_by_one(teacher, bench.device)
    seeds, rules = (silicon() if material == "silicon" else water(bench)), RULES[material]
    count, most = (100, 5000) if batched and bench.on_gpu else (4, 1000)
    tool.run(seeds, replace(rules, structures=1), 1_000_003, Progress())
    growth = tool.run(seeds, replace(rules, structures=count), 0, Progress())
    room = min(8 * bench.stretch, bench.left() / 4)
    larger = min(int(count * room / growth.wall_s), most)
    if larger > 1.5 * count:
        growth = tool.run(seeds, replace(rules, structures=larger), 1, Progress())
    n = len(growth.structures)
    own = (growth.wall_s - growth.teacher_s) / growth.wall_s
    bench.row(name, tool=tool.name, atoms=int(seeds.n_atoms[0]), structures=n, structures_per_s=n / growth.wall_s,
              calls_per_structure=growth.calls / n, own_share=own, batch_atoms=teacher.batch_atoms())  # fmt: skip


def one_by_one(teacher: Potential, device: str) -> Tool:
    """Return the public tool with the package's calculator, or without it ours with one structure in a batch."""
    try:
        import_module("augment_atoms")
        return Theirs(stock_calculator(device), "augment-atoms, chgnet's calculator")
    except ImportError as error:
        return Ours(OneByOne(teacher), f"distill, one by one ({error})")  # type: ignore[arg-type]


class OneByOne:
    """A potential that evaluates one structure at a time."""

    def __init__(self, potential: Potential) -> None:
        self.evaluate = potential.evaluate

    def batch_atoms(self) -> int:
        """Return a number that no second structure fits in."""
        return 1


def learning(arch: str, tool: str, material: str, count: int, batch: int, bench: Bench) -> None:
    """Train a student and evaluate it, with one of the tools of ``training.py``."""
    if tool == training.Compiled.name:
        require_compiled(bench, arch, "fit")
    count = count if bench.on_gpu else 2 * batch
    frames = repeated(silicon() if material == "silicon" else water(bench), count)
    (times,) = training.compare(arch, frames, batch, 1, bench.device, [tool]).values()
    rate = count / float(np.median(times.train))
    name = f"training {arch}, {material}, {tool}" + (f", {batch} a step" if batch == LARGE else "")
    bench.row(name, batch=batch, structures_per_s=rate, ms_per_step=1000 * batch / rate,
              evaluated_per_s=count / float(np.median(times.evaluate)))  # fmt: skip


def tuning(bench: Bench) -> None:
    """Fine-tune CHGNet as ``finetuning.py`` does."""
    for material, frames, batch in (("silicon", silicon(), 8), ("water", water(bench), 4)):
        frames, took = repeated(frames, 2 * batch), list[float]()
        tool = finetuning.Ours(frames, batch, bench.device)
        tool.learn()
        for _ in range(5 if bench.on_gpu else 1):
            with taking(took):
                tool.learn()
        bench.row(f"fine-tuning, {material}", batch=batch, structures_per_s=len(frames) / float(np.median(took)))


def evaluating(arch: str, bench: Bench) -> None:
    """Evaluate energies, forces and stresses of many structures, neighbours included."""
    for material, frames in (("silicon", silicon()), ("water", water(bench))):
        potential = our_teacher(None, bench.device) if arch == STOCK else student(arch, frames, bench.device)
        count, took, listing = 4, list[float](), list[float]()
        potential.evaluate(repeated(frames, count))
        while not took or (took[-1] < 0.5 * bench.stretch and count < 40_000):
            count *= 4
            many = repeated(frames, count)
            with taking(took):
                potential.evaluate(many)
        with taking(listing):
            half_neighbour_list(many, potential.cutoff)
        bench.row(f"evaluation {arch}, {material}", structures=count, structures_per_s=count / took[-1],
                  share_of_neighbour_lists=listing[0] / took[-1], batch_atoms=potential.batch_atoms())  # fmt: skip


def neighbours(bench: Bench) -> None:
    """List the neighbours of one large cell on the device and on the processor, and compare the distances."""
    cell, cutoff = water(bench)[0].to_atoms()[0], 5.5
    for repeats in (1, 2, 4) if bench.on_gpu else (1,):
        frames = Frames.from_atoms([cell.repeat(repeats)])
        on_device, on_processor = list[float](), list[float]()
        for _ in range(5 if bench.on_gpu else 1):
            with taking(on_device):
                found = half_neighbour_list_on_gpu(frames, cutoff, torch.device(bench.device))
            with taking(on_processor):
                expected = half_neighbour_list(frames, cutoff)
        distances = [lengths(frames, *(np.asarray(torch.as_tensor(a).cpu()) for a in one)) for one in (found, expected)]
        same = len(distances[0]) == len(distances[1])
        bench.row(f"neighbour list, {len(frames.numbers)} atoms", edges=len(distances[1]),
                  distances_differ=difference(*distances) if same else float("inf"),
                  device_ms=1000 * float(np.median(on_device)),
                  processor_ms=1000 * float(np.median(on_processor)))  # fmt: skip


def lengths(frames: Frames, edges: Any, shifts: Any) -> Any:
    """Return the lengths of the edges of one structure, ascending."""
    i, j = edges
    return np.sort(np.linalg.norm(frames.positions[j] - frames.positions[i] + shifts @ frames.cells[0], axis=1))


# Dynamics


class Replayed(PotentialCalculator):
    """A calculator that replays one CUDA graph: the pairs within cutoff and skin, filled up to a constant number.

    What fills up is an atom and its image beyond the cutoff. On a processor nothing is recorded, the rest is the same.

    Attributes:
        captures: how many graphs were recorded.
        relisted: how many neighbour lists were built.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__(potential)
        self.network = potential
        self.wide = copy.copy(potential)
        self.wide.cutoff = potential.cutoff + SKIN
        self.captures = self.relisted = 0
        self.listed: Frames | None = None
        self.static: Batch | None = None

    @property
    def lists_built(self) -> int:
        """How often all edges were listed."""
        return self.relisted

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = None) -> None:
        """Fill ``self.results`` with energy and forces."""
        if atoms is not None:
            self.atoms = atoms.copy()
        frames = Frames.from_atoms([self.atoms], constraints=False)
        if self.listed is None or np.square(frames.positions - self.listed.positions).sum(1).max() >= (SKIN / 2) ** 2:
            self.relist(frames)
        assert self.static is not None
        self.static.positions.copy_(torch.from_numpy(frames.positions))
        self.replay()
        self.results = {
            "energy": float(self.found.energy),
            "forces": self.found.forces.cpu().numpy().astype(np.float64),
        }

    def relist(self, frames: Frames) -> None:
        """Find all pairs, and record the computation again where they are more than before."""
        batch = self.wide.batch(frames)
        if batch.extra:
            raise Skipped("it needs more than pairs, whose number changes with every step")
        self.listed, self.relisted = frames, self.relisted + 1
        count = batch.edges.shape[1]
        if self.static is None or count > self.static.edges.shape[1]:
            self.record(batch, int(1.05 * count) + 8)
        assert self.static is not None
        self.static.edges.zero_()
        self.static.shifts.zero_()
        self.static.shifts[:, 0] = int(np.ceil((self.wide.cutoff + 1) / np.linalg.norm(frames.cells[0, 0])))
        self.static.edges[:, :count] = batch.edges
        self.static.shifts[:count] = batch.shifts

    def record(self, batch: Batch, capacity: int) -> None:
        """Capture energy and forces of so many pairs as a CUDA graph."""
        missing = capacity - batch.edges.shape[1]
        pairs = torch.cat([batch.edges, batch.edges[:, :1].expand(2, missing)], dim=1).contiguous()
        shifts = torch.cat([batch.shifts, batch.shifts[:1].expand(missing, 3)]).contiguous()
        self.static = static = replace(batch, positions=batch.positions.clone(), edges=pairs, shifts=shifts)
        self.captures += 1

        def compute() -> None:
            self.found = self.network(static, stress=False)

        self.replay: Callable[[], None] = compute
        if not static.positions.is_cuda:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            compute()
        self.replay = graph.replay


class Timed:
    """What ``time_steps`` needs of a potential: the calculator that is timed."""

    def __init__(self, potential: Potential, replayed: bool) -> None:
        self.potential, self.replayed = potential, replayed

    @cache  # noqa: B019 - lives as long as a case
    def calculator(self) -> PotentialCalculator:
        """Return the calculator."""
        return Replayed(self.potential) if self.replayed else self.potential.calculator()


def stepping(arch: str, compiled: bool, replayed: bool, bench: Bench) -> None:
    """Time steps of dynamics of 192, 1536 and 12288 atoms of water.

    Students are untrained, with energies so small that the atoms fly straight on: a step costs the same.
    """
    if compiled:
        require_compiled(bench, arch, "use")
    frames = water(bench)
    potential = our_teacher(None, bench.device) if arch == STOCK else student(arch, frames, bench.device, scale=1e-3)
    cell = frames[0].to_atoms()[0]
    exact = potential.evaluate(frames[0]).forces
    if compiled:
        potential.compile_for("use")
    for repeats in (1, 2, 4) if bench.on_gpu else (1,):
        atoms = cell.repeat(repeats)
        timed = Timed(potential, replayed)
        if repeats == 1:
            atoms.calc = timed.calculator()
            error = difference(atoms.get_forces(), exact)
        if bench.left() < 5:
            raise Skipped("the time was over")
        found = time_steps(timed, atoms, 300.0, 0.5, stream(0, "gpu"), min(2.5 * bench.stretch, bench.left() / 4))  # type: ignore[arg-type]
        figures: Figures = {"ms_per_step": found.ms_per_step, "steps": found.n_steps, "forces_differ": error,
                            "min_per_ps": found.ms_per_step * STEPS_PER_PS / 60_000}  # fmt: skip
        calculator = timed.calculator()
        figures["steps_per_list"] = found.n_steps / max(calculator.lists_built, 1)
        if (arch, len(atoms)) in PUBLISHED:
            figures["published_a6000_min_per_ps"] = PUBLISHED[arch, len(atoms)]
        bench.row(f"dynamics {arch}, {mode(compiled, replayed)}, {len(atoms)} atoms", **figures)
        del atoms, timed, calculator
        if bench.on_gpu:
            torch.cuda.empty_cache()


def mode(compiled: bool, replayed: bool) -> str:
    """Return how a step is computed, in words."""
    return " + ".join(["compiled" if compiled else "eager"] + ["CUDA graph"] * replayed)


def same_replicas(bench: Bench) -> None:
    """Run replicas in one batch on the device and on the processor, in double precision: rounding alone parts them."""
    atoms, potential = dynamics.water_and_student("painn", bench.device)
    course = Course(0.02, timestep_fs=0.5, save_every_fs=5.0, checkpoint_ps=0.01)
    held = [Ensemble("nve", 300.0), Ensemble("nvt", 300.0), Ensemble("nvt", 600.0, "bussi")]
    found = []
    for device in (bench.device, "cpu"):
        with tempfile.TemporaryDirectory() as folder:
            folders = [Path(folder) / str(k) for k in range(len(held))]
            done = run_batch(atoms, potential.double().to(device), held, course, folders, together=3)
            found.append([one.trajectory.column("kinetic_energy") for one in done])
    bench.row("replicas, device against processor", kinetic_energies_differ=difference(*found))


def replicas(arch: str, compiled: bool, bench: Bench) -> None:
    """Time a step of one and of 16 replicas of 192 atoms in a batch, as ``dynamics.py`` does."""
    if compiled:
        require_compiled(bench, arch, "use")
    atoms, potential = dynamics.water_and_student(arch, bench.device)
    if compiled:
        potential.compile_for("use")
    steps = 400 if bench.on_gpu else 2
    for n, aim in dynamics.AIMS.items():
        ms, half = dynamics.ms_per_step(dynamics.in_batch(atoms, potential, n), n, steps, 3)
        name = f"replicas {arch}, {'compiled' if compiled else 'eager'}, {n} of 192 atoms"
        bench.row(name, ms_per_step=ms, half_interval=half, aim_ms=aim)


# The whole


def estimate(bench: Bench) -> None:
    """Add up what 10 000 structures take: fine-tune 300 steps of 8, generate, label, 50 epochs of PaiNN."""
    for material in ("silicon", "water"):
        rates = {
            "fine_tune": (2400, bench.figure(f"fine-tuning, {material}", "structures_per_s")),
            "generate": (10_000, bench.figure(f"generation, {material}, batched", "structures_per_s")),
            "label": (10_000, bench.figure(f"evaluation {STOCK}, {material}", "structures_per_s")),
            "train": (500_000, bench.figure(f"training painn, {material}, distill", "structures_per_s")),
        }
        minutes = {f"{name}_min": n / rate / 60 for name, (n, rate) in rates.items() if rate}
        if len(minutes) < len(rates):
            raise Skipped("not all rates were measured")
        bench.row(f"10 000 structures of {material}", **minutes, all_min=sum(minutes.values()))


def cases() -> Iterator[Case]:
    """Yield the cases in their order."""
    yield Case("machine", "correctness", 1, describe)
    for name in NETWORKS:
        yield Case(f"network {name}", "correctness", 4, partial(network, name))
    yield Case("training resumed", "correctness", 12, resumed)
    yield Case("batches by memory", "correctness", 12, memory_batches)
    yield Case("neighbours", "correctness", 5, neighbours)
    yield Case("replicas", "correctness", 5, same_replicas)
    for material in ("water", "silicon"):
        for batched in (True, False):
            yield Case(f"growing {material}, {batched}", "speed", 12, partial(growing, material, batched))
    for material, count, batch in (("silicon", 512, 32), ("water", 32, 4)):
        for arch in COMPILED:
            for tool in training.TOOLS:
                run = partial(learning, arch, tool, material, count, batch)
                seconds = 16 if tool == training.Compiled.name else 8
                yield Case(f"learning {arch}, {material}, {tool}", "speed", seconds, run)
    for arch in COMPILED:
        for tool in training.TOOLS:
            run = partial(learning, arch, tool, "silicon", 8 * LARGE, LARGE)
            yield Case(f"learning {arch}, {LARGE} a step, {tool}", "speed", 10, run)
    yield Case("fine-tuning", "speed", 5, tuning)
    for arch in (STOCK, *COMPILED):
        yield Case(f"evaluating {arch}", "speed", 6, partial(evaluating, arch))
    for arch in (*COMPILED, STOCK):
        for compiled, replayed in ((False, False), (True, False), (False, True), (True, True)):
            if arch in COMPILED or not (compiled or replayed):
                run = partial(stepping, arch, compiled, replayed)
                seconds = 16 if compiled else 8
                yield Case(f"stepping {arch}, {mode(compiled, replayed)}", "speed", seconds, run)
    for arch in COMPILED:
        for compiled in (False, True):
            seconds = 25 if compiled else 15
            yield Case(f"replicas {arch}, {compiled}", "speed", seconds, partial(replicas, arch, compiled))
    yield Case("estimate", "speed", 0, estimate)


CASES = list(cases())
