"""TorchSim as a program that students are exported to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import Precision
from distill.exporting.program import Program, student_of
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Session

OLDEST = (3, 12)
"""Python that torch-sim needs."""


class TorchSim(Program):
    """TorchSim, with the student as a ``ModelInterface``: many structures at once, on a GPU."""

    title = "TorchSim"
    main = "run.py"
    engines = ("torch-sim-atomistic", "torch")
    install = 'pip install "mlip-distill[torchsim]"'
    licence = "TorchSim is MIT."
    usage = """```sh
python run.py                  # Python 3.12 or later; or: python run.py structures.xyz
```"""

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return dynamics of all structures of a file at once."""
        return self.scripted(_SCRIPT, wanted)

    def why_not(self) -> str:
        """Return why TorchSim cannot be run here; empty where it can."""
        if sys.version_info < OLDEST:
            return "torch_sim needs Python 3.12"
        return super().why_not()

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return the student as TorchSim's model."""
        from distill.exporting.torchsim.session import TorchSimSession

        return TorchSimSession(student_of(folder, precision))


_SCRIPT = '''"""Dynamics with a student of distill in TorchSim: python run.py [file of one or many structures]"""
{safety}

import sys
from pathlib import Path

import distill
import torch
import torch_sim as ts
from ase.io import read
from distill.exporting.torchsim.model import TorchSimModel

student = {student}
model = TorchSimModel(student.to("cuda" if torch.cuda.is_available() else "cpu"))
structures = read(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("structure.xyz"), ":")
final = ts.integrate(
    system=structures,
    model=model,
    integrator=ts.Integrator.nvt_langevin,
    n_steps=1000,
    temperature=300,
    timestep=0.0005,  # ps
    trajectory_reporter=dict(filenames=[f"run-{{k}}.h5md" for k in range(len(structures))], state_frequency=100),
)
print("energies in eV:", model(final)["energy"].tolist())
'''
