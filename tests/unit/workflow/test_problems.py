"""Validation errors as sentences: the dotted key, what was expected and found, and the nearest right answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from distill.workflow.problems import Problem, known_keys, problems


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Crystal(Strict):
    kind: Literal["crystal"] = "crystal"
    name: str
    repeat: tuple[int, int, int] = (1, 1, 1)


class Molecule(Strict):
    kind: Literal["molecule"] = "molecule"
    formula: str = "H2O"


class Fit(Strict):
    steps: int = Field(10, ge=1)
    rate: float = 0.1
    optimiser: Literal["adamw", "muon"] = "adamw"
    average: bool | None = None

    @field_validator("rate")
    @classmethod
    def _positive(cls, rate: float) -> float:
        if rate <= 0:
            raise ValueError("must be above 0")
        return rate


class Recipe(Strict):
    name: str
    fit: Fit = Fit()
    structures: list[Annotated[Crystal | Molecule, Field(discriminator="kind")]] = []
    students: dict[str, Fit] = {}


def found(raw: Any, schema: Any = Recipe) -> list[Problem]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(schema).validate_python(raw)
    return problems(refused.value, schema, raw)


def one(**raw: Any) -> Problem:
    (problem,) = found({"name": "some"} | raw)
    return problem


def test_a_missing_key() -> None:
    (problem,) = found({})
    assert (problem.key, problem.what, problem.remedy) == ("name", "name is missing", None)


def test_an_unknown_key_has_its_place_and_the_nearest_known_one() -> None:
    problem = one(fit={"stepss": 3})
    assert problem.key == "fit.stepss" and problem.what == "fit.stepss is not a known key"
    assert "steps" in str(problem.remedy)
    inner = one(students={"small": {"optimizer": "muon"}})
    assert inner.key == "students.small.optimizer" and "optimiser" in str(inner.remedy)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"steps": "many"}, 'fit.steps must be a whole number, got "many"'),
        ({"steps": 1.5}, "fit.steps must be a whole number, got 1.5"),
        ({"steps": [1]}, "fit.steps must be a whole number, got a list"),
        ({"steps": {}}, "fit.steps must be a whole number, got a mapping"),
        ({"steps": 0}, "fit.steps must be greater than or equal to 1, got 0"),
        ({"average": "perhaps"}, 'got "perhaps"'),
        ({"rate": -1.0}, "fit.rate: must be above 0"),
        (3, "fit must be a mapping of keys to values, got 3"),
    ],
)
def test_a_value_of_the_wrong_kind(value: Any, said: str) -> None:
    assert said in one(fit=value).what


def test_a_word_that_is_none_of_those_allowed() -> None:
    problem = one(fit={"optimiser": "adam"})
    assert problem.what == "fit.optimiser must be 'adamw' or 'muon', got \"adam\""
    assert "adamw" in str(problem.remedy)


def test_branches_of_a_union_are_chosen_by_their_kind() -> None:
    problem = one(structures=[{"kind": "molecule"}, {"kind": "crystal", "name": "Si", "repeats": [1, 1, 2]}])
    assert problem.key == "structures.1.repeats" and "repeat" in str(problem.remedy)
    assert one(structures=[{"name": "Si"}]).what == "structures.0.kind is missing"
    unknown = one(structures=[{"kind": "cristal", "name": "Si"}])
    assert unknown.what == "structures.0.kind is 'cristal', which is not known" and "crystal" in str(unknown.remedy)


def test_every_place_has_one_problem_and_the_deepest_are_told() -> None:
    several = found({"name": 3, "fit": {"steps": "x", "rate": "y"}})
    assert [problem.key for problem in several] == ["name", "fit.steps", "fit.rate"]


def test_long_values_are_cut() -> None:
    assert len(one(fit={"steps": "x" * 500}).what) < 120


def test_known_keys_follow_lists_mappings_and_unions() -> None:
    assert known_keys(Recipe, (), {}) == ["fit", "name", "structures", "students"]
    assert known_keys(Recipe, ("students", "any"), {}) == ["average", "optimiser", "rate", "steps"]
    raw = {"structures": [{"kind": "molecule"}]}
    assert known_keys(Recipe, ("structures", "0"), raw) == ["formula", "kind"]
    assert known_keys(Recipe, ("name", "deeper"), {}) == []
