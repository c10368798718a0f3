"""What every stage promises: its declarations join up, every setting is read, nothing heavy is imported to plan."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Set
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from pydantic import BaseModel

from distill.potentials import POTENTIALS, names
from distill.stages import STAGES
from distill.stages.base import FitSettings, LossSettings, Stage

NAMES = list(STAGES)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_outputs_of_earlier_stages(name: str) -> None:
    stage: type[Stage] = STAGES[name]
    for spec in stage.inputs.values():
        for reference in [spec] if isinstance(spec, str) else spec.values():
            if not reference.startswith("recipe:"):
                source, _, output = reference.partition("@")[0].partition(".")
                # its own only from the task of another variant, which the plan puts before it
                assert NAMES.index(source) < NAMES.index(name) or (source == name and "@" in reference)
                assert not output or output in STAGES[source].outputs


@pytest.mark.parametrize("name", NAMES)
def test_published_outputs_exist(name: str) -> None:
    assert set(STAGES[name].publish) <= set(STAGES[name].outputs)


def models(annotation: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    """Yield the settings classes that a type annotation holds, those inside them included."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation, seen)
    for inner in getattr(annotation, "__args__", ()):
        yield from models(inner, seen)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name: str) -> None:
    for model in models(STAGES[name].Settings, set()):
        for key, field in model.model_fields.items():
            assert field.description or key == "kind", f"{model.__name__}.{key}"


PASSED_ON: dict[str, str] = {
    "distill.stages.base:FitSettings": "distill.training.gradient.fit:fit",
    "distill.stages.base:LossSettings": "distill.training.gradient.losses:LossWeights",
    "distill.stages.generate:Generate.Settings": "distill.sampling.rules:GrowthRules",
    "distill.stages.check:Keys": "distill.structures.read:LabelKeys",
    "distill.stages.start:Crystal": "ase.build:bulk",
    "distill.stages.static_kinds:Dimers": "distill.statics.dimers:dimers",
    "distill.stages.static_kinds:Elastic": "distill.statics.elastic:elastic",
    "distill.stages.static_kinds:Phonons": "distill.statics.phonons:phonons",
    "distill.stages.static_kinds:Barrier": "distill.statics.barrier:barrier",
    "distill.stages.static_kinds:Formation": "distill.statics.formation:formation",
    "distill.stages.static_kinds:Relaxation": "distill.statics.elastic:elastic",
    "distill.training.refinement:RefineByGradients": "distill.training.gradient.fit:fit",
    "distill.training.refinement:RefineInBatches": "distill.training.ace.settings:Batches",
}
"""Settings that are handed on as a whole, to what has to take each of them by its name."""

READERS = {
    "distill.training.ace.settings": ("distill.training.ace.fit",),
    "distill.stages.train": ("distill.stages.fitting", "distill.stages.students"),
    "distill.stages.students": ("distill.stages.fitting",),
    "distill.stages.static_kinds": ("distill.stages.statics",),
    "distill.stages.teacher": ("distill.stages.tuning", "distill.stages.members"),
}
"""Modules of settings that lie beside the code that reads them."""

RECIPES = {"train": {"painn": {"arch": "painn"}, "ace": {"arch": "ace"}}}
"""Sections that stand for all of a stage whose settings depend on them."""


def passed_on(model: type[BaseModel]) -> set[str]:
    """Return the fields of a settings class that something takes by their names."""
    taken: set[str] = set()
    for base in model.__mro__:
        target = PASSED_ON.get(f"{base.__module__}:{base.__qualname__}")
        if target is not None:
            taken |= set(base.model_fields) & set(inspect.signature(resolve_name(target)).parameters)
    return taken


def attributes(source: str) -> set[str]:
    """Return the names of the attributes that a program reads, methods that it calls left out."""
    tree = ast.parse(source)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called
    }
    # getattr(settings, name) for each name that is written out
    by_name = [node for node in ast.walk(tree) if isinstance(node, ast.DictComp) and "getattr" in ast.unparse(node)]
    return read | {node.value for one in by_name for node in ast.walk(one) if isinstance(node, ast.Constant)}


