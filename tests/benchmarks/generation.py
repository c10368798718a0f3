"""Compare generation with the public tool augment-atoms: same teacher, same seeds, same settings, one table.

The wall time is that of growing the trees alone: models are loaded and warmed up before, structures are written after.
Both tools are counted alike, where the teacher is called: every structure that it evaluates is a call, and the time
that passes there is the teacher's; the rest is the pipeline's own. A second table compares what was grown, since a tool
that stays close to its seeds would have an easier task.

    python tests/benchmarks/generation.py --case silicon
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import DistillError
from distill.base.progress import Phase, Progress, Record
from distill.sampling.grow import grow
from distill.sampling.rules import GrowthRules
from distill.sampling.similarity import Pool, SeedFrame
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames
from distill.workflow.executors.local import ALLOCATOR
from distill.workflow.machine import OWN, resolve_device, usable_cores, use_threads, versions

if TYPE_CHECKING:
    from ase import Atoms

    from distill.potentials.interface.potential import Potential

PUBLIC = "augment-atoms"
INSTALL = f"pip install {PUBLIC}==0.2.0"
STOCK = "chgnet-0.3"
SILICON = Path(__file__).parents[2] / "data" / "silicon"

RULES = {
    "silicon": GrowthRules(
        structures=300,
        temperature=1000.0,
        sigma=(0.05, 0.4),
        exploration=0.5,
        cell_strain=0.02,
        max_relax_steps=20,
        max_force=30.0,
        min_separation=1.33,
        min_displacement=0.1,
    ),
    "water": GrowthRules(
        structures=20,
        temperature=300.0,
        sigma=(0.01, 0.1),
        exploration=0.5,
        max_relax_steps=20,
        max_force=30.0,
        min_separation=0.5,
        min_displacement=0.1,
    ),
}
"""The settings of each case; the public tool is given the same."""

WARM_UP_SEED = 1_000_003


class Lines(Progress):
    """Progress as lines on standard error, one every few seconds."""

    def __init__(self, title: str, interval: float = 5.0) -> None:
        self.title = title
        self.interval = interval
        self._last = time.monotonic()

    def publish(self, record: Record, force: bool = False) -> None:
        """Print the record unless the last line is young."""
        now = time.monotonic()
        if force or now - self._last >= self.interval:
            self._last = now
            say(f"{self.title}: {record.text()}")


def say(text: str) -> None:
    """Print to standard error, so that standard output holds tables alone."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Meter:
    """Counts the structures that a teacher evaluates and the seconds that it takes."""

    calls: int = 0
    seconds: float = 0.0

    @contextmanager
    def counting(self, structures: int) -> Iterator[None]:
        """Count what is evaluated inside."""
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin
        self.calls += structures


@dataclass(frozen=True)
class Growth:
    """What one run of one tool gave.

    Attributes:
        structures: with labels; ``info`` holds tree, generation and relax_steps.
        roots: the seeds with labels.
        calls: structures that the teacher evaluated.
        teacher_s: time in the teacher, s.
        wall_s: time of the whole growth, s.
    """

    structures: Frames
    roots: Frames
    calls: int
    teacher_s: float
    wall_s: float


class Tool(Protocol):
    """A tool with its teacher."""

    name: str

    def run(self, seeds: Frames, rules: GrowthRules, seed: int, progress: Progress) -> Growth:
        """Grow ``rules.structures`` structures, spread evenly over the seeds."""
        ...


@dataclass
class Ours:
    """distill: all trees at once, batched."""

    teacher: Potential
    name: str = "distill"

    def run(self, seeds: Frames, rules: GrowthRules, seed: int, progress: Progress) -> Growth:
        """Grow as the pipeline does, journal included."""
        meter = Meter()

        def predict(structures: Frames) -> Frames:
            with meter.counting(len(structures)):
                return self.teacher.evaluate(structures)

        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            result = grow(
                predict,
                seeds,
                rules,
                seed=seed,
                journal=Path(folder) / "journal",
                progress=progress,
                batch_atoms=self.teacher.batch_atoms(),
            )
            wall_s = time.perf_counter() - begin
        for warning in result.warnings:
            say(f"{self.name}: {warning}")
        return Growth(result.structures, result.roots, meter.calls, meter.seconds, wall_s)


