"""Use each student for what it was made for: molecular dynamics, and the energy-volume curve beside its teacher's.

A small test error says little about stability, so a student must survive dynamics before it is trusted.
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

if TYPE_CHECKING:
    from ase import Atoms

    from distill.base.arrays import Array
    from distill.potentials.interface.potential import Potential


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
    def fan_out(cls, section: Sequence[Run], followed: Labels) -> list[dict[str, LabelValue]]:
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
