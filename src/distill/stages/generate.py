"""Grow family trees of new structures from the DFT structures by rattle-relax-repeat with the fine-tuned teacher."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from distill.stages.base import Job, Paths, Stage, StageSettings, Summary


class Generate(Stage):
    """One tree per DFT structure of the training and validation sets; all trees advance together."""

    class Settings(StageSettings):
        """What structures are wanted."""

        structures: int = Field(1000, ge=1)
        """Structures over all trees, the DFT structures not counted."""
        temperature: float = Field(1000.0, gt=0)
        """Temperature of the selection of parents and of acceptance, K."""
        exploration: float = Field(0.5, ge=0, le=1)
        """0 selects parents by Boltzmann weight, 1 by generation: the higher, the farther the trees reach."""
        sigma: tuple[float, float] = (0.05, 0.4)
        """Range of the standard deviation of a rattle, Å; drawn uniformly in its logarithm."""
        cell_strain: float = Field(0.0, ge=0, lt=0.5)
        """Size of the random strain of the seed's cell; 0 keeps cells."""
        max_relax_steps: int = Field(20, ge=1)
        """Relaxation steps of one proposal at most."""
        max_force: float = Field(30.0, gt=0)
        """Largest force on an atom of an accepted structure, eV/Å."""
        min_separation: float | None = Field(None, gt=0)
        """Smallest distance of two atoms, Å; from covalent radii if null."""
        min_displacement: float = Field(0.1, ge=0)
        """Smallest mean displacement from any member of the tree, Å."""

        @field_validator("sigma")
        @classmethod
        def _ordered(cls, sigma: tuple[float, float]) -> tuple[float, float]:
            if not 0 < sigma[0] <= sigma[1]:
                raise ValueError("must be two lengths in Å, the lower one above 0 first")
            return sigma

    section: ClassVar[str] = "synthetic"
    inputs: ClassVar[dict[str, Any]] = {
        "teacher": "finetune.model",
        "train": "check.train",
        "valid": "check.valid",
    }
    outputs: ClassVar[dict[str, str]] = {"structures": "structures.xyz", "statistics": "statistics.npz"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the accepted structures with their family relations, and the statistics of the trees."""
        import numpy as np

        from distill.potentials.potential import load
        from distill.sampling.grow import grow
        from distill.sampling.rules import GrowthRules
        from distill.structures.frames import concatenate
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames

        teacher = load(inputs["teacher"], job.device)
        train, valid = read_frames(inputs["train"])[0], read_frames(inputs["valid"])[0]
        result = grow(
            teacher.evaluate,
            concatenate([train, valid]),
            GrowthRules(**settings.model_dump()),
            seed=job.seed,
            journal=job.out / "journal",
            progress=job.progress,
        )
        job.warnings.extend(result.warnings)
        side = ["train"] * len(train) + ["valid"] * len(valid)
        structures = result.structures.with_info(split=[side[i["tree"]] for i in result.structures.info])
        write_frames(job.out / "structures.xyz", structures)
        np.savez_compressed(
            job.out / "statistics.npz",
            generation=result.generation,
            displacement_from_parent=result.displacement_from_parent,
            displacement_from_seed=result.displacement_from_seed,
            relative_energy=result.relative_energy,
        )
        (job.out / "journal").unlink()
        return self._summary(settings, result)

    @staticmethod
    def _summary(settings: Settings, result: Any) -> Summary:
        found, calls = len(result.structures), result.calls_per_structure
        return {
            "asked": settings.structures,
            "accepted": found,
            "trees": len(result.roots),
            "teacher_calls": result.calls,
            "calls_per_structure": calls,
            "funnel": result.funnel,
            "headline": f"{found} of {settings.structures} structures, {calls:.1f} teacher calls each",
        }
