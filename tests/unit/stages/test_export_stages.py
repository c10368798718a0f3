"""Students for other programs as stages: what is planned, what a failed gate does, and what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

import distill
from distill.analysis.gate import GateRow
from distill.base.artifact import Artifact, Labels
from distill.base.errors import UserError, WorkError
from distill.base.files import write_json, write_table
from distill.exporting.gate import Gate as Found
from distill.exporting.lammps import certificate as lammps
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.reporting.exports import certificate_table, export_sentences, exports_table, gate_table
from distill.reporting.sources import exports
from distill.results import Run
from distill.stages.base import Job
from distill.stages.card import Card
from distill.stages.certify import Certify
from distill.stages.exported import Export
from distill.stages.gate import Gate
from distill.stages.kinds import Langevin
from distill.stages.molecular_dynamics import MolecularDynamics
from distill.stages.write import Write
from distill.structures.frames import Frames
from distill.structures.write import write_frames
from distill.workflow.explain import _part_changes

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
STAGES = ("gate", "write", "certify", "card")
LABELS = {"student": "painn", "variant": "refined", "seed": 1}


def planned(**values: Any) -> distill.workflow.plan.Plan:
    """The plan of the quickstart with values of its export section."""
    return distill.plan(QUICKSTART, "cpu", {f"export.{name}": value for name, value in values.items()})


def tasks(plan: distill.workflow.plan.Plan) -> list[str]:
    return [task.id for task in plan if task.stage in STAGES]


def test_without_a_program_nothing_is_exported() -> None:
    assert tasks(planned(to=[])) == []


def test_what_distillation_ends_with_is_exported() -> None:
    plan = planned(to=["lammps"])
    assert tasks(plan) == [f"{stage}[painn,refined,0]" for stage in STAGES]
    assert plan["card[painn,refined,0]"].publish == {"export": "exports/painn-refined"}
    assert plan["gate[painn,refined,0]"].hash_inputs["settings"] == {"highest": 1200.0}


def test_variants_are_chosen_and_the_gate_may_be_left_out() -> None:
    found = tasks(planned(to=["lammps"], variants=["distilled", "direct"], gate="off"))
    assert found == [f"{stage}[painn,{of},0]" for stage in STAGES[1:] for of in ("distilled", "direct")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"to": ["lamps"]}, "unknown program 'lamps'. Did you mean 'lammps'"),
        ({"to": ["lammps"], "students": ["pain"]}, "there is no student 'pain'"),
        ({"to": ["lammps"], "seeds": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_it_is_trained(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(**values)


def test_students_that_a_program_does_not_take_are_refused_unless_they_are_left_out() -> None:
    values = {"export.to": ["lammps"], "students.net": {"arch": "schnet", "cutoff": 4.0}}
    with pytest.raises(UserError, match="the student net: LAMMPS takes painn, tensornet and ace, and not schnet"):
        distill.plan(QUICKSTART, "cpu", values)
    assert len(tasks(distill.plan(QUICKSTART, "cpu", values | {"export.students": ["painn"]}))) == 4


def test_what_fails_takes_neither_the_others_nor_the_report() -> None:
    """Also where it is the only one."""
    values = {"export.to": ["lammps"], "students.other": {"arch": "painn", "cutoff": 4.0}}
    whole = distill.plan(QUICKSTART, "cpu", values)
    left = whole.without(["write[painn,refined,0]"])
    assert "card[other,distilled,0]" in left["report"].needs
    assert "gate[painn,refined,0]" in left["report"].needs  # the report says why
    assert "card[painn,refined,0]" not in left["report"].needs
    none = planned(to=["lammps"]).without(["write[painn,refined,0]"])
    assert not [need for need in none["report"].needs if need.startswith(("certify", "card"))]


def test_a_program_that_is_installed_later_is_certified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written stays as it is."""
    before = planned(to=["lammps"])
    monkeypatch.setattr("distill.exporting.target._version", lambda distribution: "1.0")
    after = planned(to=["lammps"])
    changed = {task.stage for task in after if task.hash != before[task.id].hash}
    assert changed == {"certify", "card", "report"}


