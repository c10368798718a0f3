"""Students for other programs. Adding a program is one file and one line here."""

from __future__ import annotations

from distill.base.registry import Registry

TARGETS = Registry(
    "program to export to",
    {
        "lammps": "distill.exporting.lammps.target:Lammps",
        "lammps-mliap": "distill.exporting.lammps.target:LammpsMliap",
        "lammps-external": "distill.exporting.lammps_external.target:LammpsExternal",
        "metatomic": "distill.exporting.metatomic.target:Metatomic",
        "ase": "distill.exporting.ase.target:Ase",
        "openmm": "distill.exporting.openmm.target:OpenMM",
        "torchsim": "distill.exporting.torchsim.target:TorchSim",
        "ipi": "distill.exporting.ipi.target:IPI",
    },
)