class MeteredCalculator:
    """A calculator as the public tool uses it, counted; the tool cannot use energies in single precision."""

    def __init__(self, calculator: Any, meter: Meter, after: Callable[[], None]) -> None:
        self.calculator = calculator
        self.meter = meter
        self.after = after
        self.results: dict[str, Any] = {}

    def calculate(self, atoms: Atoms, properties: list[str]) -> None:
        """Fill ``results`` with energy and forces."""
        with self.meter.counting(1):
            self.calculator.calculate(atoms, properties)
        found = self.calculator.results
        self.results = {"energy": float(found["energy"]), "forces": found["forces"]}
        self.after()


@dataclass
class Theirs:
    """augment-atoms: one tree after another, one structure at a time, as its command does it.

    One thing differs: its command begins every tree with the same random numbers, so that all first rattles are of one
    size and the cost of 30 trees hangs on the luck of one stream. Here each tree has its own random seed, which changes
    no average.
    """

    calculator: Any
    name: str
    module: Any = field(default_factory=lambda: import_module("augment_atoms"))

    def run(self, seeds: Frames, rules: GrowthRules, seed: int, progress: Progress) -> Growth:
        """Grow the trees; the structures are not written to a file."""
        meter, trees = Meter(), []
        with progress.phase("growing", rules.structures, "structure") as phase, redirect_stdout(io.StringIO()):
            calculator = MeteredCalculator(self.calculator, meter, lambda: count_call(phase, meter))
            begin = time.perf_counter()
            for i, atoms in enumerate(seeds.to_atoms()):
                wanted = len(range(i, rules.structures, len(seeds)))
                config = self._config(rules, wanted, (seed * len(seeds) + i) % 2**32)
                trees.append(self.module.generate_structures(atoms, calculator, [], config))
                phase.update(sum(len(tree) - 1 for tree in trees))
            wall_s = time.perf_counter() - begin
        roots = labelled([tree[0] for tree in trees], range(len(trees)))
        grown = [(atoms, i) for i, tree in enumerate(trees) for atoms in tree[1:]]
        structures = labelled([atoms for atoms, _ in grown], [i for _, i in grown])
        return Growth(structures, roots, meter.calls, meter.seconds, wall_s)

    def _config(self, rules: GrowthRules, structures: int, seed: int) -> Any:
        """Return the same rules in its words; it counts the seed among the structures wanted."""
        return self.module.Config(
            n_per_structure=structures + 1,
            T=rules.temperature,
            beta=rules.exploration,
            sigma_range=rules.sigma,
            seed=seed,
            units="eV",
            cell_sigma=rules.cell_strain or None,
            max_force=rules.max_force,
            min_separation=rules.min_separation,
            max_relax_steps=rules.max_relax_steps,
            similarity_threshold=rules.min_displacement,
        )


def count_call(phase: Phase, meter: Meter) -> None:
    """Report a call of the teacher."""
    phase.update(phase.record.done, f"{meter.calls} calls")


def labelled(structures: Sequence[Atoms], trees: Sequence[int]) -> Frames:
    """Return the public tool's structures with their labels and, under our names, their family relations."""
    info = [atoms.info for atoms in structures]
    frames = Frames.from_atoms(structures).with_labels(
        np.array([i["energy"] for i in info]), np.concatenate([atoms.arrays["forces"] for atoms in structures]), None
    )
    return frames.with_info(tree=trees, generation=[i["level"] for i in info])


