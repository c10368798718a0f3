"""Use each student for what it was made for: molecular dynamics, and the energy-volume curve beside its teacher's.

A small test error says little about stability, so a student must survive dynamics before it is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from distill.base.artifact import Labels, LabelValue
from distill.base.files import write_json
from distill.base.settings import Settings
from distill.stages.base import Compile, InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from ase import Atoms

    from distill.base.arrays import Array
    from distill.potentials.interface.potential import Potential


class Crystal(Settings):
    """A crystal as :func:`ase.build.bulk` makes it."""

    name: str
    """Chemical symbol or symbols."""
    crystalstructure: str | None = None
    """For instance ``diamond``, ``fcc``, ``rocksalt``."""
    a: float | None = Field(None, gt=0)
    """Lattice constant, Å."""
    c: float | None = Field(None, gt=0)
    """Second lattice constant of hexagonal crystals, Å."""
    cubic: bool = False
    """Use the cubic cell."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Crystal:
        if why := _cannot_be_built(**self.model_dump(exclude_none=True)):
            raise ValueError(f"is not a crystal that ASE can build: {why}")
        return self


@lru_cache(maxsize=256)
def _cannot_be_built(**crystal: Any) -> str:
    """Return why ASE cannot build a crystal; nothing where it can."""
    from ase.build import bulk

    try:
        bulk(**crystal)
    except (ValueError, RuntimeError, KeyError) as error:
        return str(error) or type(error).__name__
    return ""


class Start(Settings):
    """The structure that a simulation starts from."""

    crystal: Crystal | None = None
    """A perfect crystal."""
    frame: int | None = Field(None, ge=0)
    """Instead, a frame of the training set, counted from 0."""
    repeat: tuple[int, int, int] = (1, 1, 1)
    """Repetitions of the cell."""

    @model_validator(mode="after")
    def _is_one_structure(self) -> Start:
        if (self.crystal is None) == (self.frame is None):
            raise ValueError("must have either 'crystal' or 'frame'")
        return self


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
    """Compile networks first where that can be done (painn, tensornet): a minute, then steps take half the time."""


class EnergyVolume(Settings):
    """Energy against volume of a crystal scaled isotropically."""

    kind: Literal["energy_volume"]
    structure: Start
    """What to scale."""
    strain: float = Field(0.04, gt=0, lt=0.3)
    """Largest change of lengths, relative."""
    points: int = Field(11, ge=5)
    """Volumes."""


Run = Annotated[Langevin | EnergyVolume, Field(discriminator="kind")]
Runs = Annotated[tuple[Run, ...], Field(default=())]
"""The recipe's ``simulate`` section; none are run where it names none."""


