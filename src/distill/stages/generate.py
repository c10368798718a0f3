"""Grow family trees of structures from the DFT structures by rattle-relax-repeat with the fine-tuned teacher."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from distill.base.errors import UserError, nearest
from distill.base.files import copy_tree
from distill.potentials import student_names, student_row
from distill.stages.base import FitSettings, InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from distill.sampling.result import GrowthResult
    from distill.sampling.surrogate import Surrogate
    from distill.structures.frames import Frames


class SurrogateSettings(FitSettings):
    """A student that relaxes in the teacher's place; the teacher still labels and accepts every structure."""

    student: str
    """Architecture of the surrogate."""
    after: int = Field(200, ge=0)
    """Structures grown by the teacher alone before the first surrogate is trained; 0 trains it on the seeds."""
    every: int = Field(500, ge=1)
    """Structures grown with one surrogate before the next is trained."""
    steps: int = Field(1000, ge=1)
    """Optimisation steps of each surrogate."""

    @field_validator("student")
    @classmethod
    def _known(cls, student: str) -> str:
        if student not in student_names():
            raise ValueError(f"unknown architecture {student!r}: {nearest(student, student_names())}")
        if student_row(student).trainer != "gradient":
            raise ValueError(f"{student} is not trained while structures grow: name a network, for instance painn")
        return student


