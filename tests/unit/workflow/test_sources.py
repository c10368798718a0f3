"""Files and code that change: what runs again, and what is refused because it is no longer what was planned."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from toy_folder import Toy
from toy_stages import ROWS, Read

import distill
from distill.base.consent import Code
from distill.base.errors import WorkError
from distill.base.registry import Registry
from distill.stages.base import Job, Paths, Summary
from distill.workflow import explain, machine
from distill.workflow.explain import explain_plan
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.runner import run_recipe
from distill.workflow.sources import find, fingerprint, imported, refuse_changed
from distill.workflow.store import Store
from distill.workflow.work import execute, make_submission


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's modules, all of which would tell if they were imported."""
    loud = "raise SystemExit('imported')\n"
    package = tmp_path / "project_a"
    package.mkdir()
    (tmp_path / "entry_a.py").write_text(f"{loud}import helper_a\nfrom project_a.inner import two\nimport json, ase\n")
    (tmp_path / "helper_a.py").write_text(f"{loud}def late():\n    import deep_a, msgpack\n")
    (tmp_path / "deep_a.py").write_text(loud)
    (tmp_path / "unrelated_a.py").write_text(loud)
    (package / "__init__.py").write_text(loud)
    (package / "inner.py").write_text(f"{loud}from . import beside\nfrom .more import *\n")
    (package / "beside.py").write_text(loud)
    (package / "more.py").write_text(loud)
    (package / "unused.py").write_text(loud)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # planning adds the current folder
    return tmp_path


OWN = {
    *("entry_a", "helper_a", "deep_a"),
    *("project_a", "project_a.inner", "project_a.beside", "project_a.more"),
}


def test_code_is_the_users_modules_and_what_they_import_of_theirs(project: Path) -> None:
    found = fingerprint([Code("ase", "entry_a:make")])
    assert set(found) == OWN | {"msgpack"}, "versions of ASE are recorded with every artifact, that of msgpack is not"
    assert found["msgpack"] == version("msgpack")
    assert not OWN & set(sys.modules)


@pytest.mark.parametrize("name", ["entry_a", "deep_a", "project_a/__init__", "project_a/more"])
def test_a_change_anywhere_in_it_is_seen(name: str, project: Path) -> None:
    before = fingerprint([Code("custom", "entry_a:Net")])
    file = project / f"{name}.py"
    file.write_text(f"{file.read_text()}\n# changed\n")
    after = fingerprint([Code("custom", "entry_a:Net")])
    module = name.replace("/__init__", "").replace("/", ".")
    assert [one for one in before if before[one] != after[one]] == [module]


def test_a_change_elsewhere_is_not(project: Path) -> None:
    before = fingerprint([Code("custom", "entry_a:Net")])
    for name in ("unrelated_a", "project_a/unused"):
        (project / f"{name}.py").write_text("changed = True\n")
    assert fingerprint([Code("custom", "entry_a:Net")]) == before


def test_of_a_file_its_neighbours_count_and_of_a_package_its_version(project: Path) -> None:
    """The file itself is an input, whose content is hashed as that of all files."""
    assert set(fingerprint([Code("ase", "make", str(project / "entry_a.py"))])) == OWN - {"entry_a"} | {"msgpack"}
    assert fingerprint([Code("ase", "ase.calculators.emt:EMT")]) == {"ase": version("ase")}
    elsewhere = Code("ase", "ase.calculators.emt:EMT", environment="/some/other/python")
    assert fingerprint([elsewhere]) == {}, "its version there is not known here"
    for nothing in (Code("ase", "json:loads"), Code("ace", environment="/x"), Code("mace", file="/x/y.model")):
        assert fingerprint([nothing]) == {}


def test_modules_are_found_as_python_finds_them(project: Path) -> None:
    spec = find("project_a.inner", [str(project)])
    assert spec is not None and spec.origin == str(project / "project_a" / "inner.py")
    assert find("project_a.absent", [str(project)]) is None and find("helper_a.absent", [str(project)]) is None
    (project / "project_a" / "bare" / "barer").mkdir(parents=True)  # packages without __init__.py below one that has it
    (project / "project_a" / "bare" / "barer" / "leaf.py").write_text("")
    leaf = find("project_a.bare.barer.leaf", [str(project)])
    assert leaf is not None and leaf.origin == str(project / "project_a" / "bare" / "barer" / "leaf.py")
    assert imported(b"import a.b\nfrom ..c import d\n", "x.y.z", is_package=False) == {"a.b", "x.c", "x.c.d"}
    assert imported(b"from . import d\n", "x.y", is_package=True) == {"x.y.d", "x.y"}
    assert imported(b"this is not Python", "x", is_package=False) == set()


RECIPE = """
name: silicon
data: {train: train.xyz, valid: train.xyz, test: train.xyz}
teacher: {model: "ase:entry_a:make"}
students:
  mine: {arch: "deep_a:Net"}
  painn: {arch: painn}
"""


def hashes(plan: Plan) -> dict[str, str]:
    return {task.id: task.hash for task in plan}


