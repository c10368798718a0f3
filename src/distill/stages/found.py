"""What finished tasks found of every model, as the verdict needs it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distill.base.artifact import Artifact, Labels
from distill.base.files import read_table
from distill.stages.base import Paths

if TYPE_CHECKING:
    from distill.analysis.triangle import Triangle
    from distill.analysis.verdicts import Criterion
    from distill.base.arrays import Array
    from distill.observables.base import Measured, Observable
    from distill.observables.criteria import Observed

REFERENCE = "reference."
"""What inputs begin with that are curves of the user's."""
STRUCTURES = "structures."
"""Likewise of files of structures."""


class Who(NamedTuple):
    """A model."""

    student: str
    variant: str
    seed: int

    @classmethod
    def of(cls, labels: Labels) -> Who:
        """Return whose a task is."""
        return cls(str(labels["student"]), str(labels["variant"]), int(labels["seed"]))


TEACHER = Who("teacher", "finetuned", 0)


class Found:
    """What finished tasks found, by model."""

    def __init__(self, inputs: Paths, observables: Mapping[str, Any], missing: Mapping[str, Sequence[Labels]]) -> None:
        from distill.observables import OBSERVABLES
        from distill.observables.files import read_curve, read_measured

        self.metrics = read_table(inputs["metrics"])
        self.overfit = _overfit(inputs["members"])
        self.simulated = _by_model(inputs["simulate"])
        self.dynamics = _by_model(inputs["dynamics"])
        self.relabelled = _by_model(inputs["relabel"])
        self.synthetic, self.unseen = inputs["synthetic"], _by_model(inputs["unseen"])
        self.missing = missing
        self.observables = {
            name: OBSERVABLES[one["kind"]].model_validate(one, strict=False) for name, one in observables.items()
        }
        self.curves = {
            name.removeprefix(REFERENCE): read_curve(path)
            for name, path in inputs.items()
            if name.startswith(REFERENCE)
        }
        self.sampled = {
            name.removeprefix(STRUCTURES): _sampled(self.observables[name.removeprefix(STRUCTURES)], path)
            for name, path in inputs.items()
            if name.startswith(STRUCTURES)
        }
        self.measured: dict[tuple[Who, str], list[Measured]] = {}
        for one in inputs["observe"]:
            for name, value in read_measured(one.path).items():
                self.measured.setdefault((Who.of(one.labels), name), []).append(value)

    def students(self) -> list[Who]:
        """Return every student that was evaluated."""
        rows = [Who(row["model"], row["variant"], int(row["seed"])) for row in self.metrics]
        return [who for who in dict.fromkeys(rows) if who.student != "teacher"]

    def criteria(self, who: Who) -> Iterator[Criterion]:
        """Yield everything that a student is judged by."""
        from distill.analysis import criteria
        from distill.analysis.triangle import side
        from distill.base.files import read_json
        from distill.observables.criteria import compared, known

        results = {
            whose: [read_json(one.path / "result.json") for one in self.simulated.get(whose, [])]
            for whose in (who, TEACHER)
        }
        langevin = [result for result in results[who] if result["kind"] == "langevin"]
        yield from criteria.static([one for one in results[who] if one not in langevin], results[TEACHER])
        yield from map(criteria.survived, langevin)
        for replicas in _by_run(self.dynamics.get(who, [])).values():
            yield from criteria.runs(replicas)
        for run, lost in self._lost(who).items():
            yield criteria.lost(run, lost)
        test = side(self.metrics, *who, reference="teacher", statistic="mae")
        for run, replicas in _by_run(self.relabelled.get(who, [])).items():
            errors = [one.summary["forces_mae"] for one in replicas if one.summary["forces_mae"] is not None]
            yield criteria.on_policy(run, errors, test)
        for predicted in self.unseen.get(who, []):
            yield from softened(predicted.path, self.synthetic)
        for name in self.observables:
            if (who, name) in self.measured:
                one = self._observed(who, name)
                yield from filter(None, (compared(one), known(one)))

    def triangle(self, who: Who) -> Triangle | None:
        """Return the error triangle of a student."""
        from distill.analysis.triangle import triangle

        return triangle(self.metrics, *who, self.overfit)

    def described(self) -> dict[str, dict[str, Any]]:
        """Return of each observable what a figure says of it."""
        return {
            name: {
                "run": one.run,
                "level": one.level,
                "unit": one.unit,
                "place": one.place_name,
                "place_unit": one.place_unit,
                "reference": one.reference.name if one.reference is not None else None,
            }
            for name, one in self.observables.items()
        }

    def arrays(self) -> dict[str, Array]:
        """Return the curves and numbers of all replicas that have them, and the user's references.

        Keys are the observable and the model, as in ``g/painn/distilled/0``, with ``/places`` after the observable
        for where curves are taken, and ``/reference``, ``[2, P]``, for a user's.
        """
        import numpy as np

        arrays: dict[str, Array] = {}
        for (who, name), measured in self.measured.items():
            whole = [one for one in measured if np.isfinite(one.values).all()]
            if not whole or any(one.values.shape != whole[0].values.shape for one in whole):
                continue
            arrays["/".join([name, *map(str, who)])] = np.array([one.values for one in whole])
            if whole[0].places is not None:
                arrays[f"{name}/places"] = whole[0].places
        references = {name: np.array(curve) for name, curve in self.curves.items()}
        for name, blocks in self.sampled.items():
            if blocks[0].places is not None:
                references[name] = np.array([blocks[0].places, np.mean([one.values for one in blocks], axis=0)])
        return arrays | {f"{name}/reference": curve for name, curve in references.items()}

    def _observed(self, who: Who, name: str) -> Observed:
        from distill.observables.criteria import Observed

        run = self.observables[name].run
        lengths = [_length(self.dynamics.get(whose, []), run) for whose in (who, TEACHER)]
        mine, teacher = self.measured[who, name], self.measured.get((TEACHER, name), [])
        return Observed(
            name,
            self.observables[name],
            mine,
            teacher,
            (lengths[0], lengths[1]),
            self.curves.get(name),
            self.sampled.get(name, ()),
        )

    def _lost(self, who: Who) -> dict[str, int]:
        """Return how many replicas of each run with a student ended with an error."""
        lost = [str(labels["run"]) for labels in self.missing.get("dynamics", ()) if Who.of(labels) == who]
        return {run: lost.count(run) for run in lost}