def test_a_plan_says_which_program_is_another() -> None:
    task = planned(to=["lammps"])["certify[painn,refined,0]"]
    assert set(task.hash_inputs["programs"]) == {"lammps for lammps", "mpich for lammps", "compiler for lammps"}
    assert _part_changes("programs", {"lammps for lammps": "none"}, {"lammps for lammps": "2025.7"}) == [
        "programs lammps for lammps: none -> 2025.7"
    ]


def test_a_run_lists_what_became_of_its_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was refused has no certificate and no folder."""
    other = LABELS | {"student": "other"}
    said = {
        "gate": [(LABELS, {"passed": False}), (other, {"passed": True})],
        "certify": [(other, {"verdict": "passed"})],
        "card": [(other, {"folder": "exports/other-refined-seed1"})],
    }

    def artifacts(run: Run, stage: str) -> list[tuple[Labels, Path]]:
        for labels, summary in said[stage]:
            write_json(tmp_path / stage / str(labels["student"]) / "manifest.json", {"summary": summary})
        return [(labels, tmp_path / stage / str(labels["student"])) for labels, _ in said[stage]]

    monkeypatch.setattr(Run, "_artifacts", artifacts)
    found = Run(tmp_path).exports
    assert found.student.tolist() == ["painn", "other"] and found.gate.tolist() == [False, True]
    assert found.certificate.tolist() == [None, "passed"]
    assert found.folder.tolist() == [None, "exports/other-refined-seed1"]


def test_licences_for_research_alone_are_said_when_a_recipe_is_planned() -> None:
    plan = distill.plan(QUICKSTART, "cpu", {"teacher.model": "mace-off23"})
    (note,) = plan.notes()
    assert note.startswith("the weights of mace-off23 are not for commercial use")
    assert planned(to=[]).notes() == []


def test_the_highest_temperature_of_the_simulations_counts() -> None:
    cold = Langevin.model_validate({"kind": "langevin", "structure": {"frame": 0}, "temperature": 300.0})
    heated = MolecularDynamics(kind="dynamics", name="melt", structure=cold.structure, programme=((1.0, 2000.0),))
    found = [
        Gate.Settings(temperature=own, simulated=runs, grown=500.0).highest  # type: ignore[arg-type]
        for own, runs in ((None, (cold, heated)), (700.0, (cold, heated)), (None, ()))
    ]
    assert found == [2000.0, 700.0, 500.0]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved student, structures of its data, and what two gates found."""
    folder = tmp_path_factory.mktemp("material")
    student = PaiNN.build(PaiNN.Settings(channels=4, layers=1, radial_features=4, cutoff=3.0), seed=1)
    student.elements = (14,)
    save(student, folder / "model", {"teacher": {"name": "diep-2.0", "licence": "BSD-3-Clause"}})
    frames = Frames.from_atoms([bulk("Si", cubic=True)])
    write_frames(folder / "frames.xyz", frames.with_labels(np.zeros(1), np.zeros((8, 3)), None))
    for name, passed in (("sound", True), ("holes", False)):
        row = GateRow("two atoms Si-Si", passed, 1.0, 2.0, "eV", "Si-Si falls", warns=False)
        Found("painn", (row,), ("Si",), 0, 300.0, "", 1.0).write(folder / name)
    return folder


def write(material: Path, out: Path, gate: str | None, rule: str) -> dict[str, Any]:
    """Write the student as the recipe's rule for the gate says, and return the summary."""
    given = Export(to=("lammps",), gate=rule)  # type: ignore[arg-type]
    own = {name: getattr(given, name) for name in ("to", "gate", "precision", "structure", "data_licence", "students")}
    settings = Write.Settings(**own, architectures={"painn": "painn"})
    found = None if gate is None else material / gate / "gate.json"
    inputs = {"model": material / "model", "gate": found, "frames": material / "frames.xyz"}
    return Write().run(inputs, settings, Job(out, LABELS))


