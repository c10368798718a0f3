"""What several seeds of one student say together: means without the seeds that failed, which are counted and named.

The rows are those of the error table of all models, ``metrics.csv``; nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

FAILED = ("diverged", "not finite", "failed")
"""What became of a seed that is in no mean: its training diverged, what it predicts is not finite, or its training or
predictions ended with an error."""

GROUP = ("model", "variant", "split", "reference", "config_type", "quantity", "statistic")
"""What the rows of ``metrics.csv`` that are one number of several seeds have in common."""

SEED_COLUMNS = (
    *GROUP,
    "mean",
    "standard_deviation",
    "best",
    "best_seed",
    "seeds",
    "failed",
    "failed_seeds",
    "unit",
    "n",
)
"""Columns of ``seeds.csv``, one row a number of a student over its seeds.

Mean and standard deviation (n - 1) are over the seeds that did not fail; ``best`` is the number of ``best_seed``, the
one of lowest validation loss; ``seeds`` counts all that were trained and ``failed`` those of them that failed, which
``failed_seeds`` names, separated by blanks.
"""

Row = Mapping[str, Any]
"""One number of one seed: a row of ``metrics.csv`` by column."""


@dataclass(frozen=True)
class Seed:
    """One training of a student.

    Attributes:
        status: how it ended: ``finished``, ``stopped early``, ``out of time``, or one of :data:`FAILED`.
        valid_loss: its objective on the validation structures, dimensionless; None where it has none.
    """

    status: str = "finished"
    valid_loss: float | None = None

    @property
    def failed(self) -> bool:
        """Whether its numbers count for nothing."""
        return self.status in FAILED


@dataclass(frozen=True)
class OverSeeds:
    """One number of a student, gathered over its seeds.

    Attributes:
        mean: over the seeds that did not fail; None where none is left, or one of those has no number.
        deviation: standard deviation over the same seeds (n - 1); None for fewer than two.
        best: the number of the seed that validation prefers, which is not always the smallest.
        best_seed: that seed; None where no seed is left or none has a validation loss.
        each: the numbers of the seeds that did not fail, in order of the seeds.
        seeds: how many were trained, failed ones included.
        failed: the seeds that failed, in order.
    """

    mean: float | None
    deviation: float | None
    best: float | None
    best_seed: int | None
    each: tuple[float, ...]
    seeds: int
    failed: tuple[int, ...]


def best_seed(seeds: Mapping[int, Seed]) -> int | None:
    """Return the seed of lowest validation loss among those that did not fail, or None; the test set has no say."""
    losses = {
        name: seed.valid_loss
        for name, seed in seeds.items()
        if not seed.failed and seed.valid_loss is not None and math.isfinite(seed.valid_loss)
    }
    return min(losses, key=lambda name: (losses[name], name), default=None)


def over_seeds(values: Mapping[int, float | None], seeds: Mapping[int, Seed]) -> OverSeeds:
    """Gather one number over the seeds of a student; ``values`` and ``seeds`` have the same keys.

    A failed seed enters no mean, whatever its number, and is always counted and named.
    """
    good = [name for name in sorted(values) if not seeds[name].failed]
    each = tuple(value for name in good if (value := values[name]) is not None)
    whole = bool(good) and len(each) == len(good)  # a mean over those that happen to have a number would flatter
    best = best_seed({name: seeds[name] for name in values})
    return OverSeeds(
        mean=fmean(each) if whole else None,
        deviation=stdev(each) if whole and len(each) > 1 else None,
        best=None if best is None else values[best],
        best_seed=best,
        each=each,
        seeds=len(values),
        failed=tuple(name for name in sorted(values) if seeds[name].failed),
    )


def gathered(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``seeds.csv``: each number of each student over its seeds, from rows of ``metrics.csv``."""
    groups: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in rows:
        if row["model"] != "teacher":
            groups.setdefault(tuple(row[name] for name in GROUP), {})[row["seed"]] = row
    for group, members in groups.items():
        found = over_seeds({seed: row["value"] for seed, row in members.items()}, _seeds(members))
        one = next(iter(members.values()))
        yield dict(zip(GROUP, group, strict=True)) | {
            "mean": found.mean,
            "standard_deviation": found.deviation,
            "best": found.best,
            "best_seed": found.best_seed,
            "seeds": found.seeds,
            "failed": len(found.failed),
            "failed_seeds": " ".join(map(str, found.failed)),
            "unit": one["unit"],
            "n": one["n"],
        }


