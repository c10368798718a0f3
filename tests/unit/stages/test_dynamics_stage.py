"""Dynamics in recipes: which tasks there are, what they depend on, and that a longer run is the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms

from distill.base.errors import UserError
from distill.dynamics.replica import EQUILIBRATION, PRODUCTION
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.observables.files import read_measured
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.stages.base import Job
from distill.stages.dynamics import REPLICA, Dynamics
from distill.stages.observe import Observe
from distill.stages.relabel import Relabel
from distill.structures.frames import Frames
from distill.structures.write import write_frames
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.tasks import FromTask

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
HOT = {"kind": "dynamics", "name": "hot", "structure": {"frame": 0}, "repeats": 2, "teacher": {"ps": 1.0, "repeats": 1}}
FREE = {"kind": "dynamics", "name": "free", "after": "hot", "ensemble": "nve", "repeats": 2, "teacher": {"repeats": 1}}
OBSERVE = {"g": {"kind": "rdf", "run": "hot"}, "D": {"kind": "diffusion", "run": "free"}}


def plan_of(tmp_path: Path, simulate: list[Any], observe: dict[str, Any] | None = None) -> Plan:
    """The quickstart with other simulations and observables."""
    said = yaml.safe_load(QUICKSTART.read_text()) | {"simulate": simulate, "observe": observe or {}}
    for name in ("train", "valid", "test"):
        said["data"][name] = str((QUICKSTART.parent / said["data"][name]).resolve())
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(said))
    return make_plan(load_recipe(path))


def hashes(plan: Plan) -> dict[str, str]:
    asked = ("dynamics", "observe", "relabel", "judge", "benchmark")
    return {task.id: task.hash for task in plan if task.stage in asked}


def test_one_task_a_model_run_and_replica(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [HOT, FREE], OBSERVE)
    runs = {task.id: task for task in plan.of_stage("dynamics")}
    assert len(runs) == 2 * (1 + 2 * 2)  # of the teacher one replica, of the distilled and the refined student two
    teacher, student = runs["dynamics[teacher,finetuned,0,hot,0]"], runs["dynamics[painn,refined,0,free,1]"]
    assert teacher.settings.ps == 1.0 and teacher.inputs["model"] == FromTask("finetune", "model")  # type: ignore[attr-defined]
    assert student.inputs["before"] == FromTask("dynamics[painn,refined,0,hot,1]", "replica")
    assert student.inputs["model"] == FromTask("train[painn,refined,0]", "model")
    assert not [task for task in plan.of_stage("relabel") if "teacher" in task.id]
    (observed,) = (task for task in plan.of_stage("observe") if task.id == "observe[painn,distilled,0,hot,0]")
    assert list(type(observed.settings).model_fields) == ["g"]


def test_what_says_how_many_and_how_close_runs_no_dynamics_again(tmp_path: Path) -> None:
    before = hashes(plan_of(tmp_path, [HOT, FREE], OBSERVE))
    more = HOT | {"repeats": 3, "teacher": {"ps": 1.0, "repeats": 2}, "variants": ["distilled", "refined", "direct"]}
    after = hashes(plan_of(tmp_path, [more, FREE], OBSERVE | {"g": {**OBSERVE["g"], "tolerance": "5 %"}}))
    assert {name for name in before if after[name] != before[name]} == {"judge"}
    bins = hashes(plan_of(tmp_path, [HOT, FREE], OBSERVE | {"g": {**OBSERVE["g"], "width": 0.1}}))
    changed = {name for name in before if bins[name] != before[name]}
    assert changed == {name for name in before if name.startswith("observe") and "hot" in name} | {"judge"}
    assert hashes(plan_of(tmp_path, [HOT | {"temperature": 301}], {})) != before


@pytest.mark.parametrize(
    ("simulate", "observe", "said"),
    [
        ([FREE], {}, "no run before it is called so"),
        ([HOT, HOT], {}, "two runs are called 'hot'"),
        ([HOT, FREE | {"repeats": 3}], {}, "free has repeats 3, and hot, which it goes on from, 2"),
        ([HOT | {"after": "hot"}], {}, "must have either 'structure' or 'after'"),
        ([HOT | {"masses": {"Xx": 2.0}}], {}, "Xx: 2 is not the mass of an element"),
        ([HOT | {"name": "a b"}], {}, "'a b' cannot name a simulation"),
        ([HOT], {"g": {"kind": "rdf", "run": "cold"}}, "g is of the run 'cold': the simulations of kind dynamics are"),
        ([HOT], {"s": {"kind": "spectrum", "run": "hot"}}, "give the run 'hot' 'velocities: true'"),
        ([HOT], {"g": {"kind": "rfd", "run": "hot"}}, "Did you mean 'rdf'"),
        ([HOT], {"g": {"run": "hot"}}, "the kind is missing"),
        ([HOT], {"g": {"kind": "rdf", "run": "hot", "tolerance": "much"}}, "a share as in '5 %'"),
        ([HOT], {"g": {"kind": "rdf", "run": "hot", "reference": {"file": "none.csv"}}}, "does not exist"),
        ([HOT], {"g": {"kind": "rdf", "run": "hot", "reference": {"value": 1.0}}}, "is a curve: give its reference as"),
        ([HOT], {"E": {"kind": "energy", "run": "hot", "reference": {"file": "r.xyz"}}}, "is a number: give its ref"),
        ([HOT], {"p": {"kind": "pressure", "run": "hot", "reference": {"value": 0.0}}}, "is no tolerance"),
        (
            [HOT | {"programme": [[5, 400], [2, 300]]}],
            {},
            "no programme of temperatures: Give pairs of ascending times",
        ),
        ([HOT | {"programme": [[5, 400]], "ensemble": "nve"}], {}, "nve has no thermostat that follows a programme"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, simulate: list[Any], observe: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refusal:
        plan_of(tmp_path, simulate, observe)
    assert said in str(refusal.value)


def settings(**changed: Any) -> Any:
    given = HOT | {"ps": 0.04, "timestep_fs": 1.0, "save_every_fs": 2.0, "checkpoint_ps": 0.02} | changed
    return Dynamics.Settings.model_validate(given, strict=False)


def job(folder: Path, student: str = "painn", **more: Any) -> Job:
    folder.mkdir()
    labels = {"student": student, "variant": "distilled", "seed": 0, "run": "hot", "replica": 1}
    return Job(out=folder, labels=labels, **more)


@pytest.fixture
def inputs(tmp_path: Path, painn: Potential, silicon: Atoms) -> dict[str, Any]:
    save(painn, tmp_path / "model", {})
    write_frames(tmp_path / "train.xyz", painn.evaluate(Frames.from_atoms([silicon])))
    return {
        "model": tmp_path / "model",
        "frames": tmp_path / "train.xyz",
        "before": None,
        "teacher": tmp_path / "model",
    }


def test_a_longer_run_is_the_same_whether_it_continues_or_not(tmp_path: Path, inputs: dict[str, Any]) -> None:
    said = Dynamics().run(inputs, settings(equilibrate_ps=0.01), job(tmp_path / "short"))
    assert not said["broke"] and said["closest"] > 0.6
    Dynamics().run(inputs, settings(equilibrate_ps=0.01, ps=0.06), job(tmp_path / "on", earlier=(tmp_path / "short",)))
    Dynamics().run(inputs, settings(equilibrate_ps=0.01, ps=0.06), job(tmp_path / "whole"))
    on, whole, short = (TrajectoryFolder(tmp_path / name / REPLICA / PRODUCTION) for name in ("on", "whole", "short"))
    assert len(whole.column("step")) == 31 and len(short.column("step")) == 21
    for name in ("positions", "energy", "temperature"):
        assert (on.column(name) == whole.column(name)).all()
        assert (on.column(name)[:21] == short.column(name)).all()


def test_a_programme_of_temperatures_begins_after_equilibration(tmp_path: Path, inputs: dict[str, Any]) -> None:
    Dynamics().run(inputs, settings(equilibrate_ps=0.01, programme=[[0.02, 600]], ps=0.02), job(tmp_path / "a"))
    said = [TrajectoryFolder(tmp_path / "a" / REPLICA / name).said() for name in (EQUILIBRATION, PRODUCTION)]
    programmes = [one["ensemble"].get("programme") for one in said if one is not None]
    assert programmes == [None, [[0.02, 600.0]]]


def test_a_run_goes_on_where_another_ended_with_its_masses(tmp_path: Path, inputs: dict[str, Any]) -> None:
    Dynamics().run(inputs, settings(), job(tmp_path / "first"))
    first = TrajectoryFolder(tmp_path / "first" / REPLICA / PRODUCTION)
    after = settings(structure=None, after="hot", ensemble="nve", masses={"Si": 40.0}, velocities=True)
    Dynamics().run(inputs | {"before": tmp_path / "first" / REPLICA}, after, job(tmp_path / "second"))
    second = TrajectoryFolder(tmp_path / "second" / REPLICA / PRODUCTION)
    assert np.allclose(second.column("positions")[0], first.column("positions")[-1], atol=1e-5)  # single precision
    said, end = second.said(), first.state()
    assert said is not None and end is not None and set(said["masses"]) == {40.0}
    total = second.column("energy") + second.column("kinetic_energy")
    assert abs(total - total[0]).max() < 0.02 * second.column("kinetic_energy").mean()


def test_a_run_that_broke_is_a_result(tmp_path: Path, inputs: dict[str, Any]) -> None:
    said = Dynamics().run(
        inputs, settings(temperature=300, timestep_fs=200.0, save_every_fs=200.0, ps=4), job(tmp_path / "a")
    )
    assert said["broke"]
    after = settings(structure=None, after="hot")
    on = Dynamics().run(inputs | {"before": tmp_path / "a" / REPLICA}, after, job(tmp_path / "b"))
    assert on["broke"].startswith("hot, which it goes on from, broke: ")
    observe = Observe.settings_class({"g": {"kind": "rdf", "run": "hot"}}, {})
    wanted = observe.model_validate({"g": {"kind": "rdf", "run": "hot"}}, strict=False)
    Observe().run({"replica": tmp_path / "b" / REPLICA}, wanted, job(tmp_path / "c"))
    assert "never begun" in read_measured(tmp_path / "c" / "observables.npz")["g"].why
    none = Relabel().run(inputs | {"replica": tmp_path / "b" / REPLICA}, Relabel.Settings(), job(tmp_path / "d"))
    assert none["structures"] == 0


def test_a_model_agrees_with_itself_on_its_own_structures(tmp_path: Path, inputs: dict[str, Any]) -> None:
    Dynamics().run(inputs, settings(), job(tmp_path / "a"))
    said = Relabel().run(
        inputs | {"replica": tmp_path / "a" / REPLICA}, Relabel.Settings(frames=5), job(tmp_path / "b")
    )
    assert said["structures"] == 5 and said["forces_mae"] == pytest.approx(0.0, abs=1e-9)
