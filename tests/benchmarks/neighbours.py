"""Compare libraries that list neighbours: speed on this machine, and whether they find the same pairs.

Each library lists every pair within the cutoff once, for all structures of a case, from NumPy arrays to NumPy arrays.
The time is the best of several repeats after one that is not counted, in which a library may compile itself.

    python tests/benchmarks/neighbours.py --threads 2
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from distill.base.arrays import Array
    from distill.structures.frames import Frames

SILICON = Path(__file__).parents[2] / "data/silicon/train.xyz"

Neighbours = tuple["Array", "Array"]
"""Atoms i and j as indices into the atoms of all structures, ``[2, P]``, and translations of j, ``[P, 3]``."""


class Case(NamedTuple):
    """Structures and the distance up to which their neighbours are listed, Å."""

    name: str
    frames: Frames
    cutoff: float


class Library(NamedTuple):
    """A library that lists neighbours.

    Attributes:
        name: of its distribution.
        module: what to import to see whether it is installed.
        remark: how it is used.
        find: returns the pairs of all structures.
    """

    name: str
    module: str
    remark: str
    find: Callable[[Frames, float], Neighbours]


def with_vesin(frames: Frames, cutoff: float) -> Neighbours:
    """Return what this package uses."""
    from distill.potentials.interface.batch import half_neighbour_list

    return half_neighbour_list(frames, cutoff)


def with_matscipy(frames: Frames, cutoff: float) -> Neighbours:
    """Return half of matscipy's list of each structure, which has both directions."""
    import numpy as np
    from ase.geometry import complete_cell
    from matscipy.neighbours import neighbour_list

    pairs, shifts = [], []
    for k, (first, end) in enumerate(pairwise(frames.offsets)):
        positions, cell = frames.positions[first:end], complete_cell(frames.cells[k])
        i, j, s = neighbour_list("ijS", positions=positions, cell=cell, pbc=frames.pbc[k], cutoff=cutoff)
        once = (i < j) | ((i == j) & (s @ [9e6, 3e3, 1] > 0))
        pairs.append(np.stack([i, j])[:, once] + first)
        shifts.append(s[once])
    return np.concatenate(pairs, axis=1), np.concatenate(shifts)


def with_nvalchemi(device: str) -> Callable[[Frames, float], Neighbours]:
    """Return NVIDIA's kernels on a device, all structures in one call."""

    def find(frames: Frames, cutoff: float) -> Neighbours:
        import numpy as np
        import torch
        from ase.geometry import complete_cell
        from nvalchemiops.torch.neighbors import neighbor_list

        pairs, _, shifts = neighbor_list(
            torch.tensor(frames.positions, device=device),
            cutoff,
            cell=torch.tensor(np.stack([complete_cell(cell) for cell in frames.cells]), device=device),
            pbc=torch.tensor(frames.pbc, device=device),
            batch_ptr=torch.tensor(frames.offsets, dtype=torch.int32, device=device),
            batch_idx=torch.tensor(frames.structure_of_atom, dtype=torch.int32, device=device),
            half_fill=True,
            return_neighbor_list=True,
        )
        return pairs.cpu().numpy(), shifts.cpu().numpy()

    return find


def libraries() -> list[Library]:
    """Return what is compared, our choice first."""
    import torch

    found = [
        Library("vesin", "vesin", "CPU, one call a structure", with_vesin),
        Library("matscipy", "matscipy", "CPU, one call a structure", with_matscipy),
        Library("nvalchemi-toolkit-ops", "nvalchemiops", "CPU, one call a batch", with_nvalchemi("cpu")),
    ]
    if torch.cuda.is_available():
        found.append(Library("nvalchemi-toolkit-ops", "nvalchemiops", "GPU, one call a batch", with_nvalchemi("cuda")))
    return found


