"""Use each model for what it was made for: students for molecular dynamics, they and their teacher for static physics.

A small test error says little about stability, so a student must survive dynamics before it is trusted. A task has one
model, so that what the teacher says is computed once, and a student that is new asks nobody else again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.artifact import Labels, LabelValue
from distill.base.files import write_json
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.kinds import EnergyVolume, Langevin, Run, Runs
from distill.stages.start import describe, start
from distill.stages.students import VARIANTS

if TYPE_CHECKING:
    from ase import Atoms

    from distill.base.arrays import Array
    from distill.potentials.interface.potential import Potential

STATIC = (EnergyVolume,)
"""Kinds that have no dynamics; the teacher is asked them too."""


class Simulate(Stage):
    """One simulation of the recipe with one model."""

    class Settings(StageSettings):
        """The simulation."""

        run: Run
        """With its ``kind``: ``langevin`` or ``energy_volume``."""

    version: ClassVar[int] = 4
    section: ClassVar[str] = "simulate"
    each: ClassVar[str] = "predict"
    inputs: ClassVar[InputSpecs] = {
        "model": {"finetuned": "ensemble.model"} | {variant: f"train.model@{variant}" for variant in VARIANTS},
        "frames": "check.train",
    }
    outputs: ClassVar[dict[str, str]] = {"result": "result.json"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the list of simulations."""
        return Runs

    @classmethod
    def fan_out(cls, section: Sequence[Run], followed: Labels) -> list[dict[str, LabelValue]]:
        """Return the numbers in the recipe of the simulations of one model; the fine-tuned teacher has no dynamics."""
        kinds = {"zero_shot": (), "finetuned": STATIC}.get(str(followed["variant"]), (Langevin, *STATIC))
        return [{"run": index} for index, run in enumerate(section) if isinstance(run, kinds)]

    @classmethod
    def select(cls, section: Sequence[Run], labels: Labels) -> dict[str, Any]:
        """Return the labelled simulation."""
        return {"run": section[int(labels["run"])]}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the result, with its arrays; the summary leaves them out."""
        from distill.potentials.interface.saving import open_saved

        run = settings.run
        atoms = start(run.structure, inputs["frames"])
        model = open_saved(inputs["model"], job.device, job.consent)
        if isinstance(run, Langevin):
            result = langevin(atoms, model, run, job)
        else:
            result = energy_volume(atoms, model, run)
            if run.structure.crystal is not None:
                result |= probe(atoms, model, result)
        if job.labels["student"] != "teacher":  # what is wrong with the teacher is said where it is opened
            job.warnings += result.get("flaws", [])
        write_json(job.out / "result.json", result)
        return brief(result)


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


def energy_volume(atoms: Atoms, model: Potential, run: EnergyVolume) -> dict[str, Any]:
    """Return energy per atom against volume per atom, with the fitted equation of state."""
    from dataclasses import asdict

    from distill.analysis.energy_volume import energy_volume_curve, scaled

    crystal = run.structure.crystal
    frames = scaled(atoms, run.strain, run.points)
    found = energy_volume_curve(frames, partial(model.evaluate, stress=False))
    return {
        "kind": "energy_volume",
        "structure": describe(run.structure, atoms),
        "cubic_cell_atoms": len(atoms) // math.prod(run.structure.repeat) if crystal and crystal.cubic else None,
        "volumes": (frames.volumes / frames.n_atoms).tolist(),
        "energies": found.energies.tolist(),
        "fit": asdict(found.fit),
    }


def probe(atoms: Atoms, model: Potential, result: dict[str, Any]) -> dict[str, Any]:
    """Return what a model says of the crystal compressed and of an atom displaced, and as ``flaws`` what is wrong.

    Compression begins at the model's own equilibrium volume, or where it has none at the given one. Force constants
    are those of an atom and its images, in double precision.
    """
    from distill.analysis.energy_volume import COMPRESSED, compressed_copies
    from distill.potentials.interface.smoothness import DISPLACEMENTS, force_constants, in_double

    volume = (result["fit"]["volume"] or atoms.get_volume() / len(atoms)) * len(atoms)
    energies = model.evaluate(compressed_copies(atoms, volume), stress=False).energy_per_atom
    constants = force_constants(in_double(model).evaluate, atoms)
    return {
        "compressed": {"relative_volumes": list(COMPRESSED), "energies": energies.tolist()},
        "force_constants": {"displacements": list(DISPLACEMENTS), "values": constants.tolist()},
        "flaws": _flaws(result["structure"], energies, constants),
    }


def _flaws(structure: str, energies: Array, constants: Array) -> list[str]:
    """Return what is wrong with the energies of compressed copies and the force constants of an atom."""
    import numpy as np

    from distill.analysis.energy_volume import COMPRESSED, falls_at
    from distill.potentials.interface.smoothness import DISPLACEMENTS, is_smooth

    flaws = []
    if (hole := falls_at(np.array(COMPRESSED), energies)) is not None:
        flaws.append(
            f"the energy of {structure} falls when it is compressed to {hole:g} of its volume: "
            "dynamics that gets there collapses"
        )
    if not is_smooth(constants):
        text = ", ".join(f"{k:.1f} at {u:g} Å" for u, k in zip(DISPLACEMENTS, constants, strict=True))
        flaws.append(
            f"the force constant of an atom of {structure} depends on the displacement ({text}; eV/Å²): "
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
    fit = result["fit"]
    text = f"bulk modulus {fit['bulk_modulus']:.0f} GPa" if not fit["failure"] else f"no minimum ({fit['failure']})"
    return {"kind": "energy_volume", "structure": result["structure"], "fit": fit, "headline": text}
