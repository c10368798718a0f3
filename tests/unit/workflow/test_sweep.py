"""Sweeps: which variants there are, what they share, and what becomes of the others when one fails."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import toy_stages
from toy_folder import Toy

from distill.base.errors import UserError
from distill.base.registry import Registry
from distill.workflow.plan import make_plan
from distill.workflow.recipe import Recipe, load_recipe
from distill.workflow.status import run_status
from distill.workflow.sweep import points, swept_keys, variants_of
from distill.workflow.sweep_run import SweepOutcome, SweptRecipe, run_sweep
from distill.workflow.sweep_settings import SweepSettings


def swept(toy: Toy, until: str = "total", **sweep: Any) -> Recipe:
    return toy.load().override({"sweep": {"until": until, **sweep}}, name="sweep")


def run(recipe: Recipe, toy: Toy) -> SweepOutcome:
    return run_sweep(SweptRecipe.of(recipe), runs=toy.runs, progress=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


GRID = {"students.big.cutoff": [4.0, 5.0], "count.steps": [2, 3, 4]}


def test_a_grid_is_multiplied_a_zip_goes_together_and_names_are_taken() -> None:
    found = points(
        SweepSettings(
            grid={"a.x": [1, 2]},
            zip=[{"b.y": [3, 4], "c.y": [5, 6]}],
            variants={"small": {"d": 1}, "large": {"d": 2}},
            exclude=[{"a.x": 1, "d": 2}],
        )
    )
    assert [one.name for one in found] == [
        "small_x-1_b.y-3_c.y-5",
        "small_x-1_b.y-4_c.y-6",
        "small_x-2_b.y-3_c.y-5",
        "small_x-2_b.y-4_c.y-6",
        "large_x-2_b.y-3_c.y-5",
        "large_x-2_b.y-4_c.y-6",
    ]
    assert found[-1].values == {"d": 2, "a.x": 2, "b.y": 4, "c.y": 6}


def test_repetitions_are_other_seeds_and_names_stay_different() -> None:
    found = points(SweepSettings(grid={"a": ["x y", "x/y"]}, repeat=2))
    assert [one.name for one in found] == ["a-x-y", "a-x-y.2", "a-x-y_repeat-1", "a-x-y.2_repeat-1"]
    assert [one.repeat for one in found] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({}, "nothing is varied"),
        ({"grid": {"a": [1, 1]}}, r"sweep\.grid: a has the value 1 twice"),
        ({"grid": {"a": [1]}, "zip": [{"a": [2]}]}, "a is varied twice"),
        ({"grid": {"seed": [1, 2]}}, "name and seed are not varied. repeat does the whole chain"),
        ({"grid": {"a": [1]}, "exclude": [{"a": 1}]}, "every variant is excluded"),
        ({"grid": {"a": [1]}, "exclude": [{"b": 1}]}, "b is not varied"),
        ({"grid": {"a": [1]}, "exclude": [{"a": 3}]}, "a is never 3. Its values are 1"),
        ({"grid": {"a": [1]}, "exclude": [{}]}, "an empty entry excludes everything"),
        ({"grid": {"a": list(range(200)), "b": list(range(200))}}, "40000 variants"),
    ],
)
def test_what_cannot_be_meant_is_refused(sweep: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        points(SweepSettings(**sweep))


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("grid: {count.steps: 4}", r"toy\.yaml:\d+: sweep\.grid\.count\.steps must be a list"),
        ("grid: {count.steps: []}", r"sweep\.grid\.count\.steps"),
        ("zip: [{a: [1, 2], b: [1]}]", "equally many values: a has 2, b has 1"),
        ("gird: {}", "sweep.gird is not a known key. Did you mean 'grid'"),
        ("variants: {../x: {a: 1}}", "'../x' cannot name a variant"),
    ],
)
def test_the_section_is_validated_with_the_recipe(toy: Toy, sweep: str, said: str) -> None:
    toy.path.write_text(f"{toy_stages.RECIPE}sweep: {{{sweep}}}\n")
    with pytest.raises(UserError, match=said):
        toy.load()


def test_every_variant_is_validated_before_any_work(toy: Toy) -> None:
    with pytest.raises(UserError, match=r"variant cutoff-x: students\.big\.cutoff must be a number"):
        run(swept(toy, grid={"students.big.cutoff": [4.0, "x"]}), toy)
    with pytest.raises(UserError, match=r"sweep\.until: there is no stage 'totl'. Did you mean 'total'"):
        run(swept(toy, "totl", grid=GRID), toy)
    assert toy.trace() == []


def test_what_variants_share_is_done_once_and_a_second_time_nothing(toy: Toy) -> None:
    recipe = swept(toy, grid=GRID)
    plan = SweptRecipe.of(recipe).plan()
    counts = Counter(task.stage for task in plan)
    # big depends on both keys, small (two seeds) on the steps alone; with a cut-off of 4 the first of them are the same
    assert counts == {"read": 1, "count": 3, "fit": 9, "judge": 9, "dynamics": 9, "total": 6}
    assert plan.planned == 6 * 12 and len({task.hash for task in plan}) == len(plan)
    done = run(recipe, toy)
    seen = Counter(line.split()[0] for line in toy.trace())
    assert {name: seen[name] for name in ("read", "count", "fit", "judge", "total")} == {
        "read": 1,
        "count": 3,
        "fit": 9,
        "judge": 9,
        "total": 6,
    }
    assert len(done.ran) == len(plan) and not done.failures
    again = run(recipe, toy)
    assert not again.ran and len(again.cached) == len(plan) and toy.trace() == []


def test_the_largest_is_grown_first_and_the_others_are_parts_of_it(toy: Toy) -> None:
    run(swept(toy, "count", grid={"count.steps": [2, 4, 3]}), toy)
    # the first one does four steps, and the others find them
    assert Counter(toy.trace()) == Counter(["read", *["count"] * 3, *[f"step {k}" for k in range(4)]])


def test_a_variant_is_as_the_same_recipe_would_be_run_alone(toy: Toy) -> None:
    done = run(swept(toy, grid=GRID), toy)
    one = done.folder / "variants" / "cutoff-5.0_steps-3"
    alone = make_plan(toy.load().override({"students.big.cutoff": 5.0, "count.steps": 3})).until(["total"])
    said = json.loads((one / "plan.json").read_text())["tasks"]
    assert {name: task["hash"] for name, task in said.items()} == {task.id: task.hash for task in alone}
    assert (one / "table.csv").read_text().startswith("big,0,5.0") and (one / "models" / "big").is_dir()
    summary = json.loads((one / "summary.json").read_text())
    assert set(summary["tasks"]) == set(said) and summary["recipe"]["count"]["steps"] == 3
    assert {state.state for state in run_status(one)} == {"done"}
    assert {state.state for state in run_status("sweep", toy.runs)} == {"done"}


def test_a_variant_that_is_no_longer_wanted_loses_its_folder_and_not_its_results(toy: Toy) -> None:
    done = run(swept(toy, "count", grid={"count.steps": [2, 3]}), toy)
    (done.folder / "variants" / "steps-2" / "mine.txt").write_text("notes")
    done = run(swept(toy, "count", grid={"count.steps": [4]}), toy)
    left = {str(path.relative_to(done.folder)) for path in (done.folder / "variants").rglob("*") if path.is_file()}
    assert "variants/steps-2/mine.txt" in left and "variants/steps-4/summary.json" in left
    assert not any("steps-3" in name for name in left) and "variants/steps-2/plan.json" not in left
    assert not run(swept(toy, "count", grid={"count.steps": [2, 3]}), toy).ran


def test_one_variant_that_fails_stops_no_other(toy: Toy) -> None:
    done = run(swept(toy, grid={"count.fail": ["no", "bug"], "students.big.cutoff": [4.0, 5.0]}), toy)
    assert [row["task"] for row in done.failures] == ["count"]
    (lost,) = rows(done.folder / "failures.csv")
    assert lost["count.fail"] == "bug" and lost["students.big.cutoff"] == ""  # both variants with the bug share it
    assert lost["status"] == "failed" and "ZeroDivisionError" in lost["message"]
    for name in ("fail-no_cutoff-4.0", "fail-no_cutoff-5.0"):
        assert (done.folder / "variants" / name / "table.csv").exists()
    summary = json.loads((done.folder / "variants" / "fail-bug_cutoff-4.0" / "summary.json").read_text())["tasks"]
    assert "ZeroDivisionError" in summary["count"]["error"] and summary["total"]["skipped"] == "count failed"
    toy.trace()
    again = run(swept(toy, grid={"count.fail": ["no", "bug"], "students.big.cutoff": [4.0, 5.0]}), toy)
    assert toy.trace() == ["count"] and again.failures  # what failed is tried again, and nothing else


def test_members_that_fail_are_done_without_in_every_variant(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Registry(
        "stage",
        {name: toy_stages.ROWS[name] for name in ("read", "count")}
        | {"fit": "toy_stages:Frail", "tolerant": "toy_stages:Tolerant", "after": "toy_stages:After"},
    )
    toy.path.write_text("name: toy\ndata: {file: numbers.txt}\nstudents: {a: {cutoff: 1.0}, b: {cutoff: 2.0}}\n")
    recipe = load_recipe(toy.path, {"sweep": {"until": "after", "grid": {"students.a.cutoff": [1.0, 3.0]}}}, stages)
    monkeypatch.setenv("TOY_BROKEN", "b")
    done = run(recipe, toy)
    assert [row["task"] for row in done.failures] == ["fit[b,distilled,0]"]
    for name in ("cutoff-1.0", "cutoff-3.0"):
        assert (done.folder / "variants" / name / "copy.txt").read_text() == "a"
    monkeypatch.setenv("TOY_BROKEN", "")
    mended = run(recipe, toy)
    assert not mended.failures and (mended.folder / "variants" / "cutoff-3.0" / "copy.txt").read_text() == "a b"


def test_variants_know_the_values_that_they_leave_as_they_are(toy: Toy) -> None:
    recipe = swept(toy, variants={"one": {"count.steps": 2}, "two": {"students.big.cutoff": 5.0}}, repeat=2)
    found = variants_of(recipe)
    assert swept_keys(recipe.settings.sweep) == ["count.steps", "students.big.cutoff"]
    assert [(v.name, v.values, v.repeat, v.recipe.seed) for v in found] == [
        ("one", {"count.steps": 2, "students.big.cutoff": 6.0}, 0, 3),
        ("two", {"count.steps": 4, "students.big.cutoff": 5.0}, 0, 3),
        ("one_repeat-1", {"count.steps": 2, "students.big.cutoff": 6.0}, 1, 4),
        ("two_repeat-1", {"count.steps": 4, "students.big.cutoff": 5.0}, 1, 4),
    ]