def water_box(seed: int) -> Frames:
    """Return 64 molecules on a cubic grid with random orientations, at the density of the liquid."""
    import numpy as np
    from ase import Atoms
    from ase.build import molecule
    from scipy.spatial.transform import Rotation

    from distill.structures.frames import Frames

    one = molecule("H2O")
    one.positions -= one.get_center_of_mass()
    turned = [one.positions @ r.as_matrix() for r in Rotation.random(64, random_state=seed)]
    centres = (np.stack(np.meshgrid(*3 * [np.arange(4)]), axis=-1).reshape(-1, 1, 3) + 0.5) * 3.105
    positions = (np.stack(turned) + centres).reshape(-1, 3)
    return Frames.from_atoms([Atoms(64 * "OH2", positions, cell=3 * [4 * 3.105], pbc=True)])


def cases() -> list[Case]:
    """Return batches of the kinds that a run evaluates, and awkward ones."""
    import numpy as np
    from ase.build import bulk, fcc111, molecule

    from distill.structures.frames import Frames, concatenate
    from distill.structures.read import read_frames

    silicon = read_frames(SILICON)[0]
    silicon = concatenate([silicon, silicon])[:30]
    crystal = bulk("Si", cubic=True) * (5, 5, 5)
    crystal.positions += 0.1 * np.random.default_rng(0).normal(size=crystal.positions.shape)
    slab = fcc111("Al", (2, 2, 3), vacuum=8)
    return [
        Case("30 cells of silicon, 16 atoms", silicon, 5.0),
        Case("30 cells of silicon, 16 atoms", silicon, 6.0),
        Case("2 boxes of water, 192 atoms", concatenate([water_box(0), water_box(1)]), 6.0),
        Case("1 crystal of silicon, 1000 atoms", Frames.from_atoms([crystal]), 6.0),
        Case(
            "30 molecules without a cell", Frames.from_atoms(10 * [molecule(m) for m in ("H2O", "C6H6", "CH3OH")]), 6.0
        ),
        Case("10 slabs, periodic in two directions", Frames.from_atoms(10 * [slab]), 6.0),
        Case("30 primitive cells of copper, 1 atom", Frames.from_atoms(30 * [bulk("Cu")]), 6.0),
    ]


def directed(neighbours: Neighbours) -> set[tuple[int, ...]]:
    """Return both directions of each pair as a set of (i, j, shift)."""
    import numpy as np

    pairs, shifts = neighbours
    rows = np.concatenate([np.column_stack([pairs.T, shifts]), np.column_stack([pairs[::-1].T, -shifts])])
    return set(map(tuple, rows.astype(int).tolist()))


def best_time(call: Callable[[], object], repeats: int) -> float:
    """Return the shortest of several times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def table(repeats: int) -> Iterator[str]:
    """Return the lines of a Markdown table; it says where a library finds other pairs than the first, or some twice."""
    available, missing = [], []
    for library in libraries():
        try:
            import_module(library.module)
            available.append(library)
        except ImportError:
            missing.append(library)
    heads = [f"{library.name} {version(library.name)}, {library.remark}" for library in available]
    yield (
        " | ".join(["| Case", "Cutoff / Å", "Pairs a structure", *(f"{head} / ms a structure" for head in heads)])
        + " |"
    )
    yield "| --- |" + " ---: |" * (2 + len(heads))
    for case in cases():
        expected: set[tuple[int, ...]] | None = None
        cells = [case.name, f"{case.cutoff:g}", ""]
        for library in available:
            found = library.find(case.frames, case.cutoff)
            rows = directed(found)
            if expected is None:
                expected = rows
                cells[2] = f"{len(rows) / 2 / len(case.frames):.0f}"
            wrong = rows != expected or len(rows) != 2 * len(found[1])
            seconds = best_time(partial(library.find, case.frames, case.cutoff), repeats)
            cells.append(f"{seconds * 1e3 / len(case.frames):.3f}" + (" (other pairs!)" if wrong else ""))
        yield "| " + " | ".join(cells) + " |"
    for library in missing:
        yield f"\n{library.name} is not installed. Run: pip install {library.name}"


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repeats", type=int, default=20, help="repeats, of which the fastest counts (default 20)")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read by the libraries when they are imported
    import torch

    torch.set_num_threads(arguments.threads)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(
        f"{processor()}, {arguments.threads} of {os.cpu_count()} cores, {device}, Python {platform.python_version()}\n"
    )
    for line in table(arguments.repeats):
        print(line)


def processor() -> str:
    """Return the name of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
