"""Plans: which tasks there are, what their hashes depend on, and why a task runs again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_folder import Toy
from toy_stages import Count, Read, toy_stages

from distill.base.errors import UserError
from distill.base.registry import Registry
from distill.workflow.explain import explain_plan
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.rundir import RunFolder, read_plan
from distill.workflow.store import Store
from distill.workflow.tasks import FromTask


def hashes(plan: Plan) -> dict[str, str]:
    return {task.id: task.hash for task in plan}


def changed(before: Plan, after: Plan) -> set[str]:
    return {task.id for task in after if hashes(before).get(task.id) != task.hash}


def test_tasks_come_after_what_they_need(toy: Toy) -> None:
    plan = make_plan(toy.load())
    assert [task.id for task in plan][:5] == [
        "read",
        "count",
        "fit[big,distilled,0]",
        "fit[small,distilled,0]",
        "fit[small,distilled,1]",
    ]
    seen: set[str] = set()
    for task in plan:
        assert seen.issuperset(task.needs)
        seen.add(task.id)


def test_inputs_follow_the_fan_out_or_collect_it(toy: Toy) -> None:
    plan = make_plan(toy.load("students.big.direct=true"))
    assert plan["fit[big,distilled,0]"].inputs["data"] == FromTask("count", "result")
    assert plan["fit[big,direct,0]"].inputs["data"] == FromTask("read", "numbers")
    assert plan["judge[small,distilled,1]"].inputs["model"] == FromTask("fit[small,distilled,1]", "model")
    assert plan["dynamics[small,distilled,1]"].inputs["judged"] == FromTask("judge[small,distilled,1]", "error")
    collected = plan["total"].inputs["errors"]
    assert [source.task for source in collected] == [task.id for task in plan if task.stage == "judge"]  # type: ignore[union-attr]
    names = {name for task in plan for name in task.publish.values()}
    assert {"models/big", "models/big-direct", "models/small", "models/small-seed1"} <= names


def test_a_stage_follows_what_it_chooses_and_one_task_another(toy: Toy) -> None:
    stages = Registry("stage", {**toy_stages().rows, "walk": "toy_stages:Walk"})
    plan = make_plan(load_recipe(toy.path, ["students.big.direct=true"], stages))
    walks = {task.id: task.inputs for task in plan.of_stage("walk")}
    assert "walk[big,direct,0,first]" not in walks
    assert "walk[small,distilled,1,second]" in walks
    assert walks["walk[big,distilled,0,first]"] == {"model": FromTask("fit[big,distilled,0]", "model"), "before": None}
    assert walks["walk[big,distilled,0,second]"]["before"] == FromTask("walk[big,distilled,0,first]", "end")


def test_no_students_means_no_tasks_and_an_empty_collection(toy: Toy) -> None:
    plan = make_plan(toy.load("students={}"))
    assert [task.id for task in plan] == ["read", "count", "total"]
    assert plan["total"].inputs["errors"] == ()


def test_names_places_and_order_are_not_hashed(toy: Toy, tmp_path: Path) -> None:
    before = make_plan(toy.load())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(toy.folder / "numbers.txt", elsewhere / "moved.txt")
    reordered = """\