def now() -> float:
    """Return the time in seconds, when a GPU has done all that it was asked for."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


# What was grown


def displacements(growth: Growth) -> Array:
    """Return the mean displacement of the atoms from their seed, the strain undone, by minimum image, ``[S]`` Å."""
    return np.array([_from_root(growth, one) for one in growth.structures])


def _from_root(growth: Growth, one: Frames) -> float:
    root = growth.roots[one.info[0]["tree"]]
    frame = SeedFrame(root.cells[0], root.pbc[0])
    return float(frame.distances(_coordinates(frame, root, one), frame.coordinates(root.positions)).mean())


def _coordinates(frame: SeedFrame, root: Frames, one: Frames) -> Array:
    return frame.coordinates(one.positions, np.linalg.solve(root.cells[0], one.cells[0]))


def duplicates(growth: Growth, min_displacement: float) -> int:
    """Return how many structures are closer than ``min_displacement`` Å to the seed or an older one of their tree."""
    found = 0
    tree_of = entries(growth, "tree")
    for tree, root in enumerate(growth.roots):
        frame = SeedFrame(root.cells[0], root.pbc[0])
        pool = Pool(frame, len(root.numbers))
        pool.add(frame.coordinates(root.positions))
        for one in growth.structures[np.flatnonzero(tree_of == tree)]:
            coordinates = _coordinates(frame, root, one)
            found += pool.holds_similar(coordinates, min_displacement)
            pool.add(coordinates)
    return found


def energies_above_seed(growth: Growth) -> Array:
    """Return the energies relative to the seeds, ``[S]`` meV/atom."""
    return 1000 * (growth.structures.energy_per_atom - growth.roots.energy_per_atom[entries(growth, "tree")])


def entries(growth: Growth, name: str) -> Array:
    """Return one entry of ``info`` of each structure."""
    return np.array([entry[name] for entry in growth.structures.info])


def percentiles(values: Array, which: Sequence[int], digits: int) -> str:
    """Return percentiles as text, e.g. ``0.31 / 0.52``."""
    return " / ".join(f"{value:.{digits}f}" for value in np.percentile(values, which))


# Teachers and seeds


def our_teacher(folder: Path | None, device: str) -> Potential:
    """Return the teacher saved in ``folder``, by default the stock one."""
    from distill.potentials import POTENTIALS
    from distill.potentials.interface.saving import load

    if folder is not None:
        return load(folder, device)
    architecture = POTENTIALS[STOCK]
    potential: Potential = architecture.build(architecture.Settings(), 0)
    return potential.to(device).eval()


def stock_calculator(device: str) -> Any:
    """Return the calculator of the package chgnet, as a user of the public tool would take it."""
    with redirect_stdout(io.StringIO()):
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device=device)


def silicon_seeds() -> Frames:
    """Return the 30 labelled cells of the repository."""
    return concatenate([read_frames(SILICON / f"{part}.xyz", labels="none")[0] for part in ("train", "valid")])


def water_seeds(file: Path | None, teacher: Potential) -> tuple[Frames, str]:
    """Return two cells of water and a word on where they are from."""
    if file is not None:
        return read_frames(file, labels="none")[0][:2], f"first two frames of {file.name}"
    say(f"water: building two cells of 64 molecules and relaxing them with {teacher.architecture}")
    return Frames.from_atoms(
        [build_water(i, teacher) for i in range(2)]
    ), "built: 64 randomly turned molecules, relaxed"


def build_water(seed: int, teacher: Potential, steps: int = 40) -> Atoms:
    """Return 64 molecules on a grid in a cube of 12.44 Å (1 g/cm³), turned at random, after a few steps of FIRE."""
    from ase import Atoms
    from ase.optimize import FIRE
    from scipy.spatial.transform import Rotation

    side, bond, half_angle = 12.44, 0.96, np.radians(104.5) / 2
    hydrogens = bond * np.array([[np.cos(half_angle), sign * np.sin(half_angle), 0.0] for sign in (1, -1)])
    molecule = np.vstack([np.zeros(3), hydrogens])
    turns = Rotation.from_quat(np.random.default_rng(seed).normal(size=(64, 4))).as_matrix()
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) * side / 4
    positions = grid + np.einsum("mij,aj->mai", turns, molecule)
    atoms = Atoms("OHH" * 64, positions.reshape(-1, 3), cell=[side] * 3, pbc=True)
    atoms.calc = teacher.calculator()
    FIRE(atoms, logfile=None).run(fmax=0.5, steps=steps)
    atoms.calc = None
    return atoms


# The comparison


@dataclass(frozen=True)
class Runs:
    """All runs of one tool on one case."""

    case: str
    tool: str
    growths: list[Growth]

    @property
    def structures(self) -> int:
        """Structures of all runs."""
        return sum(len(growth.structures) for growth in self.growths)

    @property
    def wall_s(self) -> float:
        """Wall time of all runs, s."""
        return sum(growth.wall_s for growth in self.growths)

    @property
    def s_per_structure(self) -> float:
        """Wall time of one structure, s."""
        return self.wall_s / self.structures

    def joined(self, quantity: Callable[[Growth], Array]) -> Array:
        """Return a quantity of the structures of all runs."""
        return np.concatenate([quantity(growth) for growth in self.growths])


def compare(case: str, tools: Sequence[Tool], seeds: Frames, rules: GrowthRules, first: int, repeat: int) -> list[Runs]:
    """Run every tool ``repeat`` times in turn, each time with the next random seed."""
    for tool in tools:
        say(f"{case}, {tool.name}: warming up")
        tool.run(seeds, replace(rules, structures=1), WARM_UP_SEED, Progress())
    runs = [Runs(case, tool.name, []) for tool in tools]
    for seed in range(first, first + repeat):
        for tool, of_tool in zip(tools, runs, strict=True):
            of_tool.growths.append(tool.run(seeds, rules, seed, Lines(f"{case}, {tool.name}, random seed {seed}")))
    return runs


def disagreement(one: Growth, other: Growth) -> str:
    """Return by how much two implementations of the same teacher differ on the seeds."""
    energy = np.abs(one.roots.energy_per_atom - other.roots.energy_per_atom).max()
    force = np.abs(np.asarray(one.roots.forces) - np.asarray(other.roots.forces)).max()
    return f"{1000 * energy:.2g} meV/atom and {1000 * force:.2g} meV/Å"


COST = (
    "| case | tool | structures | teacher calls | calls/structure | wall s | s/structure | times as fast "
    "| own share, % (ms/structure) |"
)
COST_LEGEND = (
    """Times as fast: seconds for a structure, against the first tool. Own share: all time but the teacher's."""
)
SHAPE = (
    "| case | tool | generation 50 / 90 % | displacement from the seed 50 / 90 %, Å | energy above the seed "
    "10 / 50 / 90 %, meV/atom | relax steps 50 / 90 % | duplicates |"
)


