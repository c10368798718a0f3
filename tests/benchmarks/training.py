"""Compare the speed of training a student with that of graph-pes-train: same network, data and batch, one table.

Both run their own Lightning loop on the energies and forces of the same structures; an epoch is one pass over them,
and its seconds are taken inside the loop, without the first one and without validation. The tools take turns, so that
other work on the machine disturbs both alike, and medians count. The peak memory is that of a process of its own for
each tool.

    python tests/benchmarks/training.py --water FILE.xyz
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytorch_lightning
from generation import SILICON, machine, now, positive, say, table, with_allocator

from distill.base.errors import DistillError
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.workflow.machine import resolve_device, usable_cores, use_threads

SIZES: dict[str, dict[str, Any]] = {
    "painn": {"cutoff": 5.0, "channels": 32, "layers": 3, "radial_features": 20},
    "tensornet": {"cutoff": 5.0, "channels": 32, "layers": 1, "radial_features": 16},
}
"""The networks that are compared, by the names of our settings."""

LEARNING_RATE = 1e-4


@dataclass
class Epochs:
    """Seconds of each epoch of one tool."""

    train: list[float] = field(default_factory=list)
    evaluate: list[float] = field(default_factory=list)


class Clock:
    """Takes the seconds between the start and the end of every epoch; serves both packages of Lightning."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Start the clock."""
        self.start = now()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Stop it."""
        self.seconds.append(now() - self.start)


class OurClock(Clock, lightning.Callback):
    """The clock for distill."""


class TheirClock(Clock, pytorch_lightning.Callback):
    """The clock for graph-pes."""


class Ours:
    """distill: the module, batches and trainer of every fit."""

    name = "distill"

    def __init__(self, arch: str, frames: Frames, batch: int, device: str) -> None:
        from distill.potentials import student_row

        row = student_row(arch)
        self.potential = row.build(row.Settings(**SIZES[arch], short_range_repulsion=False), 0).to(device)
        self.potential.initialise(frames)
        self.frames, self.batch, self.device = frames, batch, device
        self.data = self.potential.prepare(frames, device)

    def train(self, epochs: int) -> list[float]:
        """Return the seconds of each epoch."""
        from distill.training.gradient.fit import make_trainer, quiet_lightning
        from distill.training.gradient.loaders import ShuffledBatches
        from distill.training.gradient.losses import LossWeights
        from distill.training.gradient.module import FitModule
        from distill.training.gradient.schedule import Cosine

        seconds: list[float] = []
        batches = ShuffledBatches(self.data.costs, self.batch, 0)
        module = FitModule(
            self.potential,
            self.data,
            self.data,
            LossWeights(virial=0.0),
            total=epochs * len(batches),
            learning_rate=LEARNING_RATE,
            schedule=Cosine(epochs * len(batches)),
        )
        module.train()
        with quiet_lightning():
            make_trainer(epochs, self.device, [OurClock(seconds)]).fit(module, batches)
        return seconds

    def evaluate(self) -> None:
        """Predict energies and forces of all structures, neighbours included."""
        self.potential.to(self.device).evaluate(self.frames, stress=False)  # Lightning leaves it on the processor


class Compiled(Ours):
    """distill with a compiled network; it is compiled in what does not count."""

    name = "distill, compiled"

    def train(self, epochs: int) -> list[float]:
        """Return the seconds of each epoch."""
        self.potential.compile_for("fit")
        return super().train(epochs)

    def evaluate(self) -> None:
        """Predict energies and forces of all structures, neighbours included."""
        self.potential.compile_for("use")
        super().evaluate()


class Theirs:
    """graph-pes: the loader, task and trainer of graph-pes-train."""

    name = "graph-pes-train"

    def __init__(self, arch: str, frames: Frames, batch: int, device: str) -> None:
        from graph_pes import AtomicGraph
        from graph_pes.models import PaiNN, TensorNet

        self.frames, self.batch, self.device = frames, batch, device
        self.model = {"painn": PaiNN, "tensornet": TensorNet}[arch](**SIZES[arch]).to(device)
        self.structures = frames.to_atoms()
        cutoff = SIZES[arch]["cutoff"]
        self.graphs = [AtomicGraph.from_ase(atoms, cutoff) for atoms in self.structures]

    def train(self, epochs: int) -> list[float]:
        """Return the seconds of each epoch."""
        from graph_pes.data.datasets import GraphDataset
        from graph_pes.data.loader import GraphDataLoader
        from graph_pes.training.loss import PerAtomEnergyLoss, PropertyLoss, TotalLoss
        from graph_pes.training.opt import Optimizer
        from graph_pes.training.tasks import TrainingTask

        seconds: list[float] = []
        loss = TotalLoss([PerAtomEnergyLoss(), PropertyLoss("forces")])
        task = TrainingTask(self.model, loss, Optimizer("AdamW", lr=LEARNING_RATE), None, [])
        # its defaults: one worker that is kept
        loader = GraphDataLoader(
            GraphDataset(self.graphs), batch_size=self.batch, shuffle=True, num_workers=1, persistent_workers=True
        )
        with tempfile.TemporaryDirectory() as folder:
            pytorch_lightning.Trainer(
                max_epochs=epochs,
                accelerator="gpu" if self.device.startswith("cuda") else "cpu",
                devices=1,
                enable_model_summary=False,
                enable_progress_bar=False,
                enable_checkpointing=False,
                logger=False,
                default_root_dir=folder,
                callbacks=[TheirClock(seconds)],
            ).fit(task, loader)
        return seconds

    def evaluate(self) -> None:
        """Predict energies and forces of all structures, neighbours included, as its evaluation does."""
        from graph_pes import AtomicGraph
        from graph_pes.atomic_graph import to_batch

        self.model.to(self.device).eval()  # Lightning leaves it on the processor
        cutoff = float(self.model.cutoff)
        for first in range(0, len(self.structures), self.batch):
            graphs = [AtomicGraph.from_ase(atoms, cutoff) for atoms in self.structures[first : first + self.batch]]
            batch = to_batch(graphs).to(self.device)
            self.model.predict(batch, ["energy", "forces"])


TOOLS: dict[str, Callable[[str, Frames, int, str], Any]] = {tool.name: tool for tool in (Theirs, Ours, Compiled)}


def compare(
    arch: str, frames: Frames, batch: int, turns: int, device: str, only: Sequence[str] = tuple(TOOLS)
) -> dict[str, Epochs]:
    """Let the tools train and evaluate in turn; the first epoch of a training and the first evaluation do not count."""
    tools = {name: TOOLS[name](arch, frames, batch, device) for name in only}
    found = {name: Epochs() for name in tools}
    for turn in range(turns):
        for name, tool in tools.items():
            say(f"{arch}: {name}, turn {turn + 1} of {turns}")
            found[name].train += tool.train(3)[1:]
            for k in range(3):
                begin = now()
                tool.evaluate()
                if k:
                    found[name].evaluate.append(now() - begin)
    return found


def peak_memory(name: str, arch: str, file: Path, count: int, batch: int, options: argparse.Namespace) -> float:
    """Return the peak memory of a process that trains for two epochs, MiB; of the GPU where it has one."""
    own = [sys.executable, __file__, "--only", name, "--arch", arch, "--file", str(file), "--frames", str(count)]
    own += ["--batch", str(batch), "--device", options.device, "--threads", str(options.threads)]
    done = subprocess.run(own, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def only(options: argparse.Namespace) -> None:
    """Train with one tool and print the peak memory."""
    frames = load(options.file, options.frames)
    TOOLS[options.only](options.arch, frames, options.batch, options.device).train(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.device.startswith("cuda"):
        import torch

        peak = torch.cuda.max_memory_allocated() / 1024**2
    print(json.dumps(peak))


def load(file: Path, count: int) -> Frames:
    """Return so many structures of a file, from the beginning again where it has fewer."""
    frames = read_frames(file)[0]
    return frames[np.arange(count) % len(frames)]


HEADER = "| case | student | trainer | training, structures/s | evaluation, structures/s | peak memory, MiB | as fast |"
LEGEND = (
    "Structures/s from the median epoch. As fast: training and evaluation as multiples of graph-pes-train. Evaluation "
    "rebuilds the neighbour list. Peak memory: the whole process on a CPU, what torch allocated on a GPU."
)


def row(case: str, arch: str, name: str, frames: Frames, times: Epochs, reference: Epochs, memory: float) -> str:
    """Return one line of the table."""
    speeds = [len(frames) / median(t) for t in (times.train, times.evaluate)]
    ratios = [median(r) / median(t) for r, t in ((reference.train, times.train), (reference.evaluate, times.evaluate))]
    cells = [case, arch, name, *(f"{s:.3g}" for s in speeds), f"{memory:.0f}", " / ".join(f"{r:.2f}" for r in ratios)]
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--water", type=Path, metavar="FILE", help="extended XYZ with labels; a second case")
    parser.add_argument("--arch", choices=SIZES, help="one student only")
    parser.add_argument("--turns", type=positive, default=3, help="turns of each tool, two epochs each (default: 3)")
    parser.add_argument("--threads", type=positive, default=usable_cores(), help="for both (default: all cores)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, for both (default: cpu)")
    parser.add_argument("--only", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=positive, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the comparison and print its table."""
    options = arguments()
    with_allocator()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    options.device = resolve_device(options.device)
    use_threads(options.threads)
    if options.only:
        only(options)
        return
    cases = {"silicon": (SILICON / "train.xyz", 100, 8)}
    if options.water:
        cases["water"] = (options.water, 8, 2)
    rows: list[str] = []
    for case, (file, count, batch) in cases.items():
        frames = load(file, count)
        for arch in [options.arch] if options.arch else SIZES:
            memory = {name: peak_memory(name, arch, file, count, batch, options) for name in TOOLS}
            times = compare(arch, frames, batch, options.turns, options.device)
            first = times[next(iter(TOOLS))]
            rows += [row(case, arch, name, frames, times[name], first, memory[name]) for name in TOOLS]
    notes = [", ".join(f"{name} {value}" for name, value in machine(options.device, options.threads).items())]
    notes += [
        f"{case}: {count} structures of {file.name}, {batch} a step" for case, (file, count, batch) in cases.items()
    ]
    print("\n".join(f"- {note}" for note in notes), table(HEADER, rows), LEGEND, sep="\n\n")


if __name__ == "__main__":
    try:
        main()
    except DistillError as error:
        say(str(error))
        sys.exit(error.exit_code)
