"""Former names of keys: understood, said once, hashed as the present ones, and refused beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_folder import Toy
from toy_stages import RECIPE

import distill.api
from distill.base.errors import UserError
from distill.base.files import read_json, write_json
from distill.base.settings import Settings
from distill.potentials import POTENTIALS
from distill.potentials.interface.saving import load, save
from distill.stages import STAGES
from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
FORMER = RECIPE.replace("big: {cutoff: 6.0}", "big: {radius: 6.0}")


def hashes(recipe: Any) -> dict[str, str]:
    return {task.id: task.hash for task in make_plan(recipe)}


def test_a_former_name_means_the_same(toy: Toy) -> None:
    present = toy.load()
    toy.path.write_text(FORMER)
    former = toy.load()
    assert former.settings.students.big.cutoff == 6.0
    assert hashes(former) == hashes(present)
    assert former.notes == ["students.big.radius is now called cutoff; the old name works until version 0.3"]
    assert present.notes == []


def test_real_keys_keep_their_former_names() -> None:
    old = ["students.painn.core=false", "students.painn.steps_per_round=7", "teacher.finetune.steps_per_round=5"]
    new = [
        "students.painn.short_range_repulsion=false",
        "students.painn.validation_interval=7",
        "teacher.finetune.validation_interval=5",
    ]
    former, present = load_recipe(QUICKSTART, old), load_recipe(QUICKSTART, new)
    assert hashes(former) == hashes(present) != hashes(load_recipe(QUICKSTART))
    assert len(former.notes) == 3 and not present.notes


def test_both_names_together_are_refused(toy: Toy) -> None:
    toy.path.write_text(RECIPE.replace("big: {cutoff: 6.0}", "big: {cutoff: 6.0, radius: 6.0}"))
    with pytest.raises(
        UserError, match=r"toy\.yaml:9: students\.big: radius is the former name of cutoff\. Give cutoff alone"
    ):
        toy.load()


def test_a_wrong_value_is_named_by_the_present_name_and_its_line(toy: Toy) -> None:
    toy.path.write_text(RECIPE.replace("  big: {cutoff: 6.0}", "  big:\n    radius: far"))
    with pytest.raises(UserError, match=r'toy\.yaml:10: students\.big\.cutoff must be a number, got "far"'):
        toy.load()


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_the_user_is_told_once(toy: Toy, verb: str) -> None:
    toy.path.write_text(FORMER)
    code, said = toy.call(verb, "toy.yaml")
    assert code == 0
    assert said.count("warning: students.big.radius is now called cutoff; the old name works until version 0.3") == 1


def test_a_notebook_is_told(tmp_path: Path) -> None:
    text = QUICKSTART.read_text().replace("../data", str(QUICKSTART.parents[1] / "data"))
    assert "arch: painn" in text
    path = tmp_path / "former.yaml"
    path.write_text(text.replace("arch: painn", "arch: painn\n    core: false"))
    with pytest.warns(FutureWarning, match=r"students\.painn\.core is now called short_range_repulsion"):
        distill.api.plan(path)


def test_a_model_saved_with_former_names_is_read(tmp_path: Path) -> None:
    row = POTENTIALS["painn"]
    settings = row.Settings(channels=8, layers=1, radial_features=4, cutoff=4.0, short_range_repulsion=False)
    save(row.build(settings, 0), tmp_path, {})
    description = read_json(tmp_path / "model.json")
    description["settings"]["core"] = description["settings"].pop("short_range_repulsion")
    write_json(tmp_path / "model.json", description)
    assert load(tmp_path).settings == settings


def classes(one: type[Settings]) -> Iterator[type[Settings]]:
    yield one
    for inner in one.__subclasses__():
        yield from classes(inner)


def test_every_former_name_leads_to_a_key() -> None:
    list(STAGES.values())
    list(POTENTIALS.values())
    renamed = [one for one in classes(Settings) if one.former_names()]
    assert renamed
    for one in renamed:
        assert set(one.former_names().values()) <= set(one.model_fields), one
        assert not one.former_names().keys() & one.model_fields.keys(), one