def test_a_student_that_fails_the_gate_is_refused(material: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"Si-Si falls.*export\.gate: warn"):
        write(material, tmp_path, "holes", "strict")
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    ("gate", "rule", "begins"),
    [
        ("holes", "warn", "UNSAFE: Si-Si falls"),
        ("sound", "strict", "Safety gate: painn passes"),
        (None, "off", "The safety gate was not run"),
    ],
)
def test_an_export_says_how_safe_it_is(
    material: Path, tmp_path: Path, gate: str | None, rule: str, begins: str
) -> None:
    said = write(material, tmp_path, gate, rule)["safety"]
    assert said.startswith(begins)
    for file in ("README.md", "in.example"):
        assert said in (tmp_path / "export" / "lammps" / file).read_text()
    assert "14 atoms" not in said and (tmp_path / "export" / "lammps" / "structure.data").exists()


def test_an_export_is_put_together_and_the_report_says_so(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no LAMMPS: everything is there, and the certificate says what was not run."""

    def none_here(prefix: object) -> None:
        raise UserError("there is no LAMMPS here")

    monkeypatch.setattr(lammps, "find_lammps", none_here)
    outs = {stage: tmp_path / stage for stage in STAGES}
    for out in outs.values():
        out.mkdir()
    summary = write(material, outs["write"], "holes", "warn")
    job = Job(outs["certify"], LABELS)
    of = Certify.Settings(to=("lammps",), precision="double")
    said = Certify().run({"written": outs["write"] / "export"}, of, job)
    assert said["programs"] == {"lammps": "not run: there is no LAMMPS here"}
    write_table(tmp_path / "metrics.csv", ("model", "variant", "seed"), [])
    write_json(tmp_path / "verdict.json", {"students": [LABELS | {"sentence": "accepted", "levels": {"2": "pass"}}]})
    write_table(outs["write"] / "speed.csv", ("model", "ms_per_step"), [])
    inputs = {
        "written": Artifact(outs["write"], "write", LABELS, {"summary": summary}),
        "gate": material / "holes" / "gate.json",
        "certificate": outs["certify"] / "certificate.json",
        "structures": material / "frames.xyz",
        "metrics": tmp_path / "metrics.csv",
        "verdict": tmp_path / "verdict.json",
        "benchmark": Artifact(outs["write"], "benchmark", {}, {"summary": {"machine": ""}}),
    }
    made = Card().run(inputs, Card.Settings(to=("lammps",), data_licence="MIT"), Job(outs["card"], LABELS))
    whole = outs["card"] / "export"
    there = {"README.md", "certificate.json", "gate.json", "model.json", "weights.safetensors", "frames.xyz"}
    assert {path.name for path in whole.iterdir()} == there | {"lammps", "LICENSES", "certify.py"}
    assert "**UNSAFE: Si-Si falls**" in (whole / "README.md").read_text()
    assert "Accepted." in (whole / "README.md").read_text()
    assert distill.load_potential(whole).elements == (14,)

    artifacts = [Artifact(folder, "", LABELS, {"summary": made}) for folder in (material / "holes", outs["certify"])]
    (one,) = exports([artifacts[0]], [artifacts[1]], [artifacts[0]])
    assert list(export_sentences([one])) == [("bad", "Safety gate: painn, refined fails 1 of 1 checks: Si-Si falls.")]
    table = exports_table([one])
    assert table is not None
    assert [cell.main for cell in table.rows[0]][1:] == ["failed", "not run", "exports/painn-refined-seed1"]
    assert gate_table([one]) is not None and certificate_table([one]) is None
    assert json.loads((whole / "gate.json").read_text())["rows"][0]["sentence"] == "Si-Si falls"
