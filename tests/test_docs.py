"""The documentation is true: links lead somewhere, what it names exists, recipes are valid, and examples run.

Nothing here needs the network; addresses outside are not visited.
"""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from ase.build import bulk
from pydantic import BaseModel

from distill.analysis.samples import Samples
from distill.base.registry import Registry
from distill.cli import main
from distill.doctor import missing_packages
from distill.observables import OBSERVABLES
from distill.potentials import POTENTIALS
from distill.stages import STAGES
from distill.stages.evaluate import COLUMNS
from distill.structures.frames import Frames
from distill.workflow.recipe import build_recipe, load_recipe, plurals, recipe_schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = ROOT / "notebooks" / "README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", NOTEBOOKS, *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(
    r"(src|tests|recipes|notebooks|scripts|data|docs|\.ci)/[\w./-]*"
    r"|constraints\.txt|pyproject\.toml|zensical\.toml|(?!distill\.)\w+\.md"
)
KEY = re.compile(r"(\w+(?:\.[\w<>]+)+)(?:: .*)?")
PLACES = ("", "teacher.", "students.painn.", "students.ace.", "simulate.0.")
"""Where the keys stand in a recipe that pages call by their last parts."""

PARTS = {"loss", "refine", "finetune", "batches", "bfgs"}
"""The first of these parts."""

STUDENTS = {"painn": {"arch": "painn"}} | ({} if missing_packages(POTENTIALS["ace"]) else {"ace": {"arch": "ace"}})
FIRST_PARTY = "lint.isort.known-first-party=['distill']"

MADE_UP = {"coordination", "radius", "tensornet", "parameter"}
"""Words in front of a colon in pages that are not keys of every recipe."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its title and its text."""

    page: Path
    language: str
    title: str
    text: str


