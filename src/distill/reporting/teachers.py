"""Several teachers in a report: who they are, how they do beside their mean, and what their spread is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distill.analysis.errors import Difference
from distill.analysis.reliability import Bin, Reliability
from distill.base.artifact import Artifact, Summary


@dataclass(frozen=True)
class Member:
    """One of several teachers; errors are mean absolute ones in eV/Å and eV/atom.

    Attributes:
        name: as the recipe calls it, with its seed if there are several.
        model: the foundation model.
        share: its weight in the mean.
        valid_forces: on the validation structures, which the weights follow from.
        valid_energy: likewise.
        test_forces: force error on the test structures with its interval; None where it was not judged.
        over_mean: how much larger that is than the mean's, on the same structures; None where it was not judged.
    """

    name: str
    model: str
    share: float
    valid_forces: float
    valid_energy: float
    test_forces: Difference | None = None
    over_mean: Difference | None = None


@dataclass(frozen=True)
class Teachers:
    """What a report says of several teachers.

    Attributes:
        members: in the order of the recipe.
        reliability: by quantity, the spread of the members against the error of their mean on the test structures.
        left_out: grown structures that students were not trained on.
        limit: the spread of forces from which on they were left out, eV/Å, or None.
    """

    members: Sequence[Member]
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    left_out: int = 0
    limit: float | None = None


def teachers_of(joined: Artifact, evaluated: Summary, labelled: Summary) -> Teachers:
    """Return what the stages say of the members of an ensemble.

    Args:
        joined: the ensemble.
        evaluated: what the evaluation says.
        labelled: what was labelled.
    """
    judged = evaluated.get("members", {})
    members = []
    for row in joined.summary["members"]:
        found = judged.get(row["member"])
        members.append(
            Member(
                name=row["member"],
                model=row["model"],
                share=row["share"],
                valid_forces=row["forces_mae"],
                valid_energy=row["energy_mae"],
                test_forces=Difference(**found["forces"]) if found else None,
                over_mean=Difference(**found["over_mean"]) if found else None,
            )
        )
    return Teachers(
        members,
        {name: _reliability(one) for name, one in evaluated.get("reliability", {}).items()},
        labelled.get("left_out", 0),
        labelled.get("left_out_above_eV_per_A"),
    )


def _reliability(said: Summary) -> Reliability:
    """Return what a summary, which is JSON, has of it."""
    lists = {"spread": tuple(said["spread"]), "error": tuple(said["error"])}
    return Reliability(**{**said, **lists, "bins": tuple(Bin(**one) for one in said["bins"])})
