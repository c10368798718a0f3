"""Compare the speed of fine-tuning CHGNet with that of the package chgnet's own trainer: same frames, one table.

Both learn energies and forces with AdamW and a Huber loss, at the batch size of the published setting; a step is
collating, forward, loss, backward and optimiser step. A pass over the frames is one measurement; the tools take turns,
so that other work on the machine disturbs both alike, and the median counts. Both find neighbours and angles before.

    python tests/benchmarks/finetuning.py --water FILE.xyz
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol

import numpy as np
from generation import SILICON, STOCK, machine, now, positive, say, table, with_allocator

from distill.base.arrays import Array
from distill.base.errors import DistillError
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.workflow.machine import resolve_device, usable_cores, use_threads

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

LEARNING_RATE = 1e-5
"""So small that the forces stay those of the stock model: the cost of a step must not depend on what was learnt."""
FORCE_WEIGHT = 10.0
HUBER = 0.1


class Tool(Protocol):
    """A trainer with its model and its frames."""

    name: str

    def learn(self) -> None:
        """Pass once over the frames."""
        ...

    def forces(self, frames: Frames) -> Array:
        """Return the forces of the model, ``(N, 3)`` eV/Å."""
        ...


class Ours:
    """distill: the module that every fit uses, without Lightning's loop around it."""

    name = "distill"

    def __init__(self, frames: Frames, batch: int, device: str) -> None:
        from distill.potentials import POTENTIALS
        from distill.training.gradient.loaders import ShuffledBatches
        from distill.training.gradient.losses import LossWeights
        from distill.training.gradient.module import FitModule
        from distill.training.gradient.schedule import Cosine

        architecture = POTENTIALS[STOCK]
        self.device = device
        self.potential: Potential = architecture.build(architecture.Settings(), 0).to(device)
        weights = LossWeights(energy=1.0, forces=FORCE_WEIGHT, virial=0.0, huber=HUBER)
        data = self.potential.prepare(frames, device)
        self.module = FitModule(
            self.potential, data, data, weights, total=1, learning_rate=LEARNING_RATE, schedule=Cosine(1)
        ).to(device)
        self.weights = weights.at(0.0)
        self.module.manual_backward = lambda loss: loss.backward()  # what Lightning does, without its trainer
        self.optimiser = self.module.configure_optimizers()["optimizer"]
        self.batches = ShuffledBatches(data.costs, batch, 0)

    def learn(self) -> None:
        """Pass once over the frames."""
        self.module.train()
        for batch in self.batches:
            self.optimiser.zero_grad()
            self.module.accumulate(batch, self.weights)
            self.optimiser.step()

    def forces(self, frames: Frames) -> Array:
        """Return the forces of the model, ``(N, 3)`` eV/Å."""
        found = self.potential.evaluate(frames, stress=False).forces
        assert found is not None
        return found


class Theirs:
    """chgnet: the loop over one epoch of its ``Trainer``."""

    name = "chgnet's Trainer"

    def __init__(self, frames: Frames, batch: int, device: str) -> None:
        from chgnet.data.dataset import StructureData, get_loader
        from chgnet.model import CHGNet
        from chgnet.trainer import Trainer
        from pymatgen.io.ase import AseAtomsAdaptor

        self.model = CHGNet.load(use_device=device, verbose=False)
        forces = np.split(np.asarray(frames.forces), np.cumsum(frames.n_atoms)[:-1])
        self.structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames.to_atoms()]
        data = StructureData(
            structures=self.structures,
            energies=list(frames.energy_per_atom),
            forces=list(forces),
            graph_converter=self.model.graph_converter,
        )
        self.loader = get_loader(data, batch_size=batch, pin_memory=False)
        self.trainer = Trainer(
            model=self.model,
            targets="ef",
            optimizer="AdamW",
            scheduler="CosLR",
            criterion="Huber",
            force_loss_ratio=FORCE_WEIGHT,
            epochs=1,
            learning_rate=LEARNING_RATE,
            use_device=device,
        )

    def learn(self) -> None:
        """Pass once over the frames."""
        with redirect_stdout(io.StringIO()):
            self.trainer._train(self.loader, 0)

    def forces(self, frames: Frames) -> Array:
        """Return the forces of the model, ``(N, 3)`` eV/Å; ``frames`` are those that it was made with."""
        self.model.eval()
        return np.concatenate([self.model.predict_structure(one, task="ef")["f"] for one in self.structures])


