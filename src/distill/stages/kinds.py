"""What the recipe's ``simulate`` section can ask for, one class a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from distill.base.settings import Settings
from distill.stages.base import Compile
from distill.stages.molecular_dynamics import MolecularDynamics, in_order
from distill.stages.start import Start
from distill.stages.static_kinds import Static


class Langevin(Settings):
    """Langevin dynamics at constant volume."""

    kind: Literal["langevin"]
    structure: Start
    """What to simulate."""
    temperature: float = Field(300.0, gt=0)
    """K."""
    ps: float = Field(5.0, gt=0)
    """Length, ps."""
    timestep_fs: float = Field(2.0, gt=0)
    """Time step, fs."""
    friction_per_ps: float = Field(10.0, gt=0)
    """Friction, 1/ps."""
    sample_every: int = Field(10, ge=1)
    """Steps between two samples of temperature, energy, smallest distance and, if any, extrapolation grade."""
    max_grade: float | None = Field(None, gt=0)
    """Extrapolation grade of an atom above which the run ends (students that have one: ACE; 1 is the training data)."""
    compile: Compile = False
    """Have torch compile painn and tensornet where they are not computed in C++: on a GPU."""


Simulation = Annotated[Langevin | Static, Field(discriminator="kind")]
"""What is one task a student."""

Run = Annotated[Simulation | MolecularDynamics, Field(discriminator="kind")]


def _in_order(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the runs, those that go on from an earlier one with what they have from that."""
    before: dict[str, MolecularDynamics] = {}
    ordered: list[Run] = []
    for run in runs:
        if isinstance(run, MolecularDynamics):
            before[run.name] = in_order(run, before)
            ordered.append(before[run.name])
        else:
            ordered.append(run)
    return tuple(ordered)


Runs = Annotated[tuple[Run, ...], AfterValidator(_in_order), Field(default=())]
"""The recipe's ``simulate`` section; none are run where it names none."""
