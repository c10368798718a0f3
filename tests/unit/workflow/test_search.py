"""Searches: what may be searched, what is proposed, what is remembered, and who wins."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import toy_search
from toy_folder import Toy

from distill.base.errors import UserError, WorkError
from distill.workflow.recipe import Recipe, load_recipe
from distill.workflow.search_measure import Measured
from distill.workflow.search_proposals import Journal, Trial
from distill.workflow.search_recipe import SearchedRecipe
from distill.workflow.search_result import verdict
from distill.workflow.search_run import SearchOutcome, run_search
from distill.workflow.search_settings import SearchSettings
from distill.workflow.search_space import counts, initial_design, on_bounds

X, K, KIND = "students.bowl.x", "students.bowl.k", "students.bowl.kind"
SPACE: dict[str, Any] = {X: {"low": 0, "high": 1}, K: {"low": 1, "high": 9, "integer": True}, KIND: ["a", "b"]}


@pytest.fixture
def bowl(toy: Toy) -> Toy:
    """The toy recipe of searches in a folder of its own."""
    toy.path.write_text(toy_search.RECIPE)
    return toy


def asked(toy: Toy, **search: Any) -> Recipe:
    section = {"student": "bowl", "trials": 8, "initial": 4, "space": SPACE} | search
    return load_recipe(toy.path, {"name": "toy", "search": section}, toy_search.search_stages())


def run(recipe: Recipe, toy: Toy) -> SearchOutcome:
    return run_search(SearchedRecipe.of(recipe), runs=toy.runs, progress=False)


def table(folder: Path) -> list[dict[str, str]]:
    """The trials without the time that they took."""
    with (folder / "trials.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "train_s"} for row in csv.DictReader(file)]


def settings(space: Mapping[str, Any] = SPACE, **search: Any) -> SearchSettings:
    return SearchSettings.model_validate({"student": "bowl", "space": space} | search)


def searched(
    folder: Path, found: SearchSettings, error: Callable[[Mapping[str, Any]], float], seed: int = 0
) -> list[Trial]:
    """The trials of a search whose error is a function of the point."""
    journal = Journal(folder, "search", found, seed)
    for number in range(found.trials):
        value = error(journal.begin().point)
        journal.tell(number, [value], {"error": value})
    return journal.trials


def bowl_error(point: Mapping[str, Any]) -> float:
    return float((point[X] - 0.37) ** 2 + 0.01 * (point[K] - 4) ** 2 + 0.1 * (point[KIND] == "a") + 0.01)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"a": {"low": 1, "high": 1}}, "low must be below high"),
        ({"a": {"low": 1}}, "give low and high, or a list of choices"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "a logarithm needs low above 0"),
        ({"a": {"low": 1, "high": 2, "log": True, "step": 0.5}}, "log or step, not both"),
        ({"a": {"low": 1, "high": 2.5, "integer": True}}, "of integers are integers"),
        ({"a": ["x", "x"]}, "at least two choices, each once"),
        ({"a": {"choices": ["x", "y"], "low": 1}}, "a range .* or choices, not both"),
        ({"a": {"low": 1, "high": 2, "when": {"b": 1}}, "b": [1, 2]}, "must be searched too, and stand before it"),
        ({"b": [1, 2], "a": {"low": 1, "high": 2, "when": {"b": 3}}}, "b is never 3: its choices are 1, 2"),
    ],
)
def test_a_space_that_cannot_be_meant_is_refused(space: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(space)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"initial": 9}, "initial is 9, more than all 8 trials"),
        ({"prune": True}, "gp learns nothing from a pruned trial: use sampler: tpe"),
        ({"prune": True, "sampler": "tpe"}, r"trials of bowl have one seed. Set students\.bowl\.seeds: 3"),
        ({"student": "bow"}, "there is no student 'bow'. Did you mean 'bowl'"),
        ({"space": {"students.other.x": {"low": 0, "high": 1}}}, "would change what trials are judged by"),
        ({"space": {"students.bowl.seeds": [1, 2]}}, "changes nothing of what trials are judged by"),
        ({"space": {X: [0.1, "b"]}}, r"search\.space\.students\.bowl\.x: students\.bowl\.x must be a number"),
        (
            {"space": {K: {"low": 1, "high": 9}}},
            r"students\.bowl\.k must be a whole number, got 1\.0\. Add integer: true",
        ),
        ({"fidelity": {X: 0.5}}, "is in space and in fidelity"),
        ({"objective": {"alpha": 0.4, "on": "valid"}}, "bowl is judged on synthetic, not on valid"),
        ({"objective": ["error"]}, r"or \[error, ms_per_atom\]"),
        ({"tirals": 3}, "Did you mean 'trials'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(bowl: Toy, search: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(asked(bowl, **search), bowl)
    assert bowl.trace() == []


def test_a_recipe_has_sweep_or_search(bowl: Toy) -> None:
    recipe = asked(bowl).override({"sweep": {"grid": {X: [0.1, 0.2]}}}, "both")
    with pytest.raises(UserError, match="sweep or search, not both"):
        SearchedRecipe.of(recipe)


def test_the_initial_design_fills_the_space_evenly() -> None:
    found = initial_design(settings().space, 32, seed=1)
    assert found == initial_design(settings().space, 32, seed=1) != initial_design(settings().space, 32, seed=2)
    for part in range(4):  # of 32 points, each quarter has its share
        assert 6 <= sum(part / 4 <= point[X] < (part + 1) / 4 for point in found) <= 10
    assert {point[K] for point in found} == set(range(1, 10))
    assert 14 <= sum(point[KIND] == "a" for point in found) <= 18


def test_values_whose_condition_does_not_hold_do_not_count() -> None:
    space = settings(
        {"a": ["x", "y"], "b": {"choices": [1, 2], "when": {"a": "x"}}, "c": {"low": 0, "high": 1, "when": {"b": 1}}}
    ).space
    assert counts(space, {"a": "x", "b": 1, "c": 0.5}) == {"a": "x", "b": 1, "c": 0.5}
    assert counts(space, {"a": "x", "b": 2, "c": 0.5}) == {"a": "x", "b": 2}
    assert counts(space, {"a": "y", "b": 1, "c": 0.5}) == {"a": "y"}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_proposals_beat_the_initial_design_they_learn_from(tmp_path: Path, sampler: str) -> None:
    gains = []
    for seed in range(3):
        found = settings(trials=15, initial=6, sampler=sampler)
        errors = [trial.objectives[0] for trial in searched(tmp_path / str(seed), found, bowl_error, seed)]
        gains.append(1 - min(errors) / min(errors[:6]))
    assert sum(gains) / len(gains) > 0.1, gains


def test_what_failed_is_never_proposed_again_and_an_optimum_on_a_bound_is_named(tmp_path: Path) -> None:
    def slope(point: Mapping[str, Any]) -> float:
        return math.inf if point[X] > 0.6 else 0.1 + float(point[X])

    found = settings({X: {"low": 0, "high": 1}}, trials=12, initial=6)
    trials = searched(tmp_path, found, slope)
    failed = [trial.point[X] for trial in trials if trial.failed]
    assert len(failed) >= 2 and len({trial.point[X] for trial in trials}) == len(trials)
    best = min(trials, key=lambda trial: trial.objectives)
    (said,) = on_bounds(found.space, best.point)
    assert said.startswith(f"{X} of the best trial is 0, on the bound low: 0")


def test_three_settings_that_fail_are_tried_once_each(bowl: Toy) -> None:
    space = {X: [0.1, 0.95, 0.97, 0.99]}
    done = run(asked(bowl, space=space, fidelity={"students.bowl.fail_above": 0.9}, trials=9, initial=4), bowl)
    tried = [line for line in bowl.trace() if line.startswith("train")]
    assert sorted(line.split()[-1] for line in tried) == [
        "0.1",
        "0.1",
        "0.9",
        "0.95",
        "0.97",
        "0.99",
    ]
    assert done.said["failed"] >= 3 and done.said["best"]["values"] == {X: 0.1}
    assert run(asked(bowl, space=space, fidelity={"students.bowl.fail_above": 0.9}, trials=9, initial=4), bowl).ran == 0


def test_where_every_trial_fails_the_first_reason_is_said(bowl: Toy) -> None:
    recipe = asked(bowl, fidelity={"students.bowl.fail_above": -1.0}, trials=3, initial=2)
    with pytest.raises(WorkError, match="every trial failed, the first of them: students: x is too large"):
        run(recipe, bowl)


def test_a_failure_of_what_all_trials_need_ends_the_search(bowl: Toy) -> None:
    (bowl.folder / "numbers.txt").write_text("none")
    with pytest.raises(WorkError, match="could not convert"):
        run(asked(bowl), bowl)
    (bowl.folder / "numbers.txt").write_text("1")
    assert run(asked(bowl, trials=4), bowl).said["finished"]


def test_best_and_own_values_are_trained_in_full_and_the_recipe_is_written(bowl: Toy) -> None:
    recipe = asked(bowl, fidelity={"students.bowl.work": 1}, trials=5, initial=4)
    done = run(recipe, bowl)
    full = done.said["full"]
    assert full["default"]["error"] == pytest.approx((0.9 - 0.37) ** 2 + 0.09 + 0.1)
    assert full["best"]["error"] == pytest.approx(min(float(row["error"]) for row in table(done.folder)))
    assert "In full the best values won" in done.said["verdict"] and "one seed each" in done.said["verdict"]
    better = load_recipe(done.folder / "best.yaml", (), toy_search.search_stages())
    own = {key: better.value(key) for key in (X, K, KIND)}
    assert own == done.said["best"]["values"] and better.settings.search is None
    assert better.file("data.file") == bowl.folder / "numbers.txt" and better.name == "toy-best"
    assert better.value("students.bowl.work") == 0 and better.value("students.other.x") == 0.9
    trial = json.loads((done.folder / "variants" / "trial-0" / "summary.json").read_text())["recipe"]["students"]
    assert trial["bowl"]["work"] == 1 and "other" not in trial and not trial["bowl"]["direct"]


def test_more_trials_continue_a_search_and_another_space_is_another_one(bowl: Toy) -> None:
    first = table(run(asked(bowl, trials=5, initial=4), bowl).folder)
    bowl.trace()
    more = run(asked(bowl, trials=6, initial=4), bowl)
    assert table(more.folder)[:5] == first and len(table(more.folder)) == 6
    assert 1 <= len(bowl.trace()) <= 2  # one trial, and in full where it is the best
    other = run(asked(bowl, trials=4, initial=4, space={X: SPACE[X]}), bowl)
    assert K not in table(other.folder)[0]
    assert table(run(asked(bowl, trials=5, initial=4), bowl).folder) == first


def test_seeds_that_promise_little_are_not_trained(bowl: Toy) -> None:
    more = {"sampler": "tpe", "prune": True, "fidelity": {"students.bowl.seeds": 3}, "trials": 10, "initial": 4}
    done = run(asked(bowl, **more), bowl)
    rows = table(done.folder)
    pruned = [row for row in rows if row["state"] == "pruned"]
    trained = [line.split() for line in bowl.trace() if line.startswith("train")]
    assert pruned and all(row["message"] == "pruned after one seed" for row in pruned)
    for row in pruned:
        assert [words[3] for words in trained if words[4] == row[X]] == ["0"]
    full = [row for row in rows if row["state"] == "finished"]
    assert all(len([words for words in trained if words[4] == row[X]]) >= 3 for row in full)


def test_two_objectives_have_a_front(bowl: Toy) -> None:
    done = run(asked(bowl, objective=["error", "ms_per_atom"], sampler="nsga2", trials=9, initial=4), bowl)
    rows = {int(row["trial"]): (float(row["error"]), float(row["ms_per_atom"])) for row in table(done.folder)}
    for number in done.said["front"]:
        assert not any(a < rows[number][0] and b < rows[number][1] for a, b in rows.values())
    assert done.said["front"] and "milliseconds a step" in done.said["objective"]


def test_scatter_may_not_let_one_tell_who_won() -> None:
    def in_full(*errors: float) -> Measured:
        return Measured(errors=errors)

    assert verdict(in_full(1.0, 1.2), in_full(1.1, 1.3)).startswith("Cannot tell who won in full: 1.1 with")
    assert "do not overlap" in verdict(in_full(1.0, 1.1), in_full(1.2, 1.3))
    assert "recipe's own values won" in verdict(in_full(2.0), in_full(1.0))
    lost = Measured(message="it broke")
    assert verdict(lost, in_full(1.0)) == "The best values failed in full (it broke); the recipe's own did not."


def test_without_optuna_the_command_that_installs_it_is_said(bowl: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs Optuna.*pip install 'mlip-distill\[search\]'"):
        run(asked(bowl), bowl)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_the_same_trials(bowl: Toy, tmp_path: Path) -> None:
    """Killed within trial 7 of 10, it does that trial again, no other one, and what it proposes then is the same."""
    recipe = asked(bowl, trials=10, initial=5)
    unbroken = table(run_search(SearchedRecipe.of(recipe), runs=tmp_path / "unbroken", progress=False).folder)
    bowl.trace()
    section = json.dumps(recipe.raw["search"])
    bowl.path.write_text(f"{toy_search.RECIPE}search: {section}\n")
    command = [sys.executable, str(Path(__file__).with_name("toy_search_cli.py")), "search", "toy.yaml", "--quiet"]
    with bowl.held(7):
        process = subprocess.Popen(command, cwd=bowl.folder)
        bowl.started.append(process)  # type: ignore[arg-type]
        bowl.wait_for(lambda: (trace := bowl.folder / "trace.txt").exists() and trace.read_text().count("train") == 8)
        process.kill()
        process.wait()
    assert len(table(bowl.runs / "toy")) == 7
    begun = bowl.trace()
    assert subprocess.run(command, cwd=bowl.folder, check=False).returncode == 0
    assert table(bowl.runs / "toy") == unbroken
    again = [line for line in bowl.trace() if line.startswith("train")]
    assert again[0] == [line for line in begun if line.startswith("train")][-1]
    assert len(again) <= 3 + 2  # and the two in full