def ran_again(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {one for one in after if before[one] != after[one]}


def test_changed_code_runs_exactly_what_it_touches(project: Path) -> None:
    path = project / "recipe.yaml"
    (project / "train.xyz").write_text("")
    path.write_text(RECIPE)
    before = hashes(distill.plan(path, "cpu"))
    (project / "project_a" / "more.py").write_text("changed = True\n")
    assert ran_again(before, hashes(distill.plan(path, "cpu"))) == set(before), "the teacher's code: all of it"
    path.write_text(RECIPE.replace("ase:entry_a:make", "chgnet-0.3"))
    before = hashes(distill.plan(path, "cpu"))
    (project / "deep_a.py").write_text("changed = True\n")
    again = ran_again(before, hashes(distill.plan(path, "cpu")))
    mine = {one for one in before if "[mine" in one}
    assert mine and again == mine | {"evaluate", "judge", "benchmark", "report"}


def test_the_plan_says_which_code_changed(project: Path, tmp_path: Path) -> None:
    path = project / "recipe.yaml"
    (project / "train.xyz").write_text("")
    path.write_text(RECIPE)
    plan = distill.plan(path, "cpu")
    previous = {"tasks": {task.id: {"ingredients": dict(task.hash_inputs)} for task in plan}}
    (project / "helper_a.py").write_text("changed = True\n")
    why = explain_plan(distill.plan(path, "cpu"), Store(tmp_path / "store"), previous)["finetune"].why
    assert "code helper_a changed" in why


# ---- the machine -----------------------------------------------------------------------------------------------------


def test_timings_are_those_of_a_machine_and_a_device(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "recipe.yaml"
    (project / "train.xyz").write_text("")
    path.write_text(RECIPE)
    before = hashes(distill.plan(path, "cpu"))
    assert ran_again(before, hashes(distill.plan(path, "cuda"))) == {"benchmark", "report"}
    assert hashes(distill.plan(path, "cuda:0")) == hashes(distill.plan(path, "cuda"))
    monkeypatch.setenv("PYTHON_CPU_COUNT", "77")
    after = distill.plan(path, "cpu")
    assert ran_again(before, hashes(after)) == {"benchmark", "report"}
    assert after["benchmark"].hash_inputs["machine"]["cores"] == 77


def test_a_cached_task_says_with_which_other_versions_it_was_made(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, store = make_plan(toy.load()), Store(toy.folder / "store")
    execute(make_submission(plan, plan["read"], store, "cpu", 1))
    assert explain_plan(plan, store, None)["read"] == explain.Verdict(True, "cached")
    now = machine.versions()
    monkeypatch.setattr(machine, "versions", lambda: now | {"torch": "99.0", "pydantic": "99.0"})
    assert explain_plan(plan, store, None)["read"].note == f"made with torch {now['torch']}, now 99.0"


def test_a_run_says_so_too(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_recipe(toy.load(), runs=toy.runs, device="cpu", progress=False)
    assert not any("made_with" in task for task in first.summary["tasks"].values())
    monkeypatch.setattr(machine, "versions", lambda: first.summary["versions"] | {"ase": "99.0"})
    again = run_recipe(toy.load(), runs=toy.runs, device="cpu", progress=False)
    assert again.ran == ()
    assert {task["made_with"] for task in again.summary["tasks"].values()} == {
        f"ase {first.summary['versions']['ase']}, now 99.0"
    }


# ---- a file that changes while the run is at work -------------------------------------------------------------------


def test_a_file_that_was_edited_after_planning_is_not_read(toy: Toy) -> None:
    """The store has nothing then, and the next plan takes the new content."""
    plan, store = make_plan(toy.load()), Store(toy.folder / "store")
    (toy.folder / "numbers.txt").write_text("4 5 6")
    with pytest.raises(WorkError, match=r"numbers\.txt: the file has changed since the run was planned\. Run again"):
        execute(make_submission(plan, plan["read"], store, "cpu", 1))
    assert not store.has(plan["read"]) and toy.trace() == []
    again = make_plan(toy.load())
    execute(make_submission(again, again["read"], store, "cpu", 1))
    assert (store.artifact(again["read"]) / "numbers.txt").exists()


def test_a_file_that_went_away_after_planning_is_named(toy: Toy) -> None:
    plan, store = make_plan(toy.load()), Store(toy.folder / "store")
    (toy.folder / "numbers.txt").unlink()
    with pytest.raises(WorkError, match=r"numbers\.txt: the file is gone since the run was planned"):
        execute(make_submission(plan, plan["read"], store, "cpu", 1))


class Meddled(Read):
    """A stage whose file is edited by somebody while it reads."""

    def run(self, inputs: Paths, settings: Read.Settings, job: Job) -> Summary:
        """Do as the toy does, with other content than was planned."""
        inputs["file"].write_text("7 8 9")
        return super().run(inputs, settings, job)


def test_a_file_that_is_edited_under_the_work_leaves_nothing_behind(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meddled", sys.modules[__name__])
    stages = Registry("stage", ROWS | {"read": "meddled:Meddled"})
    plan, store = make_plan(load_recipe(toy.path, stages=stages)), Store(toy.folder / "store")
    with pytest.raises(WorkError, match="the file has changed since the run was planned"):
        execute(make_submission(plan, plan["read"], store, "cpu", 1))
    assert not store.has(plan["read"]) and not store.is_interrupted(plan["read"])


def test_code_that_was_edited_after_planning_is_not_run(project: Path) -> None:
    codes = [Code("custom", "entry_a:Net")]
    hashed = {"inputs": {}, "code": fingerprint(codes)}
    refuse_changed(hashed, {}, codes)
    (project / "deep_a.py").write_text("changed = True\n")
    with pytest.raises(WorkError, match="deep_a: the code has changed since the run was planned"):
        refuse_changed(hashed, {}, codes)