def of_students(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the force errors of each student on the test set, and how close it is to its teacher compared with DFT.

    Returns:
        Student, then variant, to ``forces_mae_dft`` and ``forces_mae_teacher``, means over seeds in eV/Å;
        ``teacher_to_dft``, the mean over seeds of the latter divided by the former (1: as far from its teacher as from
        DFT); ``seeds``, how many were trained; ``best_seed`` by validation; and ``failed``, what became of the seeds
        that failed, by seed. None where there is no number.
    """
    errors: dict[tuple[str, str], dict[str, dict[int, Row]]] = {}
    for row in rows:
        if row["model"] != "teacher" and _is_force_mae(row):
            references = errors.setdefault((row["model"], row["variant"]), {"dft": {}, "teacher": {}})
            references[row["reference"]][row["seed"]] = row
    found: dict[str, Any] = {}
    for (model, variant), references in errors.items():
        seeds = _seeds(references["dft"] | references["teacher"])
        dft, teacher = (
            {s: references[name][s]["value"] if s in references[name] else None for s in seeds}
            for name in ("dft", "teacher")
        )
        ratio = {s: _ratio(teacher[s], dft[s]) for s in seeds}
        spread = over_seeds(dft, seeds)
        found.setdefault(model, {})[variant] = {
            "forces_mae_dft": spread.mean,
            "forces_mae_teacher": over_seeds(teacher, seeds).mean,
            "teacher_to_dft": over_seeds(ratio, seeds).mean,
            "seeds": spread.seeds,
            "best_seed": spread.best_seed,
            "failed": {str(seed): seeds[seed].status for seed in spread.failed},
        }
    return found


def _ratio(teacher: float | None, dft: float | None) -> float | None:
    return teacher / dft if teacher is not None and dft else None


def failures(students: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each student that lost seeds, from :func:`of_students`."""
    for model, variants in students.items():
        for variant, one in variants.items():
            if one["failed"] and one["seeds"] == 1:
                yield f"{model} {variant}: {next(iter(one['failed'].values()))}, so it has no errors"
            elif one["failed"]:
                named = ", ".join(f"seed {seed}: {status}" for seed, status in one["failed"].items())
                yield f"{model} {variant}: {len(one['failed'])} of {one['seeds']} seeds are in no mean ({named})"


def headline(rows: Sequence[Row], students: Mapping[str, Any]) -> str:
    """Return the force errors against DFT as one line: means over the seeds that did not fail, failures said."""
    values = {
        f"teacher {row['variant'].replace('_', ' ')}": _millis(row["value"], [row["status"]])
        for row in rows
        if row["model"] == "teacher" and _is_force_mae(row)
    }
    for model, variants in students.items():
        for variant, one in variants.items():
            lost = len(one["failed"])
            some = f" ({lost} of {one['seeds']} seeds failed)" if 0 < lost < one["seeds"] else ""
            values[f"{model} {variant}"] = _millis(one["forces_mae_dft"], one["failed"].values()) + some
    return "force MAE against DFT in meV/Å: " + ", ".join(f"{name} {value}" for name, value in values.items())


def _millis(value: float | None, statuses: Iterable[str]) -> str:
    return (" and ".join(dict.fromkeys(statuses)) or "unknown") if value is None else f"{1000 * value:.0f}"


def _seeds(rows: Mapping[int, Row]) -> dict[int, Seed]:
    return {seed: Seed(row["status"], row["valid_loss"]) for seed, row in rows.items()}


def _is_force_mae(row: Row) -> bool:
    key = (row["split"], row["config_type"], row["quantity"], row["statistic"])
    return key == ("test", "all", "forces", "mae")
