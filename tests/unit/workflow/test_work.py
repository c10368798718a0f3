"""A submission carries the settings that were validated, and nothing else of the recipe; a work folder that was left
behind is continued by the same packages and made again by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_folder import Toy

from distill.base.errors import UserError
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.store import Store
from distill.workflow.work import Submission, _open_work, _settings, make_submission

RECIPES = Path(__file__).parents[3] / "recipes"
ORIGIN = {"versions": {"torch": "2.1"}, "kin": ""}


def test_the_same_packages_continue(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work, ORIGIN)
    (work / "out" / "journal").write_text("half done")
    _open_work(work, ORIGIN)
    assert (work / "out" / "journal").read_text() == "half done"


def test_other_packages_begin_again(tmp_path: Path) -> None:
    work = tmp_path / "work"
    _open_work(work, ORIGIN)
    (work / "out" / "journal").write_text("half done")
    _open_work(work, ORIGIN | {"versions": {"torch": "2.2"}})
    assert (work / "out").is_dir()
    assert not (work / "out" / "journal").exists()


def submissions(plan: Plan, folder: Path) -> list[Submission]:
    """The submissions of all tasks, as they arrive in a worker."""
    made = [make_submission(plan, task, Store(folder), "cpu", 1) for task in plan]
    return [Submission(**json.loads(json.dumps(submission.as_data()))) for submission in made]


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("quickstart", ["trainer.loggers=[tensorboard]", "teacher.finetune.replay={file: ../data/silicon/test.xyz}"]),
        ("quickstart", ["students.painn.seeds=2", "synthetic.surrogate={student: painn}", "data.accept=[]"]),
        ("quickstart", ["benchmark.structure=../data/silicon/test.xyz", "synthetic.min_separation={Si-Si: 1.5}"]),
        ("quickstart-ace", []),
    ],
)
def test_settings_arrive_as_they_were_validated(recipe: str, overrides: list[str], tmp_path: Path) -> None:
    plan = make_plan(load_recipe(RECIPES / f"{recipe}.yaml", overrides))
    for task, submission in zip(plan, submissions(plan, tmp_path), strict=True):
        arrived = _settings(plan.recipe.stages[task.stage], submission)
        assert arrived == task.settings and type(arrived) is type(task.settings), task.id
        assert submission.seed == plan.recipe.seed


def test_a_submission_holds_what_hashes_leave_out_and_nothing_of_other_tasks(toy: Toy) -> None:
    plan = make_plan(toy.load("machinery.logs=[stone]"))
    by_id = {submission.id: submission for submission in submissions(plan, toy.runs)}
    assert by_id["fit[big,distilled,0]"].settings == {"cutoff": 6.0, "machinery": {"parts": 1, "logs": ["stone"]}}
    assert by_id["count"].settings.keys() == {"steps", "pause_s", "fail", "scale"}


def test_settings_that_do_not_hold_where_the_work_is_done_are_refused_with_their_key(toy: Toy) -> None:
    plan = make_plan(toy.load())
    submission = next(submission for submission in submissions(plan, toy.runs) if submission.id == "count")
    submission.settings["steps"] = 0
    with pytest.raises(UserError, match=r"count: steps must be greater than or equal to 1, got 0"):
        _settings(plan.recipe.stages["count"], submission)