class Generate(Stage):
    """One tree per DFT structure of the training and validation sets."""

    class Settings(StageSettings):
        """What structures are wanted."""

        structures: int = Field(1000, ge=1)
        """Structures over all trees, the DFT structures not counted; raising it extends the same trees."""
        valid_fraction: float = Field(1 / 6, gt=0, lt=1)
        """Share of them that grows from the DFT validation structures, for the students' validation; the rest grows
        from the training structures, however many of each there are."""
        temperature: float = Field(1000.0, gt=0)
        """Temperature of the selection of parents and of acceptance, K."""
        exploration: float = Field(0.5, ge=0, le=1)
        """0 selects parents by Boltzmann weight, 1 by generation: the higher, the farther the trees reach."""
        sigma: tuple[float, float] = (0.05, 0.4)
        """Range of the standard deviation of a rattle, Å; drawn uniformly in its logarithm."""
        cell_strain: float = Field(0.0, ge=0, lt=0.3)
        """Size of the random strain of the seed's cell; 0 keeps cells."""
        max_relax_steps: int = Field(20, ge=1)
        """Relaxation steps of one proposal at most."""
        max_force: float = Field(30.0, gt=0)
        """Largest force on an atom of an accepted structure, eV/Å."""
        min_separation: float | dict[str, float] | None = None
        """Smallest distance of two atoms, Å: one for all, or by pair as in {O-H: 0.7}; else from covalent radii."""
        min_displacement: float = Field(0.1, ge=0)
        """Smallest mean displacement from any member of the tree, Å."""
        patience: int = Field(200, ge=1)
        """A tree stops after this many rejected proposals in a row."""
        batch_atoms: int | None = Field(None, ge=1)
        """Atoms evaluated together at most; from the device's memory if null. Changes structures by rounding alone."""
        surrogate: SurrogateSettings | None = None
        """A student to relax with, which spares teacher calls; null relaxes with the teacher."""

        @field_validator("sigma")
        @classmethod
        def _ordered(cls, sigma: tuple[float, float]) -> tuple[float, float]:
            if not 0 < sigma[0] <= sigma[1]:
                raise ValueError("must be two lengths in Å, the lower one above 0 first")
            return sigma

        @field_validator("min_separation")
        @classmethod
        def _distances(cls, separation: float | dict[str, float] | None) -> float | dict[str, float] | None:
            distances = separation if isinstance(separation, dict) else {"": separation or 0.0}
            for pair, distance in distances.items():
                if pair:
                    _check_pair(pair)
                if distance < 0:
                    raise ValueError("must be 0 Å or more")
            return separation

    version: ClassVar[int] = 5
    section: ClassVar[str] = "synthetic"
    extends: ClassVar[tuple[str, ...]] = ("structures", "batch_atoms")
    inputs: ClassVar[InputSpecs] = {
        "teacher": "ensemble.model",
        "train": "check.train",
        "valid": "check.valid",
    }
    outputs: ClassVar[dict[str, str]] = {
        "structures": "structures.xyz",
        "seeds": "seeds.xyz",
        "statistics": "statistics.npz",
        "growth": "growth",
    }

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the grown structures with their family relations, the labelled seeds, and statistics of the trees."""
        from distill.potentials.interface.saving import open_saved
        from distill.sampling.grow import grow
        from distill.sampling.rules import GrowthRules
        from distill.structures.frames import concatenate
        from distill.structures.read import read_frames

        teacher = open_saved(inputs["teacher"], job.device, job.consent)
        train, valid = read_frames(inputs["train"])[0], read_frames(inputs["valid"])[0]
        side = ["train"] * len(train) + ["valid"] * len(valid)
        seeds = concatenate([train, valid]).with_info(split=side)
        begin = time.perf_counter()
        result = grow(
            lambda frames: teacher.evaluate(frames, max_atoms=settings.batch_atoms),
            seeds,
            GrowthRules(**settings.model_dump(exclude={"batch_atoms", "surrogate"})),
            seed=job.seed,
            journal=self._growth(job) / "journal",
            progress=job.progress,
            batch_atoms=settings.batch_atoms or teacher.batch_atoms,
            surrogate=self._surrogate(settings, job),
        )
        self._write(job, result)
        job.warnings.extend(result.warnings)
        return self._summary(settings, result, time.perf_counter() - begin)

    @staticmethod
    def _growth(job: Job) -> Path:
        """Return the folder of journal and surrogates; at first a copy of what an earlier task has grown most of."""
        folder = job.out / "growth"
        grown = [earlier / "growth" for earlier in job.earlier if (earlier / "growth" / "journal").exists()]
        for earlier in sorted(grown, key=lambda one: (one / "journal").stat().st_size, reverse=True):
            if folder.exists():
                break
            with suppress(OSError):  # another run may be at work there
                copy_tree(earlier, folder)
        return folder

    @classmethod
    def _surrogate(cls, settings: Settings, job: Job) -> Surrogate | None:
        """Return when surrogates are trained and how; their models lie beside the journal."""
        from distill.sampling.surrogate import Surrogate

        if settings.surrogate is None:
            return None
        own = settings.surrogate
        return Surrogate(own.after, own.every, lambda frames, number: cls._train(frames, number, own, job))

    @staticmethod
    def _train(structures: Frames, number: int, settings: SurrogateSettings, job: Job) -> Callable[[Frames], Frames]:
        """Return the evaluation by surrogate ``number``: trained on one side's families, judged on the other's."""
        import numpy as np

        from distill.potentials.interface.saving import load, save
        from distill.training.gradient.student import train_student

        folder = job.out / "growth" / f"surrogate-{number}"
        if not (folder / "model.json").exists():
            side = np.array(structures.labels("split"))
            student, _ = train_student(
                settings.student,
                {},
                structures[side == "train"],
                structures[side == "valid"],
                seed=job.seed,
                purpose=("surrogate", number),
                loss=settings.loss.model_dump(),
                work=job.scratch / folder.name,
                device=job.device,
                progress=job.progress,
                **settings.arguments(),
            )
            save(student, folder, {"made_by": "training as a surrogate", "structures": len(structures)})
        return load(folder, job.device).evaluate

    @staticmethod
    def _write(job: Job, result: GrowthResult) -> None:
        import numpy as np

        from distill.structures.write import write_frames

        write_frames(job.out / "structures.xyz", result.structures)
        write_frames(job.out / "seeds.xyz", result.roots)
        np.savez_compressed(
            job.out / "statistics.npz",
            generation=result.generation,
            displacement_from_parent=result.displacement_from_parent,
            displacement_from_seed=result.displacement_from_seed,
            relative_energy=result.relative_energy,
        )

    @staticmethod
    def _summary(settings: Settings, result: GrowthResult, wall_s: float) -> Summary:
        found, calls = len(result.structures), result.calls_per_structure
        return {
            "asked": settings.structures,
            "accepted": found,
            "trees": len(result.roots),
            "teacher_calls": result.calls,
            "calls_per_structure": calls,
            "surrogate_calls": result.surrogate_calls,
            "funnel": result.funnel,
            "histograms": result.histograms(),
            "predictor_s": result.predictor_s,
            "growing_s": wall_s,
            "headline": f"{found} of {settings.structures} structures, {calls:.1f} teacher calls each",
        }


def _check_pair(pair: str) -> None:
    """Raise ValueError unless ``pair`` names two elements."""
    from distill.sampling.separation import pair_of

    try:
        pair_of(pair)
    except UserError as error:
        raise ValueError(error.what) from None
