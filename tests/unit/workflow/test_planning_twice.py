"""What one process plans a second time is what it would have planned first: nothing kept from before is out of date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from toy_folder import Toy
from toy_stages import Count, CountSection

from distill.base.errors import UserError
from distill.base.settings import Settings, compose
from distill.potentials import POTENTIALS
from distill.potentials.settings import StudentSettings
from distill.potentials.students.painn import PaiNN
from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


def test_equal_arguments_compose_one_class_and_a_class_of_the_same_name_another() -> None:
    class Part(Settings):
        a: int = 1

    first = Part
    assert compose("Whole", Part, b=float) is compose("Whole", Part, b=float)
    assert compose("Whole", Part, b=float) is not compose("Whole", Part, b=int)

    class Part(Settings):  # type: ignore[no-redef]
        c: str = ""

    assert set(compose("Whole", first, b=float).model_fields) == {"a", "b"}
    assert set(compose("Whole", Part, b=float).model_fields) == {"c", "b"}


def test_a_composed_field_is_required() -> None:
    with pytest.raises(ValueError, match="Field required"):
        compose("Whole", Settings, b=float)()


def test_a_file_that_keeps_its_size_and_time_is_read_again(toy: Toy) -> None:
    data = toy.folder / "numbers.txt"
    before, times = make_plan(toy.load()), data.stat()
    data.write_text("4 5 6")
    os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert data.stat().st_size == times.st_size and data.stat().st_mtime_ns == times.st_mtime_ns
    assert make_plan(toy.load())["read"].hash != before["read"].hash
    data.write_text("1 2 3")
    assert [task.hash for task in make_plan(toy.load())] == [task.hash for task in before]


def test_a_changed_recipe_is_read_again(toy: Toy) -> None:
    text = toy.path.read_text()
    assert toy.load().value("count.steps") == 4
    toy.path.write_text(text.replace("steps: 4", "steps: 5"))
    assert toy.load().value("count.steps") == 5
    toy.path.write_text(text.replace("steps: 4", "steps: none"))
    for _ in range(2):
        with pytest.raises(UserError, match=r"count\.steps must be a whole number"):
            toy.load()
    toy.path.write_text(text)
    assert toy.load().value("count.steps") == 4


def test_overrides_and_changes_of_what_was_read_stay_with_their_recipe(toy: Toy) -> None:
    plain = toy.load().raw
    changed = toy.load("count.steps=9", "students.big.cutoff=7.0", "students.third={}").raw
    changed["students"]["small"]["seeds"] = 5
    assert toy.load().raw == plain
    assert "third" not in toy.load().sections["students"].model_dump()


def test_a_stage_whose_settings_change_is_asked_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    class More(CountSection):
        steps: int = Field(7, ge=1)
        depth: int = 2

    assert "depth" not in toy.load().resolved()["count"]
    monkeypatch.setattr(Count, "section_type", classmethod(lambda cls, raw: More))
    assert toy.load("count.depth=3").value("count.depth") == 3
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"count\.depth is not a known key"):
        toy.load("count.depth=3")


class Wider(PaiNN):
    """PaiNN with settings of its own."""

    class Settings(StudentSettings):
        """A knob that PaiNN has not."""

        knob: int = 1


def test_a_patched_table_of_potentials_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*overrides: str) -> dict[str, Any]:
        settings = make_plan(load_recipe(QUICKSTART, overrides))["train[painn,distilled,0]"].settings
        return dict(settings.model_dump())

    before = fit()
    monkeypatch.setitem(POTENTIALS.rows, "painn", f"{__name__}:Wider")
    assert fit("students.painn.knob=3")["knob"] == 3
    monkeypatch.undo()
    assert fit() == before and "knob" not in before
    monkeypatch.delitem(POTENTIALS.rows, "painn")
    with pytest.raises(UserError, match="unknown architecture 'painn'"):
        fit()


def test_a_name_that_becomes_another_architecture_has_its_settings() -> None:
    def settings(arch: str) -> dict[str, Any]:
        recipe = load_recipe(QUICKSTART, [f"students={{one: {{arch: {arch}}}}}"])
        return dict(make_plan(recipe)["train[one,distilled,0]"].settings.model_dump())

    first = settings("painn")
    assert settings("eddp").keys() != first.keys()
    assert settings("painn") == first


def test_a_task_is_found_by_its_id_alone(toy: Toy) -> None:
    plan = make_plan(toy.load("students.big.direct=true", "students.small.seeds=3"))
    assert [plan[task.id] for task in plan] == list(plan) and len(plan) == len({task.id for task in plan})
    assert [task.id for task in plan.of_stage("fit")] == [task.id for task in plan if task.stage == "fit"]
    assert list(plan.of_stage("no such stage")) == []
    with pytest.raises(UserError, match=r"no task 'fit\[small\]'\. Did you mean 'fit\[small"):
        plan["fit[small]"]
