"""Recipes: what is refused, with which words, and what an accepted one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_folder import Toy
from toy_stages import RECIPE, toy_stages

from distill.base.errors import UserError
from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.yaml_text import parse_document


def refusal(toy: Toy, text: str = RECIPE, *overrides: str) -> str:
    toy.path.write_text(text)
    with pytest.raises(UserError) as caught:
        toy.load(*overrides)
    return str(caught.value)


def test_a_recipe_is_composed_from_the_stages_that_share_it(toy: Toy) -> None:
    recipe = toy.load()
    assert (recipe.name, recipe.seed, recipe.executor.workers) == ("toy", 3, "auto")
    assert list(recipe.sections) == ["data", "count", "students", "simulate", "machinery"]
    assert recipe.value("machinery.parts") == 1
    assert recipe.value("data.scale") == 2.0 and isinstance(recipe.value("data.scale"), float)
    assert recipe.value("students.small.seeds") == 2
    assert recipe.sections["simulate"] == ()
    assert recipe.file("data.file") == toy.folder / "numbers.txt"


def test_absent_sections_have_their_defaults(toy: Toy) -> None:
    toy.path.write_text("name: short\ndata: {file: numbers.txt}\ncount:\n")
    recipe = toy.load()
    assert recipe.value("count.steps") == 3
    assert recipe.seed == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scale: 2 ", "scal: 2 ", "toy.yaml:5: data.scal is not a known key. Did you mean 'scale'?"),
        ("cutoff: 4.0", "cutof: 4.0", "toy.yaml:10: students.small.cutof is not a known key. Did you mean 'cutoff'?"),
        ("steps: 4", "steps: four", "toy.yaml:7: count.steps must be a whole number, got \"four\""),
        ("steps: 4", "steps: 4.5", "toy.yaml:7: count.steps must be a whole number, got 4.5"),
        ("steps: 4", "steps: true", "toy.yaml:7: count.steps must be a whole number, got true"),
        ("steps: 4", "steps: 0", "toy.yaml:7: count.steps must be greater than or equal to 1, got 0"),
        ("steps: 4", "fail: segfalt", "Did you mean 'segfault'?"),
        ("  file: numbers.txt\n", "", "toy.yaml:3: data.file is missing"),
        ("data:\n  file: numbers.txt\n  scale: 2", "#", "toy.yaml: data.file is missing"),
        ("name: toy", "names: toy", "name is missing"),
        ("name: toy", "name: ../up", "it names a folder"),
        ("name: toy", "name: .hidden", "it names a folder"),
        ("name: toy", "name: 7", "toy.yaml:1: name must be a text, got 7"),
        ("seed: 3", "seed: -3", "seed must be greater than or equal to 0, got -3"),
        ("seed: 3", "seed: 3\nseed: 4", "toy.yaml:3: 'seed' is given twice, first on line 2"),
        ("seed: 3", "seed: !!python/name:os.system", "tags such as"),
        ("seed: 3", "executor: {kind: locl}", "executor.kind: unknown executor 'locl'. Did you mean 'local'?"),
        ("seed: 3", "executor: {workers: many}", "executor.workers must be a whole number or 'auto', got \"many\""),
        ("seed: 3", "simulate: [{kind: langvin}]", "kind is 'langvin', which is not known. Did you mean 'langevin'?"),
        ("seed: 3", "simulate: [{temperature: 3}]", "simulate.0.kind is missing"),
        (
            "seed: 3",
            "simulate:\n  - kind: scan\n    strein: 0.1",
            "toy.yaml:4: simulate.0.strein is not a known key. Did you mean 'strain'?",
        ),
        ("seed: 3", "machinery: {part: 2}", "machinery.part is not a known key. Did you mean 'parts'?"),
        ("seed: 3", "machinery: {logs: [papyr]}", "machinery.logs.0 must be 'paper' or 'stone', got \"papyr\""),
        ("seed: 3", "simulate: 5", "simulate must be a list, got 5"),
        ("seed: 3", "data: 5", "'data' is given twice"),
        ("scale: 2 ", "scale: .nan ", "data.scale: nan is not a number"),
        ("steps: 4", "steps: [4", "toy.yaml:"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_line_key_and_remedy(toy: Toy, old: str, new: str, said: str) -> None:
    assert old in RECIPE
    assert said in refusal(toy, RECIPE.replace(old, new))


def test_several_problems_are_all_reported(toy: Toy) -> None:
    text = refusal(toy, RECIPE.replace("scale", "scal").replace("steps: 4", "steps: x"))
    assert "2 problems" in text and "data.scal " in text and "count.steps" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("5.", 5.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("-7", -7),
        ("No", "No"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("2024-05-01", "2024-05-01"),
        ("12:30:00", "12:30:00"),
        ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_scalars_are_read_as_a_chemist_means_them(text: str, value: Any) -> None:
    assert parse_document(text, "x").value == value
    assert type(parse_document(text, "x").value) is type(value)


def test_aliases_cannot_blow_up_a_recipe() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(UserError, match="too many values"):
        parse_document("\n".join(lines), "bomb")
    with pytest.raises(UserError, match="nested too deeply"):
        parse_document("&a [*a]", "loop")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such recipe"),
        (lambda path: path.mkdir(), "is a folder, not a recipe"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00\x01"), "is not a text file in UTF-8"),
        (lambda path: path.write_text(RECIPE, encoding="utf-16"), "is not a text file in UTF-8"),
        (
            lambda path: path.write_text("# caf\xe9", encoding="latin-1"),
            r"in UTF-8 \(byte 0xe9 on line 1\)\. Save it as",
        ),
        (lambda path: path.write_text("just words"), "is not a recipe"),
        (lambda path: path.write_text("- a list"), "is not a recipe"),
        (lambda path: path.write_text(""), "is not a recipe"),
        (lambda path: path.write_text("a: 1\n---\nb: 2"), "expected a single document"),
        (lambda path: path.write_text("x" * (2 << 20)), "too large"),
    ],
)
def test_what_is_not_a_recipe_is_refused_in_one_sentence(tmp_path: Path, make: Any, said: str) -> None:
    path = tmp_path / "r.yaml"
    make(path)
    with pytest.raises(UserError, match=said) as caught:
        load_recipe(path, stages=toy_stages())
    assert "\n" not in str(caught.value)


def test_merges_cannot_blow_up_a_recipe() -> None:
    lines = ["v:", "  - &m0 {a: 1}"]
    lines += [f"  - &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}" for i in range(1, 30)]
    with pytest.raises(UserError, match=r"bomb:\d+: has too many values"):
        parse_document("\n".join(lines), "bomb")
    wide = f"v: [&m {{a: 1}}, {{<<: [{', '.join(['*m'] * 1000)}]}}]"
    with pytest.raises(UserError, match="bomb:1: merges too many mappings"):
        parse_document(wide, "bomb")
    assert parse_document("v: [&m {a: 1, b: 2}, {<<: *m, b: 3}]", "fine").value["v"][1] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "7" * 5000, "a number has 5000 digits"),
        ("seed", "7" * 100, "seed must be less than 9223372036854775808"),
        ("seed", "-1", "seed must be greater than or equal to 0"),
        ("seed", "1" + "0" * 400 + ".0", "inf is not a number"),
        ("data.file", "~nobody-is-called-so/x.txt", "there is no user 'nobody-is-called-so'. Write the path in full"),
        ("data.file", '"a\\0b"', r"'a\\x00b' cannot be a path. Leave out the character NUL \(\\0\)"),
        ("data.file", "a" * 10000, "no file can have a name of 10000 bytes. Use at most 255"),
        ("data.file", "a/" * 3000 + "b", "no path can have 6001 bytes. Use at most 3000"),
    ],
)
def test_senseless_values_are_refused_in_one_short_sentence(toy: Toy, key: str, value: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        make_plan(toy.load(f"{key}={value}"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_overrides_replace_values_before_validation(toy: Toy) -> None:
    toy.path.write_text(RECIPE + "simulate:\n  - {kind: langevin}\n")
    recipe = toy.load(
        "students.big.cutoff=7.5", "simulate.0.temperature=50", "executor.workers=1", "data.keys=[a, b]", "seed=9"
    )
    assert recipe.value("students.big.cutoff") == 7.5
    assert recipe.sections["simulate"][0].temperature == 50
    assert recipe.executor.workers == 1
    assert recipe.value("data.keys") == ("a", "b")
    assert recipe.seed == 9


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("count.stepz=3", "--set count.stepz=3: count.stepz is not a known key. Did you mean 'steps'?"),
        ("count.steps=x", "--set count.steps=x: count.steps must be a whole number, got \"x\""),
        ("count.steps", "must be KEY=VALUE"),
        ("seed.x=1", "seed is a single value, not a mapping"),
        ("simulate.0.kind=scan", "simulate"),
        ("count={steps: 1", "--set"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named(toy: Toy, override: str, said: str) -> None:
    assert said in refusal(toy, RECIPE, override)


def test_a_missing_file_is_named_by_key_and_absolute_path(toy: Toy) -> None:
    recipe = toy.load("data.file=sub/gone.xyz")
    with pytest.raises(UserError) as caught:
        recipe.file("data.file")
    assert f"data.file: {toy.folder / 'sub/gone.xyz'} does not exist" in str(caught.value)
    with pytest.raises(UserError, match="is a folder, not a file"):
        toy.load("data.file=.").file("data.file")
