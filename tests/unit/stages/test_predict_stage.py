"""Predictions are a task of each model, so that what was predicted once is not predicted again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.structures.frames import Frames
from distill.structures.labels import count_labels, read_labels, write_labels
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


def planned(*overrides: str) -> Plan:
    return make_plan(load_recipe(QUICKSTART, overrides=overrides))


def test_a_further_student_is_all_that_is_predicted() -> None:
    before, after = planned(), planned("students.other={arch: schnet, direct: false}")
    for stage in ("predict", "unseen"):
        old, new = ({t.id: t.hash for t in plan.of_stage(stage)} for plan in (before, after))
        assert new.items() > old.items()
        assert set(new) - set(old) == {f"{stage}[other,distilled,0]"}
    assert before["evaluate"].hash != after["evaluate"].hash


def test_only_students_predict_unseen_families() -> None:
    plan = planned()
    assert set(plan["predict[teacher,zero_shot,0]"].needs) == {"check", "finetune"}
    assert set(plan["predict[painn,refined,0]"].needs) == {"check", "train[painn,refined,0]"}
    assert set(plan["unseen[painn,refined,0]"].needs) == {"label", "train[painn,refined,0]"}
    assert not [task.id for task in plan.of_stage("unseen") if task.labels["student"] == "teacher"]


def test_a_direct_student_predicts_the_test_set_once_whatever_was_grown() -> None:
    one, other = planned(), planned("synthetic.structures=100")
    changed = {task.id for task in one if task.hash != other[task.id].hash}
    assert not {"train[painn,direct,0]", "predict[painn,direct,0]"} & changed
    assert {"predict[painn,distilled,0]", "unseen[painn,direct,0]"} <= changed


@pytest.mark.parametrize("with_stress", [True, False])
def test_labels_come_back_to_the_last_bit_even_where_they_are_not_finite(tmp_path: Path, with_stress: bool) -> None:
    rng = np.random.default_rng(0)
    frames = Frames.from_atoms([bulk("Si"), bulk("Si", cubic=True)])
    forces = rng.normal(size=(10, 3))
    forces[3, 1] = np.nan
    labelled = frames.with_labels(rng.normal(size=2), forces, rng.normal(size=(2, 3, 3)) if with_stress else None)
    write_labels(tmp_path / "labels.npz", labelled)
    again = read_labels(tmp_path / "labels.npz", frames)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(getattr(again, name), getattr(labelled, name))
    with pytest.raises(ValueError, match="shape"):
        read_labels(tmp_path / "labels.npz", frames[:1])


def test_labels_are_counted_as_independent_numbers_that_are_there() -> None:
    frames = Frames.from_atoms([bulk("Si"), bulk("Si", cubic=True)])
    forces, stress = np.zeros((10, 3)), np.zeros((2, 3, 3))
    forces[3, 1] = stress[0, 0, 0] = np.nan
    labelled = frames.with_labels(np.array([0.0, np.nan]), forces, stress)
    assert count_labels(labelled) == 1 + 29 + 6
    assert count_labels(labelled, ["energy", "forces"]) == 1 + 29
    assert count_labels(frames) == 0
