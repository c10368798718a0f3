"""Students for LAMMPS on GPUs, one or several: a program that its ML-IAP interface to Python loads."""

from __future__ import annotations

from pathlib import Path

import torch

from distill.base.conventions import Precision
from distill.base.files import replacing
from distill.exporting.lammps.build import Lammps
from distill.exporting.lammps.styles import Style
from distill.exporting.lammps.unified import Unified
from distill.potentials.interface.potential import Potential


class Mliap(Style):
    """``pair_style mliap`` with a student in Python: PaiNN and TensorNet."""

    file = "model.pt"
    command, coefficients = f"mliap unified {file} 0", "* *"
    options = "-k on g 1 -sf kk -pk kokkos newton on neigh half"

    def check(self, potential: Potential, precision: Precision) -> list[str]:
        """Return the elements."""
        return Unified(potential, precision).element_types

    def write(self, potential: Potential, file: Path, precision: Precision) -> None:
        """Write the pickle that LAMMPS loads."""
        with replacing(file) as temporary:
            torch.save(Unified(potential, precision), temporary)

    def plugin(self, lammps: Lammps) -> None:
        """Return that there is none."""

    def readme(self, precision: Precision) -> tuple[str, str]:
        """Return what LAMMPS and its Python need."""
        return (
            f"`{self.file}` is a program for LAMMPS' ML-IAP interface, which computes the network in {precision} "
            "precision on a GPU, or on one for each rank. It is a pickle, and whoever loads one runs what is in it: "
            "load none but your own and those of people whom you trust.",
            """LAMMPS of 22 July 2025 or later has to be built with its packages KOKKOS for your GPU, ML-IAP and PYTHON
and with `-D MLIAP_ENABLE_PYTHON=on`; the Python that it finds needs cupy and this package, and, for some versions of
LAMMPS, PyTorch has to be told to load more than weights:

```sh
pip install mlip-distill cupy-cuda12x
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1
```

This was not run on a GPU, nor in a LAMMPS with KOKKOS: an emulation of what LAMMPS documents was. Compare a step with
`pair_style distill` before you believe it. On several GPUs: `mpiexec -n 4`, and `g 4` instead of `g 1`.""",
        )
