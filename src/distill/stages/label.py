"""Join grown structures, seeds, dimers and compressions, all labelled by the teacher, and keep families together.

Trees that grew from the DFT validation structures become the students' validation set, so that no family has members on
both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from distill.base.settings import Settings
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from distill.base.arrays import Array
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames
    from distill.structures.spread import Spread
    from distill.training.targets import Targets


class SpreadSettings(Settings):
    """What becomes of labels that several teachers disagree about; a single teacher has no use for it."""

    weigh: Literal["none", "forces", "all"] = "none"
    """What counts the less in the students' loss the farther the teachers lie apart on it: all is forces, energies and
    stresses."""
    limit: float | None = Field(5.0, gt=1)
    """Leave grown structures out of training whose forces the teachers lie apart on by more than so many times the
    median; null leaves none out."""


class Label(Stage):
    """The teacher's energy, forces and stress on every structure; what generation has labelled is not done again."""

    class Settings(StageSettings):
        """What is added to the grown structures."""

        dimers: bool = True
        """Add dimers of each pair of elements, so that students know isolated pairs."""
        compressions: int = Field(16, ge=0)
        """Add so many compressed and sheared copies of the lowest structure of each composition, down to 0.4 of its
        volume, so that students have no hole there; 0 adds none."""
        include_seeds: bool = True
        """Add the DFT structures themselves, with the teacher's labels."""
        atomic_energies: bool = False
        """Note the teacher's energy of every atom too, for students whose loss weighs them."""
        hessian: Literal["rows", "random"] | None = None
        """Note the product of the teacher's Hessian with one vector for each structure, for students whose loss weighs
        it; each costs two evaluations. rows: one coordinate of one atom is displaced; random: all coordinates, each by
        plus or minus the same."""

        spread: SpreadSettings = Field(SpreadSettings(), exclude_if=lambda spread: spread == SpreadSettings())
        """What becomes of labels that several teachers disagree about."""

        renamed: ClassVar[Mapping[str, str]] = {"hessian_rows": "hessian"}

        @field_validator("hessian", mode="before")
        @classmethod
        def _rows_or_none(cls, given: object) -> object:
            """Take the former true and false of ``hessian_rows``."""
            return {True: "rows", False: None}[given] if isinstance(given, bool) else given

    version: ClassVar[int] = 5
    section: ClassVar[str] = "synthetic"
    inputs: ClassVar[InputSpecs] = {
        "teacher": "ensemble.model",
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

        from distill.potentials.interface.saving import open_saved
        from distill.structures.frames import concatenate
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames
        from distill.training.disagreement import with_spread

        grown, seeds = read_frames(inputs["structures"])[0], read_frames(inputs["seeds"])[0]
        made = self._made(grown.elements, seeds, settings, job.seed)
        teacher = open_saved(inputs["teacher"], job.device, job.consent)
        if made:
            made = {name: self._labelled(teacher.evaluate, frames, name, job) for name, frames in made.items()}
            made = {name: frames for name, frames in made.items() if len(frames)}
        if "compressions" in made:
            made["compressions"] = self._believed(made["compressions"], job)
        parts = [grown, *[self._seeds(seeds)] * settings.include_seeds]
        parts += [frames.with_info(split=["train"] * len(frames)) for frames in made.values()]
        labelled = concatenate(parts)
        n_made = sum(map(len, made.values()))
        is_grown = np.arange(len(labelled)) < len(labelled) - n_made
        side = np.array(labelled.labels("split"))
        chosen = {name: np.flatnonzero(side == name) for name in ("train", "valid")}
        spread, said = self._spread(teacher, labelled, job), Summary()
        if spread is not None:
            labelled = spread.noted(labelled)
            chosen["train"], said = self._known(spread, labelled, chosen["train"], is_grown, settings)
        for name, numbers in chosen.items():
            structures = labelled[numbers]
            write_frames(job.out / f"{name}.xyz", structures)
            targets = self._targets(structures, teacher, settings, job)
            if spread is not None:
                how = settings.spread.weigh if name == "train" else "none"
                targets = with_spread(targets, spread.of(labelled, numbers), structures, is_grown[numbers], how)
            targets.save(job.out / f"{name}.npz")
        write_frames(job.out / "synthetic.xyz", labelled)
        n = {name: len(numbers) for name, numbers in chosen.items()}
        left = f"; {said['left_out']} left out, on which the teachers disagree" if said.get("left_out") else ""
        return {
            "structures": len(labelled),
            **n,
            "dimers": len(made.get("dimers", ())),
            "compressions": len(made.get("compressions", ())),
            **said,
            "headline": f"{n['train']} structures to train on, {n['valid']} of unseen families to validate{left}",
        }

    @staticmethod
    def _spread(teacher: Potential, structures: Frames, job: Job) -> Spread | None:
        """Return how far several teachers lie apart on structures; None where there is a single one."""
        if not teacher.parts():
            return None
        with job.progress.phase("comparing the teachers", len(structures), "structure") as phase:
            return teacher.evaluate_with_spread(structures, stress=False, progress=phase)[1]

    @staticmethod
    def _known(
        spread: Spread, structures: Frames, train: Array, grown: Array, settings: Settings
    ) -> tuple[Array, Summary]:
        """Return which of the training structures a teacher knows, and in numbers how far the teachers lie apart."""
        import numpy as np

        from distill.training.disagreement import unknown_to_all

        apart = spread.of_structures(structures)
        unknown, most = unknown_to_all(apart[train], grown[train], settings.spread.limit)
        of_grown = train[grown[train]]
        return train[~unknown], {
            "left_out": int(unknown.sum()),
            "left_out_above_eV_per_A": float(most) if np.isfinite(most) else None,
            "forces_spread_eV_per_A": [float(q) for q in np.quantile(apart[of_grown], (0.05, 0.5, 0.95))],
            "energy_spread_eV_per_atom": [float(q) for q in np.quantile(spread.energy[of_grown], (0.05, 0.5, 0.95))],
        }

    @staticmethod
    def _targets(structures: Frames, teacher: Potential, settings: Settings, job: Job) -> Targets:
        """Return the further labels that are wanted."""
        from distill.training.targets import Targets, make_targets

        if not (settings.atomic_energies or settings.hessian):
            return Targets()
        work = len(structures) * (settings.atomic_energies + 2 * (settings.hessian is not None))
        with job.progress.phase("noting further targets", work, "evaluation") as phase:
            return make_targets(
                teacher,
                structures,
                atomic_energies=settings.atomic_energies,
                hessian=settings.hessian,
                seed=job.seed,
                phase=phase,
            )

    @staticmethod
    def _made(elements: tuple[int, ...], seeds: Frames, settings: Settings, seed: int) -> dict[str, Frames]:
        """Return what is made besides the trees, without labels; of the validation structures nothing is."""
        import numpy as np

        from distill.sampling.compressions import compressions
        from distill.sampling.dimers import dimers

        made = {}
        if settings.dimers:
            made["dimers"] = dimers(elements)
        if settings.compressions:
            train = seeds[np.array(seeds.labels("split")) == "train"]
            made["compressions"] = compressions(train, settings.compressions, seed)
        return {name: frames for name, frames in made.items() if len(frames)}

    @staticmethod
    def _labelled(predict: Callable[[Frames], Frames], structures: Frames, name: str, job: Job) -> Frames:
        """Return the structures that the teacher has a label for."""
        from distill.sampling.attempts import label

        with job.progress.phase(f"labelling {name}", len(structures), "structure") as phase:
            labelled, said = label(predict, structures, phase)
        job.warnings += [f"{name}: {sentence}" for sentence in said]
        return labelled

    @staticmethod
    def _believed(labelled: Frames, job: Job) -> Frames:
        """Return the compressed structures without those on which the teacher errs for certain."""
        from distill.sampling.compressions import repelling

        kept, said = repelling(labelled)
        job.warnings += said
        return labelled[kept]

    @staticmethod
    def _seeds(seeds: Frames) -> Frames:
        none = [0] * len(seeds)
        return seeds.with_info(tree=range(len(seeds)), generation=none, parent=[-1] * len(seeds))