seed: 3
students: {small: {seeds: 2, cutoff: 4}, big: {cutoff: 6.0}}
count: {steps: 4}
executor: {workers: 1}
data: {scale: 2.0, file: moved.txt}
name: renamed
"""
    (elsewhere / "r.yaml").write_text(reordered)
    after = make_plan(load_recipe(elsewhere / "r.yaml", stages=toy_stages()))
    same = {task.id for task in before if task.stage != "total"}  # a collection keeps the recipe's order
    assert {i: hashes(before)[i] for i in same} == {i: hashes(after)[i] for i in same}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("students.big.cutoff=6.5", {"fit[big", "judge[big", "dynamics[big", "total"}),
        ("count.steps=5", {"count", "fit", "judge", "dynamics", "total"}),
        ("data.scale=3", {"read", "count", "fit", "judge", "dynamics", "total"}),
        ("simulate=[{kind: scan}]", {"dynamics", "total"}),
        ("seed=4", {"read", "count", "fit", "judge", "dynamics", "total"}),
        ("machinery.parts=2", {"fit", "judge", "dynamics", "total"}),
        ("machinery.logs=[paper]", set()),
        ("name=other", set()),
        ("executor.workers=2", set()),
    ],
)
def test_a_change_reaches_its_task_and_dependents_only(toy: Toy, override: str, expected: set[str]) -> None:
    before, after = make_plan(toy.load()), make_plan(toy.load(override))
    assert changed(before, after) == {t.id for t in before if any(t.id.startswith(prefix) for prefix in expected)}


def test_a_shared_value_reaches_the_stage_that_reads_it(toy: Toy) -> None:
    plan = make_plan(toy.load("data.scale=3"))
    assert plan["count"].settings.scale == 3.0
    assert plan["count"].keys["scale"] == "data.scale"


def test_a_section_of_no_stage_is_read_by_several(toy: Toy) -> None:
    plan = make_plan(toy.load("machinery.parts=2", "machinery.logs=[stone]"))
    assert plan["fit[big,distilled,0]"].settings.machinery.logs == ("stone",)
    assert plan["judge[big,distilled,0]"].settings.parts == 2
    assert plan["judge[big,distilled,0]"].keys["parts"] == "machinery.parts"


def test_content_of_files_is_hashed(toy: Toy) -> None:
    before = make_plan(toy.load())
    (toy.folder / "numbers.txt").write_text("1 2 4 5")
    assert "read" in changed(before, make_plan(toy.load()))


def test_a_new_stage_version_changes_the_hash(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_plan(toy.load())
    monkeypatch.setattr(Count, "version", 2)
    after = make_plan(toy.load())
    assert "count" in changed(before, after) and "read" not in changed(before, after)


def test_threads_share_the_cores_among_the_tasks_that_may_run_together(toy: Toy) -> None:
    plan = make_plan(toy.load())
    assert plan.independent_of(plan["count"]) == set()
    fits = {task.id for task in plan if task.stage == "fit"}
    assert fits - {"fit[big,distilled,0]"} <= plan.independent_of(plan["fit[big,distilled,0]"])
    assert plan.threads(plan["count"], workers=4, cores=8) == 8
    assert plan.threads(plan["fit[big,distilled,0]"], workers=4, cores=8) == 2
    assert plan.threads(plan["fit[big,distilled,0]"], workers=1, cores=8) == 8
    assert plan.threads(plan["fit[big,distilled,0]"], workers=9, cores=1) == 1


def test_two_tasks_cannot_publish_one_name(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Read, "publish", {"numbers": "count.txt"})
    with pytest.raises(UserError, match=r"would both be published as count\.txt"):
        make_plan(toy.load())


def remembered(toy: Toy, plan: Plan) -> Any:
    """The plan as the last run of this name leaves it."""
    store = Store(toy.runs / ".store")
    RunFolder(toy.runs / "toy", store).prepare(plan)
    return read_plan(toy.runs / "toy")


@pytest.mark.parametrize(
    ("override", "task", "why"),
    [
        ("students.big.cutoff=6.5", "fit[big,distilled,0]", "students.big.cutoff: 6.0 -> 6.5"),
        ("students.big.cutoff=6.5", "judge[big,distilled,0]", "model comes from fit[big,distilled,0], which changes"),
        ("data.scale=3", "read", "data.scale: 2.0 -> 3.0"),
        ("data.scale=1", "read", "data.scale: 2.0 -> 1.0"),
        ("data.keys=[e]", "read", 'data.keys: ["energy"] -> ["e"]'),
        ("count.fail=bug", "count", "count.fail: no -> bug"),
        ("seed=4", "count", "seed: 3 -> 4"),
        ("machinery.parts=2", "fit[big,distilled,0]", "machinery.parts: 1 -> 2"),
        ("students.big.direct=true", "fit[big,direct,0]", "never run"),
        ("name=toy", "read", "not finished yet"),
    ],
)  # fmt: skip
def test_the_reason_is_reported_by_recipe_key(toy: Toy, override: str, task: str, why: str) -> None:
    previous = remembered(toy, make_plan(toy.load()))
    verdicts = explain_plan(make_plan(toy.load(override)), Store(toy.runs / ".store"), previous)
    assert not verdicts[task].cached
    assert why in verdicts[task].why


def test_a_changed_file_and_a_new_version_are_reported(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    previous = remembered(toy, make_plan(toy.load()))
    (toy.folder / "numbers.txt").write_text("7")
    monkeypatch.setattr(Count, "version", 2)
    verdicts = explain_plan(make_plan(toy.load()), Store(toy.runs / ".store"), previous)
    assert verdicts["read"].why == "file data.file changed"
    assert "stage version: 1 -> 2" in verdicts["count"].why
    assert "input numbers comes from read, which changes" in verdicts["count"].why


def test_an_unknown_stage_cannot_be_forced(toy: Toy) -> None:
    with pytest.raises(UserError, match=r"there is no stage 'cuont'\. Did you mean 'count'\?"):
        explain_plan(make_plan(toy.load()), Store(toy.runs), None, ["cuont"])


def test_a_plan_is_json(toy: Toy) -> None:
    assert json.loads(json.dumps(remembered(toy, make_plan(toy.load()))))["tasks"]["count"]["needs"] == ["read"]
