"""Which simulations there are, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from distill.base.errors import UserError
from distill.stages.start import describe, start
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.tasks import FromFile, FromTask

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


def test_the_teacher_is_asked_once_and_has_no_dynamics() -> None:
    plan = make_plan(load_recipe(QUICKSTART, overrides=["students.painn.seeds=2"]))
    runs = {task.id: task.inputs["model"] for task in plan.of_stage("simulate")}
    assert [name for name in runs if "teacher" in name] == [f"simulate[teacher,finetuned,0,{run}]" for run in (2, 3, 4)]
    assert runs["simulate[teacher,finetuned,0,2]"] == FromTask("finetune", "model")
    assert runs["simulate[painn,direct,1,0]"] == FromTask("train[painn,direct,1]", "model")
    assert len(runs) == 3 + 3 * 2 * 5


def planned(folder: Path, run: str, **names: str) -> Plan:
    """The plan of a recipe with one simulation, and a file of a crystal and one without an atom by these names."""
    crystal = bulk("Si", cubic=True)
    structures = [crystal, crystal[1:]]
    for atoms, name in zip(structures, names.values(), strict=False):
        atoms.info["name"] = name
    write(folder / "own.xyz", structures)
    return make_plan(load_recipe(QUICKSTART, overrides=[f"simulate=[{run.format(file=folder / 'own.xyz')}]"]))


def test_structures_of_the_users_are_an_input_and_judged_first(tmp_path: Path) -> None:
    run = "{{kind: formation, file: '{file}', bulk: crystal, defects: [hole]}}"
    plan = planned(tmp_path, run, a="crystal", b="hole")
    task = plan["simulate[painn,direct,0,0]"]
    assert task.inputs["file"] == FromFile("simulate.0.file", tmp_path / "own.xyz")
    assert planned(tmp_path, run, a="hole", b="crystal")["simulate[painn,direct,0,0]"].hash != task.hash
    with pytest.raises(UserError, match=r"own\.xyz: there is no structure 'hole'. Did you mean 'holes'"):
        planned(tmp_path, run, a="crystal", b="holes")
    with pytest.raises(UserError, match=r"own\.xyz, frame 1: a structure has no name. Write name=\.\.\. of its own"):
        planned(tmp_path, run, a="crystal")
    with pytest.raises(UserError, match=r"own\.xyz: structure 1 has other atoms than the first"):
        planned(tmp_path, "{{kind: barrier, file: '{file}', name: hop}}")


def test_a_structure_of_the_users_may_have_any_format(tmp_path: Path) -> None:
    def begins(file: str, more: str = ", name: quartz") -> Plan:
        run = f"{{kind: elastic, structure: {{file: '{tmp_path / file}'{more}}}}}"
        return make_plan(load_recipe(QUICKSTART, overrides=[f"simulate=[{run}]"]))

    write(tmp_path / "POSCAR", bulk("Si"))
    task = begins("POSCAR")["simulate[painn,direct,0,0]"]
    assert task.inputs["structure"] == FromFile("simulate.0.structure.file", tmp_path / "POSCAR")
    assert "file" not in task.inputs
    found = start(task.settings.run.structure, tmp_path, tmp_path / "POSCAR")
    assert (len(found), describe(task.settings.run.structure, found)) == (2, "quartz")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UserError, match=r"notes\.txt: cannot be read as structures"):
        begins("notes.txt")
    with pytest.raises(UserError, match="must have 'name': what the structure of the file is called"):
        begins("POSCAR", more="")
    with pytest.raises(UserError, match="must have one of 'crystal', 'frame' and 'file'"):
        begins("POSCAR", more=", name: x, frame: 0")


def test_dynamics_begin_with_a_file_too(tmp_path: Path) -> None:
    write(tmp_path / "own.cif", bulk("Si"))
    runs = f"{{kind: dimers}}, {{kind: dynamics, name: hot, structure: {{file: {tmp_path / 'own.cif'}, name: ours}}}}"
    runs += ", {kind: dynamics, name: on, after: hot}"
    plan = make_plan(load_recipe(QUICKSTART, overrides=[f"simulate=[{runs}]"]))
    inputs = {task.labels["run"]: task.inputs for task in plan.of_stage("dynamics")}
    assert inputs["hot"]["structure"] == FromFile("simulate.1.structure.file", tmp_path / "own.cif")
    assert "structure" not in inputs["on"]
