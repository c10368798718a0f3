"""Values of a recipe that are replaced: from texts and from Python, with names that tell one run from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_folder import Toy

from distill.base.errors import UserError
from distill.workflow.overrides import LONGEST, as_values, folder_name, name_of, replaced, short_names
from distill.workflow.recipe import load_recipe
from distill.workflow.rundir import previous_plan
from distill.workflow.runner import run_recipe


@pytest.mark.parametrize(
    "given",
    [
        ["a.b=4.5", "c=[1, 2]"],
        {"a.b": 4.5, "c": (1, 2)},
        {"a.b": np.float64(4.5), "c": np.array([1, 2])},
        ("a.b=1", "a.b=4.5", "c=[1,2]"),
    ],
)
def test_texts_and_mappings_say_the_same(given: Any) -> None:
    assert as_values(given) == {"a.b": 4.5, "c": [1, 2]}


def test_a_single_text_is_one_override() -> None:
    assert as_values("students.painn.cutoff=4.5") == {"students.painn.cutoff": 4.5}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cutoff", r"--set cutoff: must be KEY=VALUE"),
        ([{"a": 1}], r'\{\'a\': 1\} is no override. Give texts "key=value", or \{"key": value\}'),
        (4, r"overrides cannot be 4"),
        ({3: 1}, r"3 is no dotted key"),
        ({"a..b": 1}, r"'a..b' is no dotted key"),
        ({"a": object}, r"a: a recipe cannot hold <class 'object'>"),
        ({"a": float("nan")}, r"a: a recipe cannot hold nan"),
    ],
)
def test_what_is_no_override_is_said(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        as_values(given)


def test_a_star_is_every_name_and_the_recipe_stays_as_it_is() -> None:
    raw = {"students": {"a": {"cutoff": 1}, "b": {}}, "runs": [{"ps": 1}]}
    changed, places = replaced(raw, {"students.*.cutoff": 4, "runs.0.ps": 2, "new.deep": [1]})
    assert changed == {
        "students": {"a": {"cutoff": 4}, "b": {"cutoff": 4}},
        "runs": [{"ps": 2}],
        "new": {"deep": [1]},
    }
    assert raw == {"students": {"a": {"cutoff": 1}, "b": {}}, "runs": [{"ps": 1}]}
    assert set(places) == {
        ("students", "a", "cutoff"),
        ("students", "b", "cutoff"),
        ("runs", "0", "ps"),
        ("new", "deep"),
    }
    with pytest.raises(UserError, match="nothing in teachers that"):
        replaced(raw, {"teachers.*.steps": 4})


def test_names_are_the_shortest_that_differ() -> None:
    assert short_names(["students.painn.cutoff", "synthetic.structures"]) == {
        "students.painn.cutoff": "cutoff",
        "synthetic.structures": "structures",
    }
    both = {"students.painn.cutoff": 4.5, "students.ace.cutoff": 5, "synthetic.sigma": [0.1, 0.2]}
    assert name_of(both) == "painn.cutoff-4.5_ace.cutoff-5_sigma-0.1-0.2"
    assert name_of({"students.*.direct": False, "students.painn.start": None}) == "direct-false_start-null"


@given(st.text(min_size=1, max_size=200))
def test_every_name_is_one_of_a_folder(text: str) -> None:
    name = folder_name(f"a{text}")
    assert 1 <= len(name) <= LONGEST and "/" not in name and not name.startswith(".")


def test_long_names_that_differ_at_the_end_stay_different() -> None:
    assert folder_name("a" * 200 + "1") != folder_name("a" * 200 + "2")


def test_a_changed_recipe_has_a_run_of_its_own_and_is_compared_with_the_one_it_came_from(toy: Toy) -> None:
    run_recipe(toy.load(), runs=toy.runs, progress=False)
    before = (toy.runs / "toy" / "count.txt").read_text()
    changed = toy.load().override({"count.steps": 6})
    assert changed.name == "toy+steps-6" and changed.base == "toy" and toy.load().raw["count"]["steps"] == 4
    assert previous_plan(changed, toy.runs) == previous_plan(toy.load(), toy.runs)
    done = run_recipe(changed, runs=toy.runs, progress=False)
    assert done.folder.name == "toy+steps-6" and (toy.runs / "toy" / "count.txt").read_text() == before
    assert (done.folder / "count.txt").read_text() != before


def test_where_tasks_run_makes_no_other_run(toy: Toy) -> None:
    assert toy.load().override({"executor.workers": 1}).name == "toy"
    assert toy.load().override({"executor.workers": 1}, name="mine").name == "mine"
    assert load_recipe(toy.path, ["name=yours"], toy.load().stages).name == "yours"


def test_an_error_names_the_override(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set count\.steps=none: count\.steps must be a whole number"):
        toy.load().override({"count.steps": "none"})
    with pytest.raises(UserError, match=r"variant x: count\.stepz is not a known key"):
        toy.load().override({"count.stepz": 4}, "x", "variant x")
    with pytest.raises(UserError, match=r"--set students\.bigg\.cutof=4: students\.bigg\.cutof is not a known key"):
        toy.load().override({"students.bigg.cutof": 4})
