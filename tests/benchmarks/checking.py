"""Check a file of many small frames and print time and memory: ``python tests/benchmarks/checking.py``.

Water molecules and OH pairs at random, with random labels: nearly all of them are close to others.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from distill.api import check

MOLECULE = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def write(path: Path, frames: int, lattice: str) -> None:
    """Write so many frames of two or three atoms."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for k in range(frames):
            n = 2 + k % 2
            positions, forces = MOLECULE[:n] + rng.normal(0, 0.05, (n, 3)), rng.normal(0, 1, (n, 3))
            forces -= forces.mean(axis=0)
            file.write(
                f"{n}\n{lattice}Properties=species:S:1:pos:R:3:forces:R:3 energy={-7 * n + rng.normal(0, 0.1):.4f}\n"
            )
            for symbol, r, f in zip("OHH", positions, forces, strict=False):
                file.write(f"{symbol} {r[0]:.4f} {r[1]:.4f} {r[2]:.4f} {f[0]:.3f} {f[1]:.3f} {f[2]:.3f}\n")


def main() -> None:
    """Write the file, check it, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--cell", action="store_true", help="put every molecule in a box of 6 Å")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.xyz"
        write(path, options.frames, 'Lattice="6 0 0 0 6 0 0 0 6" ' if options.cell else "")
        size, begin, work = path.stat().st_size / 1e6, time.perf_counter(), time.process_time()
        findings = check(path)
    took, worked = time.perf_counter() - begin, time.process_time() - work
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.frames} frames, {size:.0f} MB: {took:.0f} s ({worked:.0f} s of a core), {peak:.0f} MiB at most")
    for finding in findings:
        print(finding.text()[:160])


if __name__ == "__main__":
    main()
