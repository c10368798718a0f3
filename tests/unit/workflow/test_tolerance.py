"""Members of a set that fail: stages that can do without them go on, and their results are true to what there was."""

from __future__ import annotations

import json

import pytest
import toy_stages
from toy_folder import Toy

from distill.base.errors import UserError
from distill.base.registry import Registry
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import Recipe, load_recipe
from distill.workflow.runner import RunResult, run_recipe
from distill.workflow.status import run_status
from distill.workflow.tasks import FromTask

ROWS = {name: toy_stages.ROWS[name] for name in ("read", "count")}
ROWS |= {"fit": "toy_stages:Frail", "tolerant": "toy_stages:Tolerant", "after": "toy_stages:After"}
RECIPE = "name: toy\ndata: {file: numbers.txt}\n"


STUDENTS = "students: {a: {cutoff: 1.0}, b: {cutoff: 2.0}, c: {cutoff: 3.0}}"


def load(toy: Toy, students: str = STUDENTS) -> Recipe:
    toy.path.write_text(RECIPE + students)
    return load_recipe(toy.path, [], Registry("stage", ROWS))


def run(toy: Toy) -> RunResult:
    return run_recipe(load(toy), runs=toy.runs, progress=False)


def hashes(plan: Plan) -> dict[str, str]:
    return {task.id: task.hash for task in plan}


def test_a_plan_without_what_failed_is_another_plan_of_what_depends_on_it(toy: Toy) -> None:
    whole = make_plan(load(toy))
    reduced = make_plan(load(toy), failed=["fit[b,distilled,0]"])
    left = (FromTask("fit[a,distilled,0]", "model"), FromTask("fit[c,distilled,0]", "model"))
    assert reduced["tolerant"].inputs["models"] == left
    changed = {name for name, one in hashes(reduced).items() if hashes(whole)[name] != one}
    assert changed == {"tolerant", "after"}
    assert whole["tolerant"].missing == {} and "missing" not in whole["tolerant"].hash_inputs
    fewer = make_plan(load(toy, "students: {a: {cutoff: 1.0}, c: {cutoff: 3.0}}"))
    assert fewer["tolerant"].inputs == reduced["tolerant"].inputs
    assert fewer["tolerant"].hash != reduced["tolerant"].hash  # one says that b failed, the other knows no b
    every = [task.id for task in whole if task.stage == "fit"]
    assert hashes(make_plan(load(toy), failed=every)) == hashes(whole)  # nothing is left to go on with


def test_a_part_of_a_plan_stays_that_part(toy: Toy) -> None:
    whole = make_plan(load(toy))
    part = Plan(whole.recipe, [task for task in whole if task.stage in ("read", "count", "fit")])
    reduced = part.without(["fit[b,distilled,0]"])
    assert hashes(reduced) == hashes(part) and reduced.failed == {"fit[b,distilled,0]"}


def test_the_others_go_on_and_the_failed_one_is_said_and_tried_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_BROKEN", "b")
    with pytest.raises(UserError, match=r"b is broken.*done without it; the same command tries it again"):
        run(toy)
    assert toy.trace()[-2:] == ["tolerant", "after"]
    folder = toy.runs / "toy"
    assert (folder / "copy.txt").read_text() == "a c"
    summary = json.loads((folder / "summary.json").read_text())["tasks"]
    assert "b is broken" in summary["fit[b,distilled,0]"]["error"] and "error" not in summary["after"]
    assert summary["tolerant"]["summary"]["missing"] == ["b"]
    assert {one.id: one.state for one in run_status("toy", toy.runs)}["after"] == "done"
    # once more: only what failed is tried, and what was done without it is taken as it is
    with pytest.raises(UserError, match="b is broken"):
        run(toy)
    assert toy.trace() == ["b fails"]
    assert (folder / "copy.txt").read_text() == "a c"
    # mended, it takes part, and what was done without it is done again
    monkeypatch.setenv("TOY_BROKEN", "")
    run(toy)
    assert toy.trace() == ["fit 2 distilled 0", "tolerant", "after"]
    assert (folder / "copy.txt").read_text() == "a b c"


def test_where_all_fail_nothing_goes_on(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_BROKEN", "a b c")
    with pytest.raises(UserError, match=r"failed too\. 2 tasks could not be done for want of it"):
        run(toy)
    assert "tolerant" not in toy.trace()
    summary = json.loads((toy.runs / "toy" / "summary.json").read_text())["tasks"]
    assert summary["tolerant"]["skipped"] and summary["after"]["skipped"]