SHAPE_LEGEND = """Displacement: mean over the atoms, strain undone, minimum image. Duplicates: structures closer than
the smallest displacement allowed (0.1 Å) to their seed or to an older structure of their tree."""


def cost_row(runs: Runs, reference: Runs) -> str:
    """Return what the structures cost; ``reference`` is 1 times as fast."""
    calls = sum(growth.calls for growth in runs.growths)
    own_s = runs.wall_s - sum(growth.teacher_s for growth in runs.growths)
    cells = [runs.case, runs.tool, f"{runs.structures}", f"{calls}", f"{calls / runs.structures:.2f}"]
    cells += [f"{runs.wall_s:.1f}", f"{runs.s_per_structure:.3f}"]
    cells += [
        f"{reference.s_per_structure / runs.s_per_structure:.1f}",
        f"{100 * own_s / runs.wall_s:.1f} ({1000 * own_s / runs.structures:.1f})",
    ]
    return f"| {' | '.join(cells)} |"


def shape_row(runs: Runs) -> str:
    """Return what the structures are like."""
    cells = [
        runs.case,
        runs.tool,
        percentiles(runs.joined(lambda growth: entries(growth, "generation")), (50, 90), 0),
        percentiles(runs.joined(displacements), (50, 90), 2),
        percentiles(runs.joined(energies_above_seed), (10, 50, 90), 0),
        percentiles(runs.joined(lambda growth: entries(growth, "relax_steps")), (50, 90), 0),
        f"{sum(duplicates(growth, RULES[runs.case].min_displacement) for growth in runs.growths)}",
    ]
    return f"| {' | '.join(cells)} |"


def table(header: str, rows: Sequence[str]) -> str:
    """Return a Markdown table."""
    return "\n".join([header, "|" + " --- |" * (header.count("|") - 1), *rows])


def raw(runs: Runs) -> list[dict[str, Any]]:
    """Return all numbers of the runs as JSON-able mappings."""
    return [
        {
            "case": runs.case,
            "tool": runs.tool,
            "structures": len(growth.structures),
            "calls": growth.calls,
            "wall_s": growth.wall_s,
            "teacher_s": growth.teacher_s,
            "generation": entries(growth, "generation").tolist(),
            "relax_steps": entries(growth, "relax_steps").tolist(),
            "displacement_from_seed": displacements(growth).tolist(),
            "energy_above_seed_mev": energies_above_seed(growth).tolist(),
        }
        for growth in runs.growths
    ]


