"""Join grown structures, seeds and dimers, all labelled by the teacher, and keep whole families for validation.

Trees that grew from the DFT validation structures become the students' validation set, so that no family has members on
both sides.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from distill.structures.frames import Frames
    from distill.training.targets import Targets


class Label(Stage):
    """The teacher's energy, forces and stress on every structure; what generation has labelled is not done again."""

    class Settings(StageSettings):
        """What is added to the grown structures."""

        dimers: bool = True
        """Add dimers of each pair of elements, so that students know isolated pairs."""
        include_seeds: bool = True
        """Add the DFT structures themselves, with the teacher's labels."""
        atomic_energies: bool = False
        """Note the teacher's energy of every atom too, for students whose loss weighs them."""
        hessian_rows: bool = False
        """Note one row of the teacher's Hessian for each structure, for students whose loss weighs them; each costs two
        evaluations."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "synthetic"
    inputs: ClassVar[InputSpecs] = {
        "teacher": "finetune.model",
        "structures": "generate.structures",
        "seeds": "generate.seeds",
    }
    outputs: ClassVar[dict[str, str]] = {
        "train": "train.xyz",
        "valid": "valid.xyz",
        "all": "synthetic.xyz",
        "train_targets": "train.npz",
        "valid_targets": "valid.npz",
    }
    publish: ClassVar[dict[str, str]] = {"all": "synthetic.xyz"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the students' training and validation sets, and all synthetic structures together."""
        import numpy as np

        from distill.potentials.interface.saving import load
        from distill.sampling.dimers import dimers
        from distill.structures.frames import Frames, concatenate
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames

        grown = read_frames(inputs["structures"])[0]
        parts = [grown]
        if settings.include_seeds:
            parts.append(self._seeds(inputs["seeds"]))
        pairs = dimers(grown.elements) if settings.dimers else Frames.empty()
        if len(pairs):
            with job.progress.phase("labelling", len(pairs), "structure") as phase:
                labelled = load(inputs["teacher"], job.device).evaluate(pairs, progress=phase)
            parts.append(labelled.with_info(split=["train"] * len(pairs)))
        labelled = concatenate(parts)
        side = np.array(labelled.labels("split"))
        train, valid = labelled[side == "train"], labelled[side == "valid"]
        for name, structures in (("train", train), ("valid", valid)):
            write_frames(job.out / f"{name}.xyz", structures)
            self._targets(structures, inputs["teacher"], settings, job).save(job.out / f"{name}.npz")
        write_frames(job.out / "synthetic.xyz", labelled)
        return {
            "structures": len(labelled),
            "train": len(train),
            "valid": len(valid),
            "dimers": len(pairs),
            "headline": f"{len(train)} structures to train on, {len(valid)} of unseen families to validate",
        }

    @staticmethod
    def _targets(structures: Frames, teacher: Path, settings: Settings, job: Job) -> Targets:
        """Return the further labels that are wanted."""
        from distill.potentials.interface.saving import load
        from distill.training.targets import Targets, make_targets

        if not (settings.atomic_energies or settings.hessian_rows):
            return Targets()
        work = len(structures) * (settings.atomic_energies + 2 * settings.hessian_rows)
        with job.progress.phase("noting further targets", work, "evaluation") as phase:
            return make_targets(
                load(teacher, job.device),
                structures,
                atomic_energies=settings.atomic_energies,
                hessian_rows=settings.hessian_rows,
                seed=job.seed,
                phase=phase,
            )

    @staticmethod
    def _seeds(path: Path) -> Frames:
        from distill.structures.read import read_frames

        seeds = read_frames(path)[0]
        none = [0] * len(seeds)
        return seeds.with_info(tree=range(len(seeds)), generation=none, parent=[-1] * len(seeds))