@dataclass(frozen=True)
class Times:
    """The seconds of each pass of one tool over the frames of one case."""

    case: str
    tool: str
    frames: int
    batch: int
    seconds: list[float]

    @property
    def frames_per_s(self) -> float:
        """Frames learnt in a second, by the median."""
        return self.frames / median(self.seconds)


def compare(case: str, tools: Sequence[Tool], frames: Frames, batch: int, passes: int) -> list[Times]:
    """Let the tools pass over the frames in turn, ``passes`` times after one that does not count."""
    times = [Times(case, tool.name, len(frames), batch, []) for tool in tools]
    for k in range(passes + 1):
        say(f"{case}: pass {k} of {passes}" if k else f"{case}: warming up")
        for tool, of_tool in zip(tools, times, strict=True):
            begin = now()
            tool.learn()
            if k:
                of_tool.seconds.append(now() - begin)
    return times


HEADER = "| case | trainer | frames/s | fastest and slowest pass | ms/step | times as fast |"
LEGEND = "Frames/s and ms/step are from the median of the passes. Times as fast: frames/s, against the first trainer."


def row(times: Times, reference: Times) -> str:
    """Return the speed of one trainer; ``reference`` is 1 times as fast."""
    steps = -(-times.frames // times.batch)
    cells = [
        times.case,
        times.tool,
        f"{times.frames_per_s:.2f}",
        f"{times.frames / min(times.seconds):.2f} / {times.frames / max(times.seconds):.2f}",
        f"{1000 * median(times.seconds) / steps:.0f}",
        f"{times.frames_per_s / reference.frames_per_s:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--water", type=Path, metavar="FILE", help="extended XYZ with labels; a second case")
    parser.add_argument("--frames", type=positive, default=8, help="frames of each case, the first ones (default: 8)")
    parser.add_argument("--batch", type=positive, default=2, help="frames of a step (default: 2)")
    parser.add_argument("--passes", type=positive, default=5, help="passes that count (default: 5)")
    parser.add_argument(
        "--threads", type=positive, default=usable_cores(), help="for both (default: all cores); 1 on a busy machine"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, for both (default: cpu)")
    return parser.parse_args()


def main() -> None:
    """Run the comparison and print its table."""
    options = arguments()
    with_allocator()
    warnings.filterwarnings("ignore", module=r"(chgnet|pymatgen|torch)\..*")
    device = resolve_device(options.device)
    use_threads(options.threads)
    files = {"silicon": SILICON / "train.xyz"} | ({"water": options.water} if options.water else {})
    notes = [", ".join(f"{name} {value}" for name, value in machine(device, options.threads).items())]
    rows: list[str] = []
    for case, file in files.items():
        frames = read_frames(file)[0][: options.frames]
        with redirect_stdout(io.StringIO()):
            tools: list[Tool] = [Theirs(frames, options.batch, device), Ours(frames, options.batch, device)]
        theirs, ours = (tool.forces(frames) for tool in tools)
        notes.append(
            f"{case}: {len(frames)} frames of {frames.n_atoms[0]} atoms ({file.name}), {options.batch} a step; "
            f"the two models' forces differ by at most {1000 * np.abs(theirs - ours).max():.2g} meV/Å"
        )
        times = compare(case, tools, frames, options.batch, options.passes)
        rows += [row(one, times[0]) for one in times]
    print("\n".join(f"- {note}" for note in notes), table(HEADER, rows), LEGEND, sep="\n\n")


if __name__ == "__main__":
    try:
        main()
    except DistillError as error:
        say(str(error))
        sys.exit(error.exit_code)