def machine(device: str, threads: int) -> dict[str, Any]:
    """Return what the numbers were measured on and with."""
    import torch

    cpu = Path("/proc/cpuinfo")
    models = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    found = {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": usable_cores(),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
    }
    for package in ("torch", "chgnet", PUBLIC):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {OWN: versions()[OWN]}


def arguments() -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*RULES, "all"], default="all")
    parser.add_argument("--structures", type=positive, help="structures of each run (default: silicon 300, water 20)")
    parser.add_argument("--water", type=Path, metavar="FILE", help="extended XYZ with the two water seeds")
    parser.add_argument(
        "--teacher", type=Path, metavar="FOLDER", help="a teacher saved by the pipeline; default: stock"
    )
    parser.add_argument("--same-network", action="store_true", help="also run the public tool with distill's network")
    parser.add_argument(
        "--threads", type=positive, default=usable_cores(), help="for both (default: all cores); 1 on a busy machine"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, for both (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="first random seed")
    parser.add_argument(
        "--repeat", type=positive, default=1, help="runs of each tool, summed; each has its own random seed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here")
    return parser.parse_args()


def positive(text: str) -> int:
    """Return a number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def with_allocator() -> None:
    """Start this script again with the memory allocator's settings that the pipeline's workers have."""
    if not all(name in os.environ for name in ALLOCATOR):
        os.execve(sys.executable, sys.orig_argv, ALLOCATOR | os.environ)


def tools_for(teacher: Potential, options: argparse.Namespace, device: str) -> list[Tool]:
    """Return the tools to compare: first what the public tool's user would run, if it is installed."""
    ours = Ours(teacher)
    try:
        import_module("augment_atoms")
    except ModuleNotFoundError as error:
        say(f"{PUBLIC} cannot be used ({error}), so distill runs alone. Run: {INSTALL}")
        return [ours]
    public: list[Tool] = []
    if options.teacher is None:
        public.append(Theirs(stock_calculator(device), f"{PUBLIC}, chgnet's calculator"))
    if options.same_network or not public:
        public.append(Theirs(teacher.calculator(), f"{PUBLIC}, distill's calculator"))
    return [*public, ours]


def main() -> None:
    """Run the comparison and print its tables."""
    options = arguments()
    with_allocator()
    device = resolve_device(options.device)
    use_threads(options.threads)
    teacher = our_teacher(options.teacher, device)
    tools = tools_for(teacher, options, device)
    facts = machine(device, options.threads)
    notes = [", ".join(f"{name} {value}" for name, value in facts.items())]
    notes.append(f"teacher: {teacher.architecture}, {'stock' if options.teacher is None else options.teacher}")
    runs: list[list[Runs]] = []
    for case in RULES if options.case == "all" else [options.case]:
        rules = replace(RULES[case], structures=options.structures or RULES[case].structures)
        if case == "silicon":
            seeds, origin = silicon_seeds(), "train.xyz and valid.xyz of data/silicon"
        else:
            seeds, origin = water_seeds(options.water, teacher)
        notes.append(f"{case}: {len(seeds)} seeds of {seeds.n_atoms[0]} atoms ({origin})")
        *public, ours = compare(case, tools, seeds, rules, options.seed, options.repeat)
        for other in public:
            apart = disagreement(other.growths[0], ours.growths[0])
            notes.append(f"{case}: on the seeds, the teachers of {other.tool} and of distill differ by at most {apart}")
        runs.append([*public, ours])
    print("\n".join(f"- {note}" for note in notes), end="\n\n")
    print(
        table(COST, [cost_row(one, of_case[0]) for of_case in runs for one in of_case]),
        COST_LEGEND,
        sep="\n\n",
        end="\n\n",
    )
    print(table(SHAPE, [shape_row(one) for of_case in runs for one in of_case]), SHAPE_LEGEND, sep="\n\n")
    if options.json is not None:
        results = [entry for of_case in runs for one in of_case for entry in raw(one)]
        options.json.write_text(json.dumps({"machine": facts, "runs": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except DistillError as error:
        say(str(error))
        sys.exit(error.exit_code)
