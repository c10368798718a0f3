"""The potentials, teachers and students. Adding one is one file and one line here; listing them imports nothing.

============== ======================================================================= ==========================
wing           what is in it                                                           imports
============== ======================================================================= ==========================
``settings``   what a recipe says of a potential, where several wings read it          nothing of the others
``interface``  what all potentials share: batches, evaluation, calculator, saving      settings
``networks``   what needs torch, one network a file                                    interface
``published``  readers of files that others published                                  networks
``workers``    other interpreters: their scripts, and the potentials that ask them     interface
``students``   rows of the table, without torch                                        networks, workers
``teachers``   rows of the table, without torch                                        published, networks, workers
============== ======================================================================= ==========================

``base.py`` says what a row is, and opens a teacher. A wing imports those of its line and theirs, never others.
"""

from __future__ import annotations

from typing import Any

from distill.base.errors import UserError, nearest
from distill.base.registry import Registry

POTENTIALS = Registry(
    "potential",
    {
        "ace": "distill.potentials.students.ace:ACE",
        "ase": "distill.potentials.teachers.external:External",
        "chgnet-0.3": "distill.potentials.teachers.chgnet:CHGNet03",
        "chgnet-r2scan": "distill.potentials.teachers.chgnet:CHGNetR2SCAN",
        "custom": "distill.potentials.students.custom:Custom",
        "diep-2.0": "distill.potentials.teachers.diep:DIEP20",
        "eddp": "distill.potentials.students.eddp:EDDP",
        "mace": "distill.potentials.teachers.mace:MACE",
        "mace-mp-0a": "distill.potentials.teachers.mace:MACEMP0a",
        "mace-mp-0a-small": "distill.potentials.teachers.mace:MACEMP0aSmall",
        "mace-mp-0a-medium": "distill.potentials.teachers.mace:MACEMP0aMedium",
        "mace-mp-0a-large": "distill.potentials.teachers.mace:MACEMP0aLarge",
        "mace-mp-0b3": "distill.potentials.teachers.mace:MACEMP0b3",
        "mace-mpa-0": "distill.potentials.teachers.mace:MACEMPA0",
        "mace-omat-0": "distill.potentials.teachers.mace:MACEOMAT0",
        "mace-omat-0-small": "distill.potentials.teachers.mace:MACEOMAT0Small",
        "mace-off23": "distill.potentials.teachers.mace:MACEOFF23",
        "mace-off23-small": "distill.potentials.teachers.mace:MACEOFF23Small",
        "mace-off23-medium": "distill.potentials.teachers.mace:MACEOFF23Medium",
        "mace-off23-large": "distill.potentials.teachers.mace:MACEOFF23Large",
        "mace-off24": "distill.potentials.teachers.mace:MACEOFF24",
        "mace-student": "distill.potentials.students.mace:MACEStudent",
        "graph-pes": "distill.potentials.teachers.graph_pes_file:GraphPESFile",
        "mattersim-v1.0.0-1m": "distill.potentials.teachers.mattersim:MatterSim1M",
        "mattersim-v1.0.0-5m": "distill.potentials.teachers.mattersim:MatterSim5M",
        "nequip": "distill.potentials.students.nequip:NequIP",
        "orb-d3-v2": "distill.potentials.teachers.orb:OrbD3V2",
        "orb-v2": "distill.potentials.teachers.orb:OrbV2",
        "orb-v3-conservative-20-mpa": "distill.potentials.teachers.orb:OrbV3Conservative20MPA",
        "orb-v3-conservative-20-omat": "distill.potentials.teachers.orb:OrbV3Conservative20OMat",
        "orb-v3-conservative-inf-mpa": "distill.potentials.teachers.orb:OrbV3ConservativeInfMPA",
        "orb-v3-conservative-inf-omat": "distill.potentials.teachers.orb:OrbV3ConservativeInfOMat",
        "orb-v3-direct-20-mpa": "distill.potentials.teachers.orb:OrbV3Direct20MPA",
        "orb-v3-direct-20-omat": "distill.potentials.teachers.orb:OrbV3Direct20OMat",
        "orb-v3-direct-inf-mpa": "distill.potentials.teachers.orb:OrbV3DirectInfMPA",
        "orb-v3-direct-inf-omat": "distill.potentials.teachers.orb:OrbV3DirectInfOMat",
        "painn": "distill.potentials.students.painn:PaiNN",
        "schnet": "distill.potentials.students.schnet:SchNet",
        "sevennet-0": "distill.potentials.teachers.external:SevenNet0",
        "sevennet-l3i5": "distill.potentials.teachers.external:SevenNetL3I5",
        "sevennet-mf-0-pbe": "distill.potentials.teachers.external:SevenNetMF0PBE",
        "sevennet-mf-0-r2scan": "distill.potentials.teachers.external:SevenNetMF0R2SCAN",
        "tensornet": "distill.potentials.students.tensornet:TensorNet",
        "uma-s-1p1": "distill.potentials.teachers.external:UMA",
        "uma-s-1p1-omc": "distill.potentials.teachers.external:UMAMolecularCrystals",
        "uma-s-1p1-omol": "distill.potentials.teachers.external:UMAMolecules",
    },
)


COMPOSED = Registry("potential", {"ensemble": "distill.potentials.teachers.ensemble:JoinedTeachers"})
"""Potentials that are made of others: saved and opened as those of the table are, but nothing that a recipe names."""


def names(role: str) -> list[str]:
    """Return the names of the ``"teacher"`` or ``"student"`` rows."""
    return [name for name, row in POTENTIALS.items() if row.role == role]


def student_names() -> dict[str, str]:
    """Return the names of students as recipes know them, and those of their rows; the user's own are not among them."""
    return {row.arch or name: name for name, row in POTENTIALS.items() if row.role == "student" and name != "custom"}


def student_row(arch: str) -> Any:
    """Return the row of the student that a recipe names, for instance of ``painn`` or ``my_module:MyNetwork``.

    Raises:
        UserError: there is no such student.
    """
    if ":" in arch:
        return POTENTIALS["custom"]
    if arch in POTENTIALS and POTENTIALS[arch].role == "student" and not POTENTIALS[arch].arch:
        return POTENTIALS[arch]
    known = student_names()
    if arch not in known:
        remedy = f"{nearest(arch, known)}; a network of your own is module:Class"
        raise UserError(f"unknown architecture {arch!r}", remedy=remedy)
    return POTENTIALS[known[arch]]