def unread(model: type[BaseModel], source: str, references: Set[str] = frozenset()) -> list[str]:
    """Return the fields that neither the source reads, nor another function takes, nor an input of a stage names."""
    known = attributes(source) | passed_on(model) | references | {"kind"}  # what tells settings apart
    return [key for key in model.model_fields if key not in known]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_read(name: str) -> None:
    """A field is read by its name in the stage's source, or passed on as a whole to a function that has to take it."""
    stage = STAGES[name]
    references = {
        spec.rpartition(".")[2]
        for spec in stage.inputs.values()
        if isinstance(spec, str) and spec.startswith("recipe:")
    }
    section = stage.section_type(RECIPES[name]) if name in RECIPES else stage.Settings
    of_stages = {
        base
        for model in models(section, set())
        for base in model.__mro__
        if base.__module__.startswith(("distill.stages", "distill.training"))
    }
    assert of_stages or not stage.Settings.model_fields
    files = {inspect.getfile(stage), *map(inspect.getfile, of_stages)}
    readers = {reader for base in of_stages for reader in READERS.get(base.__module__, ())}
    files |= {str(import_module(reader).__file__) for reader in readers}
    source = "\n".join(
        Path(file).read_text().replace("from __future__ import annotations", "") for file in sorted(files)
    )
    for model in of_stages:
        assert unread(model, source, references) == [], model.__qualname__


def test_a_setting_that_is_not_read_is_found() -> None:
    """Neither a longer name, nor a method, an import, a comment or a text is a use of a setting."""

    class Planted(FitSettings):
        speed: float = 1.0
        size: int = 1
        used: int = 1
        listed: int = 1

    source = """
from some.speed import anything  # settings.speed
text = "settings.speed" + str(settings.speed_of_light) + settings.speed()
settings.size = settings.used
values = {name: getattr(settings, name) for name in ("listed",)}
"""
    assert unread(Planted, source) == ["loss", "speed", "size"]


def growth_rules() -> Any:
    return import_module("distill.sampling.rules").GrowthRules


def test_the_fit_takes_every_fit_setting() -> None:
    fit = import_module("distill.training.gradient.fit").fit
    assert set(FitSettings.model_fields) - {"loss"} <= set(inspect.signature(fit).parameters)


def test_growth_rules_take_every_setting_of_generation() -> None:
    grow = inspect.signature(import_module("distill.sampling.grow").grow).parameters
    assert set(STAGES["generate"].Settings.model_fields) <= {f.name for f in fields(growth_rules())} | set(grow)


def test_what_extends_a_growth_does_not_shape_its_trees() -> None:
    """Otherwise a growth would be continued with other rules."""
    shaping = growth_rules()(1, 300.0, (0.1, 0.2)).shaping()
    assert "structures" in STAGES["generate"].extends
    assert not set(STAGES["generate"].extends) & set(shaping)


def test_loss_settings_are_the_loss_weights() -> None:
    weights = import_module("distill.training.gradient.losses").LossWeights()
    assert LossSettings().model_dump() == {f.name: getattr(weights, f.name) for f in fields(weights)}


def test_label_keys_are_those_of_the_reader() -> None:
    keys = import_module("distill.stages.check").Keys
    assert set(keys.model_fields) == {f.name for f in fields(import_module("distill.structures.read").LabelKeys)}


def test_crystals_are_what_ase_builds() -> None:
    from ase.build import bulk

    crystal = import_module("distill.stages.start").Crystal
    assert set(crystal.model_fields) <= set(inspect.signature(bulk).parameters)


@pytest.mark.parametrize("arch", names("student"))
def test_student_settings_join_architecture_and_fit(arch: str) -> None:
    own = set(POTENTIALS[arch].Settings.model_fields)
    assert own
    assert not own & set(FitSettings.model_fields), "an architecture's setting would shadow one of the fit"
