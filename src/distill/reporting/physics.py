"""The verdicts of a run and the observed curves that they rest on, as a report needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distill.analysis.verdicts import Verdict
from distill.base.arrays import Array
from distill.base.files import read_json
from distill.reporting.models import Model


@dataclass(frozen=True)
class Judged:
    """The verdict on one student.

    Attributes:
        of: the student.
        seed: which of several seeds.
        verdict: all that it was judged by.
        triangle: the error triangle in a sentence; empty where a side is missing.
    """

    of: Model
    seed: int
    verdict: Verdict
    triangle: str = ""


@dataclass(frozen=True)
class ObservedCurve:
    """A curve that was computed of replicas.

    Attributes:
        name: of the observable.
        run: whose it is.
        unit: of the values.
        place: what the places are, with their unit.
        places: ``[P]``.
        replicas: of each model and seed, ``[S, P]``.
        reference: places and values of the user's, ``[2, P]``, or None.
        reference_name: what these are.
    """

    name: str
    run: str
    unit: str
    place: str
    places: Array
    replicas: Mapping[tuple[Model, int], Array]
    reference: Array | None = None
    reference_name: str = ""


@dataclass(frozen=True)
class Physics:
    """All verdicts of a run, and the curves that they rest on."""

    judged: Sequence[Judged] = ()
    curves: Sequence[ObservedCurve] = field(default=())


def physics(judge: Path) -> Physics:
    """Return what the judge's folder says."""
    said = read_json(judge / "verdict.json")
    judged = [
        Judged(
            Model(one["student"], one["variant"]),
            one["seed"],
            Verdict.from_data(one),
            (one["triangle"] or {}).get("sentence", ""),
        )
        for one in said["students"]
    ]
    with np.load(judge / "curves.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return Physics(judged, list(_curves(said["observables"], arrays)))


def _curves(described: Mapping[str, Mapping[str, str]], arrays: Mapping[str, Array]) -> Iterator[ObservedCurve]:
    for name, about in described.items():
        if f"{name}/places" not in arrays:
            continue
        replicas = {}
        for key, values in arrays.items():
            parts = key.split("/")
            if parts[0] == name and len(parts) == 4:
                replicas[Model(parts[1], parts[2]), int(parts[3])] = values
        unit = f" ({about['place_unit']})" if about["place_unit"] else ""
        yield ObservedCurve(
            name,
            about["run"],
            about["unit"],
            f"{about['place']}{unit}",
            arrays[f"{name}/places"],
            replicas,
            arrays.get(f"{name}/reference"),
            about["reference"] or "",
        )