def _sampled(observable: Observable, path: Path) -> list[Measured]:
    """Return a quantity of each block of a user's structures."""
    from distill.observables.files import blocks, read_samples

    return [observable.measure(block) for block in blocks(read_samples(path))]


def softened(guess: Path, synthetic: Path) -> Iterator[Criterion]:
    """Yield how a student's forces scale with its teacher's on unseen structures, the half with the largest forces."""
    import numpy as np

    from distill.analysis.criteria import soft
    from distill.analysis.softening import softening
    from distill.structures.labels import read_labels
    from distill.structures.read import read_frames

    truth = read_frames(synthetic)[0]
    squares = np.add.reduceat(np.square(np.asarray(truth.forces)).sum(axis=1), truth.offsets[:-1]) / truth.n_atoms
    far = np.flatnonzero((truth.n_atoms > 2) & (squares >= np.median(squares)))  # dimers are judged by themselves
    mine = read_labels(guess, truth)[far]
    if len(far) and np.isfinite(np.asarray(mine.forces)).all() and squares[far].sum() > 0:
        yield soft(softening(np.asarray(mine.forces), np.asarray(truth[far].forces), mine.n_atoms))


def _by_model(sources: Iterable[Artifact]) -> dict[Who, list[Artifact]]:
    """Return artifacts by whose they are."""
    found: dict[Who, list[Artifact]] = {}
    for one in sources:
        found.setdefault(Who.of(one.labels), []).append(one)
    return found


def _by_run(sources: Iterable[Artifact]) -> dict[str, list[Artifact]]:
    """Return the replicas of each run."""
    found: dict[str, list[Artifact]] = {}
    for one in sources:
        found.setdefault(str(one.labels["run"]), []).append(one)
    return found


def _length(sources: Iterable[Artifact], run: str) -> float:
    """Return the length of a run, ps; NaN where there is none."""
    return next((float(one.summary["ps"]) for one in sources if one.labels["run"] == run), math.nan)


def _overfit(members: Sequence[Artifact]) -> float | None:
    """Return the loss of the first teacher on its training structures over that on validation, at the step kept."""
    rows = read_table(members[0].path / "curve.csv")
    best = members[0].summary.get("best_step")
    kept = [row for row in rows if best is not None and float(row["step"]) == best]
    losses = [float(kept[0][name]) for name in ("train_loss", "valid_loss") if kept and kept[0][name]]
    return losses[0] / losses[1] if len(losses) == 2 and losses[1] > 0 else None
