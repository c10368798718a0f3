"""Which simulations there are, and what they leave."""

from __future__ import annotations

from pathlib import Path

from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.tasks import FromTask

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


def test_the_teacher_is_asked_once_and_has_no_dynamics() -> None:
    plan = make_plan(load_recipe(QUICKSTART, overrides=["students.painn.seeds=2"]))
    runs = {task.id: task.inputs["model"] for task in plan.of_stage("simulate")}
    assert [name for name in runs if "teacher" in name] == [f"simulate[teacher,finetuned,0,{run}]" for run in (2, 3, 4)]
    assert runs["simulate[teacher,finetuned,0,2]"] == FromTask("finetune", "model")
    assert runs["simulate[painn,direct,1,0]"] == FromTask("train[painn,direct,1]", "model")
    assert len(runs) == 3 + 3 * 2 * 5