class Simulate(Stage):
    """One simulation of the recipe with one trained student."""

    class Settings(StageSettings):
        """The simulation."""

        run: Run
        """With its ``kind``: ``langevin`` or ``energy_volume``."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "simulate"
    each: ClassVar[str] = "train"
    inputs: ClassVar[InputSpecs] = {"model": "train.model", "teacher": "ensemble.model", "frames": "check.train"}
    outputs: ClassVar[dict[str, str]] = {"result": "result.json"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the list of simulations."""
        return Runs

    @classmethod
    def fan_out(cls, section: Sequence[Run]) -> list[dict[str, LabelValue]]:
        """Return one set of labels for each simulation: its number in the recipe."""
        return [{"run": index} for index in range(len(section))]

    @classmethod
    def select(cls, section: Sequence[Run], labels: Labels) -> dict[str, Any]:
        """Return the labelled simulation."""
        return {"run": section[int(labels["run"])]}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the result, with its arrays; the summary leaves them out."""
        from distill.potentials.interface.saving import open_saved

        run = settings.run
        atoms = start(run.structure, inputs["frames"])
        student = open_saved(inputs["model"], job.device, job.consent)
        if isinstance(run, Langevin):
            result = langevin(atoms, student, run, job)
        else:
            teacher = open_saved(inputs["teacher"], job.device, job.consent)
            models = {"student": student, "teacher": teacher}
            result = energy_volume(atoms, models, run)
            if run.structure.crystal is not None:
                job.warnings += probe(atoms, models, result)
        write_json(job.out / "result.json", result)
        return brief(result)


def start(structure: Start, frames: Path) -> Atoms:
    """Return the ASE structure that a simulation starts from; ``frames`` is the file of training structures."""
    from ase.build import bulk

    from distill.base.errors import UserError
    from distill.structures.read import read_frames

    if structure.crystal is not None:
        return bulk(**structure.crystal.model_dump(exclude_none=True)).repeat(structure.repeat)
    every = read_frames(frames)[0]
    index = structure.frame or 0
    if index >= len(every):
        raise UserError(f"there is no frame {index}", where="simulate.structure.frame", remedy=f"0 to {len(every) - 1}")
    return every[index].to_atoms()[0].repeat(structure.repeat)


def describe(structure: Start, atoms: Atoms) -> str:
    """Return what is simulated in words, e.g. ``diamond Si``."""
    if structure.crystal is None:
        return f"{atoms.symbols.formula.reduce()[0]}, frame {structure.frame or 0}"
    return " ".join(filter(None, [structure.crystal.crystalstructure, structure.crystal.name]))


def langevin(atoms: Atoms, student: Potential, run: Langevin, job: Job) -> dict[str, Any]:
    """Run Langevin dynamics and return the sampled series and the verdict on stability."""
    from dataclasses import asdict

    from distill.base.random import stream
    from distill.dynamics.survival import judged_langevin

    done = judged_langevin(
        atoms,
        student,
        temperature=run.temperature,
        ps=run.ps,
        timestep_fs=run.timestep_fs,
        friction_per_ps=run.friction_per_ps,
        sample_every=run.sample_every,
        rng=stream(job.seed, "langevin", str(run.temperature)),
        max_grade=run.max_grade,
        compiled=run.compile,
        progress=job.progress,
    )
    grade = done.trajectory.grade
    return {
        "kind": "langevin",
        "structure": describe(run.structure, atoms),
        "temperature": run.temperature,
        "atoms": len(atoms),
        "ms_per_step": done.trajectory.ms_per_step,
        "max_grade": None if grade is None else float(grade.max()),
        "series": {name: [x if math.isfinite(x) else None for x in of.tolist()] for name, of in done.series.items()},
        "verdict": asdict(done.verdict),
    }


def energy_volume(atoms: Atoms, models: dict[str, Potential], run: EnergyVolume) -> dict[str, Any]:
    """Return energy per atom against volume per atom of each model, with the fitted equation of state."""
    from dataclasses import asdict

    from distill.analysis.energy_volume import energy_volume_curve, scaled

    crystal = run.structure.crystal
    frames = scaled(atoms, run.strain, run.points)
    curves = {}
    for name, model in models.items():
        found = energy_volume_curve(frames, partial(model.evaluate, stress=False))
        curves[name] = {"energies": found.energies.tolist(), "fit": asdict(found.fit)}
    return {
        "kind": "energy_volume",
        "structure": describe(run.structure, atoms),
        "cubic_cell_atoms": len(atoms) // math.prod(run.structure.repeat) if crystal and crystal.cubic else None,
        "volumes": (frames.volumes / frames.n_atoms).tolist(),
        "curves": curves,
    }


def probe(atoms: Atoms, models: dict[str, Potential], result: dict[str, Any]) -> list[str]:
    """Add what each model says of the crystal compressed and of an atom displaced; return what is wrong with students.

    What is wrong with a model stands beside its curve as well, as ``flaws``.

    Compression begins at the model's own equilibrium volume, or where it has none at the given one. Force constants
    are those of an atom and its images, in double precision. What is wrong with the teacher is said where it is opened
    and where it labels, once for all students.
    """
    from distill.analysis.energy_volume import COMPRESSED, compressed_copies
    from distill.potentials.interface.smoothness import DISPLACEMENTS, force_constants, in_double

    wrong: list[str] = []
    for name, model in models.items():
        curve = result["curves"][name]
        volume = (curve["fit"]["volume"] or atoms.get_volume() / len(atoms)) * len(atoms)
        energies = model.evaluate(compressed_copies(atoms, volume), stress=False).energy_per_atom
        constants = force_constants(in_double(model).evaluate, atoms)
        curve["compressed"] = {"relative_volumes": list(COMPRESSED), "energies": energies.tolist()}
        curve["force_constants"] = {"displacements": list(DISPLACEMENTS), "values": constants.tolist()}
        curve["flaws"] = _flaws(result["structure"], energies, constants)
        wrong += [f"the {name}'s {flaw}" for flaw in curve["flaws"] if name != "teacher"]
    return wrong


def _flaws(structure: str, energies: Array, constants: Array) -> list[str]:
    """Return what is wrong with the energies of compressed copies and the force constants of an atom."""
    import numpy as np

    from distill.analysis.energy_volume import COMPRESSED, falls_at
    from distill.potentials.interface.smoothness import DISPLACEMENTS, is_smooth

    flaws = []
    if (hole := falls_at(np.array(COMPRESSED), energies)) is not None:
        flaws.append(
            f"energy of {structure} falls when it is compressed to {hole:g} of its volume: "
            "dynamics that gets there collapses"
        )
    if not is_smooth(constants):
        text = ", ".join(f"{k:.1f} at {u:g} Å" for u, k in zip(DISPLACEMENTS, constants, strict=True))
        flaws.append(
            f"force constant of an atom of {structure} depends on the displacement ({text}; eV/Å²): "
            "its phonons and relaxations near symmetric sites cannot be trusted"
        )
    return flaws


def brief(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without its arrays, with one line for the screen."""
    if result["kind"] == "langevin":
        verdict = result["verdict"]
        word = "survived" if verdict["survived"] else f"failed ({verdict['reasons'][0]})"
        text = f"{result['temperature']:g} K {word}"
        return {k: v for k, v in result.items() if k != "series"} | {"headline": text}
    fits = {name: curve["fit"] for name, curve in result["curves"].items()}
    fit = fits["student"]
    text = f"bulk modulus {fit['bulk_modulus']:.0f} GPa" if not fit["failure"] else f"no minimum ({fit['failure']})"
    return {"kind": "energy_volume", "structure": result["structure"], "fits": fits, "headline": text}
