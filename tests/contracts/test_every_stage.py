"""What every stage promises: its declarations join up, every setting is read, nothing heavy is imported to plan."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
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


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_read(name: str) -> None:
    """A field is read by its name in the stage's source, or passed on as a whole to a function that has to take it."""
    stage = STAGES[name]
    source = Path(inspect.getfile(stage)).read_text()
    passed_on = set(FitSettings.model_fields) | {f.name for f in fields(growth_rules())}
    for model in models(stage.Settings, set()):
        if model.__name__ in ("LossSettings", "Crystal", "Keys"):
            continue  # each handed on as a whole; the tests below compare them with what takes them
        for key in model.model_fields:
            assert f".{key}" in source or key in passed_on or key == "kind", f"{model.__name__}.{key}"


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

    crystal = import_module("distill.stages.simulate").Crystal
    assert set(crystal.model_fields) <= set(inspect.signature(bulk).parameters)


@pytest.mark.parametrize("arch", names("student"))
def test_student_settings_join_architecture_and_fit(arch: str) -> None:
    own = set(POTENTIALS[arch].Settings.model_fields)
    assert own
    assert not own & set(FitSettings.model_fields), "an architecture's setting would shadow one of the fit"