def blocks(page: Path, language: str | None = None) -> list[Block]:
    found = [Block(page, *match.groups(default="")) for match in FENCE.finditer(page.read_text())]
    return [block for block in found if language is None or block.language == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def inline(page: Path) -> list[str]:
    """The inline code of a page."""
    return re.findall(r"`([^`\n]+)`", prose(page).replace("\n> ", " "))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them of plain words."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The command lines of a page, in words without their comments."""
    lines = [line for block in blocks(page) if not block.language for line in block.text.splitlines()]
    for line in [*lines, *inline(page)]:
        words = line.partition("  #")[0].replace("[", "").replace("]", "").replace("'", "").split()
        if len(words) > 1:
            yield words


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


# ---- links ----------------------------------------------------------------------------------------------------------


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target
        if page.parent == DOCS:
            assert file.is_relative_to(DOCS), f"{target} is not part of the site"


def test_every_page_is_in_the_navigation_once() -> None:
    def names(entries: list[dict[str, Any]]) -> list[str]:
        values = [value for entry in entries for value in entry.values()]
        return [name for v in values for name in ([v] if isinstance(v, str) else names(v))]

    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(names(navigation)) == sorted(page.name for page in DOCS.glob("*.md"))


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_page_is_reached_from_the_readme_or_the_first_page() -> None:
    linked = {Path(t.partition("#")[0]).name for page in PAGES for t in LINK.findall(prose(page))}
    assert {page.name for page in DOCS.glob("*.md")} - linked <= {"index.md"}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_first_what_it_is_good_for(page: Path) -> None:
    assert re.match(r"# [^\n]+\n\nAfter this page you ", page.read_text())


def test_numbers_that_stand_twice_are_the_same() -> None:
    tables = [
        re.findall(r"^\| (?:DIEP|PaiNN).*$", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("README.md", "docs/quickstart.md")
    ]
    assert len(tables[0]) == 5 and tables[0] == tables[1]


# ---- names ----------------------------------------------------------------------------------------------------------


@every_page
def test_named_files_exist(page: Path) -> None:
    for text in [*inline(page), *(word for words in commands(page) for word in words)]:
        if PATH.fullmatch(text):
            assert (ROOT / text).exists(), text


@every_page
def test_named_parts_of_the_package_exist(page: Path) -> None:
    for text in inline(page):
        if re.fullmatch(r"distill(\.\w+)+", text):
            part: Any = import_module("distill")
            for name in text.split(".")[1:]:
                part = getattr(part, name)


@every_page
def test_named_extras_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in re.findall(r"mlip-distill\[(\w+)\]|-e '\.\[(\w+)\]'", page.read_text()):
        assert "".join(name) in extras


@every_page
def test_named_teachers_and_students_exist(page: Path) -> None:
    rows = set(POTENTIALS)
    for text in inline(page):
        if re.fullmatch(r"(chgnet|mace-(mp|mpa|omat|off)|orb|mattersim|sevennet|uma)\S*-\S+", text):
            assert text in rows, text


def models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def has_key(parts: list[str], level: list[type[BaseModel]]) -> bool:
    """Whether a dotted key is one of the schema; ``<name>`` stands for any field, numbers for entries of lists."""
    if not parts:
        return True
    if parts[0].isdigit():
        return has_key(parts[1:], level)
    fields = [model.model_fields for model in level]
    found = [f[name] for f in fields for name in f if parts[0] in (name, "<name>")]
    inner = [model for field in found for model in models(field.annotation)]
    return bool(found) and (len(parts) == 1 or has_key(parts[1:], inner))


def known_words(level: list[type[BaseModel]]) -> set[str]:
    """The names of all settings, on all levels."""
    fields = [item for model in level for item in model.model_fields.items()]
    inner = [model for _, field in fields for model in models(field.annotation)]
    return {name for name, _ in fields} | (known_words(inner) if inner else set())


OBSERVED = {kind: {"kind": kind} for kind in OBSERVABLES}
SCHEMA = recipe_schema({"students": STUDENTS, "observe": OBSERVED}, STAGES)


@every_page
def test_named_keys_exist(page: Path) -> None:
    for text in inline(page):
        match = KEY.fullmatch(text.partition("=")[0])
        if not match or match[1].endswith((".xyz", ".csv", ".json")):
            continue
        if match[1].partition(".")[0] in set(SCHEMA.model_fields) | PARTS:
            assert any(has_key((place + match[1]).split("."), [SCHEMA]) for place in PLACES), text


@every_page
def test_words_before_a_colon_are_keys(page: Path) -> None:
    known = known_words([SCHEMA]) | set(plurals(STAGES).values()) | MADE_UP
    for text in inline(page):
        if re.match(r"[a-z_]+: ", text) and "{" not in text.partition(": ")[0]:
            value = yaml.safe_load("{" + text + "}")
            assert set(value) <= known, text


def test_the_reference_of_keys_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    if "ace" not in STUDENTS:
        pytest.skip("the extra ace is not installed")
    runpy.run_path(str(ROOT / "scripts" / "recipe_keys.py"), run_name="__main__")
    made, page = capsys.readouterr().out, (DOCS / "recipe-keys.md").read_text()
    assert page == made, "run: python scripts/recipe_keys.py > docs/recipe-keys.md"


def test_the_columns_of_tables_are_those_that_are_written() -> None:
    results = (DOCS / "results.md").read_text()
    assert f"one row a number: {', '.join(COLUMNS)} |" in results


# ---- commands -------------------------------------------------------------------------------------------------------


@every_page
def test_named_commands_and_their_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        script = next((word for word in words if word.startswith("tests/benchmarks/")), None)
        if words[0] == "distill" and words[1].islower():
            with pytest.raises(SystemExit) as end:
                main([words[1], "--help"])
            assert end.value.code == 0, words
            known = capsys.readouterr().out
        elif words[0] == "python" and script is not None:
            known = (ROOT / script).read_text() + (ROOT / "tests/benchmarks/generation.py").read_text()
        else:
            continue
        for word in words:
            assert not word.startswith("--") or word in known, words


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages suppose it: the README's recipe, data, a model, and the modules that pages show."""
    silicon = ROOT / "data" / "silicon"
    for name in ("my_dft.xyz", "my_test.xyz", "my.xyz"):
        (tmp_path / name).write_text("".join((silicon / "valid.xyz").open()))
    shutil.copy(silicon / "train.xyz", tmp_path / "my_dft.xyz")
    (tmp_path / "recipe.yaml").write_text(blocks(ROOT / "README.md", "yaml")[0].text)
    for page in PAGES:
        for block in blocks(page, "python"):
            if match := re.match(r"# (my_\w+\.py)\n", block.text):
                (tmp_path / match[1]).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def save_a_student(folder: Path) -> None:
    """Save an untrained PaiNN where the quickstart saves its trained one."""
    from distill.potentials.interface.saving import save

    row = POTENTIALS["painn"]
    folder.mkdir(parents=True)
    save(row.create(row.Settings(), seed=0), folder, {})


@every_page
def test_overrides_of_commands_are_accepted(page: Path, desk: Path) -> None:
    for words in commands(page):
        changes = [change for option, change in pairwise(words) if option == "--set"]
        recipe = next((word for word in words if word.endswith(".yaml")), None)
        if words[0] == "distill" and recipe and changes:
            load_recipe(ROOT / recipe if recipe.startswith("recipes/") else desk / recipe, changes)


def test_the_commands_that_show_things_work(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "recipe.yaml"]) == 0
    assert main(["check", "my_dft.xyz", "--json"]) == 0
    assert "train[painn,distilled,0]" in capsys.readouterr().out


# ---- recipes --------------------------------------------------------------------------------------------------------


@every_page
def test_recipes_are_valid(page: Path, desk: Path) -> None:
    for block in blocks(page, "yaml"):
        text = re.sub(r"/home/me/\w+/bin/python", sys.executable, block.text)
        recipe = {"name": "page", "data": {"train": "my_dft.xyz"}, "students": STUDENTS} | yaml.safe_load(text)
        if "ace" in recipe["students"] and "ace" not in STUDENTS:
            recipe["students"].pop("ace")
            recipe["students"] |= STUDENTS
        build_recipe(recipe, desk / "page.yaml", STAGES, f"{page.name}: {block.text[:40]!r}")


# ---- examples -------------------------------------------------------------------------------------------------------


@every_page
def test_examples_run(page: Path, desk: Path) -> None:
    """One after the other, as a reader runs them: later ones may use the names of earlier ones."""
    examples = [b for b in blocks(page, "python") if not b.title]
    if any("runs/quickstart/models/painn" in block.text for block in examples):
        save_a_student(desk / "runs" / "quickstart" / "models" / "painn")
    space: dict[str, Any] = {}
    for block in examples:
        from ase.build import bulk

        atoms = bulk("Si", cubic=True)
        space |= {"atoms": atoms, "list_of_atoms": [atoms, atoms.repeat((2, 1, 1))]}
        exec(compile(block.text, str(page), "exec"), space)
        if "labelled" in space:
            assert space["labelled"].forces.shape == (24, 3)
            assert atoms.get_forces().shape == (8, 3)
        if "result" in space:
            assert len(space["plan"]) > 8 and space["result"].errors


def test_a_calculator_of_ones_own_is_a_teacher(desk: Path) -> None:
    from ase.build import bulk

    from distill.potentials.base import TeacherSource

    teacher = TeacherSource("ase", file=desk / "my_calculators.py", function="make").open()
    assert teacher.evaluate([bulk("Cu")]).forces is not None


def test_a_network_of_ones_own_is_a_student(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.potentials.interface.conformance import check_potential

    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    row = POTENTIALS["custom"]
    settings = row.for_data(row.Settings(parameters={"channels": 16}), "my_networks:MyNet", ["O", "Si"])
    assert check_potential(row.create(settings, seed=0)) == []


# ---- parts that pages add -------------------------------------------------------------------------------------------


def add(page: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Import the files that a page shows under the names that it gives them; return them by the name of the file."""
    added = {}
    for block in blocks(DOCS / page, "python"):
        if block.title.endswith(".py"):
            name = ".".join(Path(block.title.removeprefix("src/")).with_suffix("").parts)
            module = ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile(block.text, block.title, "exec"), module.__dict__)
            added[block.title] = module
    return added


def line(page: str, table: str) -> dict[str, str]:
    """The row that a page adds to a table."""
    block = next(b for b in blocks(DOCS / page, "python") if b.title == f"line of {table}")
    row: dict[str, str] = ast.literal_eval("{" + block.text + "}")
    return row


@pytest.mark.parametrize(
    "block", [b for page in PAGES for b in blocks(page, "python")], ids=lambda b: f"{b.page.stem} {b.title}"
)
def test_examples_are_in_the_style_of_the_package(block: Block) -> None:
    if block.title.startswith("line of"):
        return
    name = str(ROOT / (block.title if block.title.endswith(".py") else "tests/page.py"))
    for how in (["check", "--ignore", "F821", "--config", FIRST_PARTY], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *how, "--no-cache", "--stdin-filename", name, "-"]
        done = subprocess.run(command, input=block.text, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_observable_is_added_as_its_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = add("add-an-observable.md", monkeypatch)["tests/unit/analysis/test_coordination.py"]
    tests.test_a_molecule_has_no_images()
    cases = tests.test_crystals.pytestmark[0].args[1]
    assert len(cases) == 3
    for case in cases:
        tests.test_crystals(*case)
    ((kind, row),) = line("add-an-observable.md", "OBSERVABLES").items()
    wanted = Registry("observable", {kind: row})[kind].model_validate({"kind": kind, "run": "solid", "radius": 2.6})
    samples = Samples.of_structures(Frames.from_atoms([bulk("Si"), bulk("Si")]))
    assert wanted.measure(samples).values == 4 and wanted.tolerance == "5 %"


def test_a_stage_is_added_as_its_page_says(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.stages.base import Job
    from distill.workflow.plan import make_plan

    add("add-an-observable.md", monkeypatch)
    add("add-a-stage.md", monkeypatch)
    rows = list(STAGES.rows.items())
    after = 1 + list(STAGES.rows).index("label")
    stages = Registry("stage", dict([*rows[:after], *line("add-a-stage.md", "STAGES").items(), *rows[after:]]))
    task = make_plan(load_recipe("recipe.yaml", ["coordination.radius=2.6"], stages))["coordination"]
    assert task.settings.radius == 2.6
    assert list(task.publish.values()) == ["coordination.csv"]
    found = stages["coordination"]().run({"structures": desk / "my_dft.xyz"}, task.settings, Job(desk))
    table = (desk / "coordination.csv").read_text().splitlines()
    assert len(table) == 26 and 3 < found["mean"] < 5


def test_a_teacher_is_added_as_its_page_says(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it predicts is tested where its file is, which is the one that the page shows."""
    shown = next(b for b in blocks(DOCS / "add-a-teacher.md", "python") if b.title.endswith("lennard_jones.py"))
    assert shown.text == (ROOT / "tests" / "contracts" / "lennard_jones.py").read_text()
    add("add-a-teacher.md", monkeypatch)
    ((name, row),) = line("add-a-teacher.md", "POTENTIALS").items()
    monkeypatch.setitem(POTENTIALS.rows, name, row)
    assert load_recipe("recipe.yaml", [f"teacher.model={name}"]).value("teacher.model") == name


def test_a_student_is_added_as_its_page_says(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("add-a-student.md", monkeypatch)
    for name, row in line("add-a-student.md", "POTENTIALS").items():
        monkeypatch.setitem(POTENTIALS.rows, name, row)
    check = next(b for b in blocks(DOCS / "add-a-student.md", "python") if b.title == "check")
    exec(compile(check.text, "add-a-student.md", "exec"), {})
    recipe = load_recipe("recipe.yaml", ["students.painn.arch=pair", "students.painn.width=8"])
    assert recipe.value("students.painn.width") == 8


# ---- the site -------------------------------------------------------------------------------------------------------


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in DOCS.glob("*.md"):
        folder = tmp_path / "site" / page.stem
        assert ((folder if page.stem != "index" else folder.parent) / "index.html").is_file()
    searched = (tmp_path / "site" / "search.json").read_text()
    assert "augment-atoms" in searched and "fonts.googleapis" not in (tmp_path / "site" / "index.html").read_text()
