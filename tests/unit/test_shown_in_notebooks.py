"""What a notebook shows of plans, sweeps, evaluations and structures is short, says what matters, and is escaped."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

import distill
from distill.base.html import MOST, table
from distill.structures.frames import Frames

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"


def test_a_plan_is_a_line_a_stage() -> None:
    plan = distill.plan(QUICKSTART)
    assert repr(plan) == f"Plan('quickstart': {len(plan)} tasks)"
    page = plan._repr_html_()
    stages = {task.stage for task in plan}
    assert all(f">{stage}<" in page for stage in stages) and page.count("<tr>") == 1 + len(stages)
    assert "train[painn,distilled,0]" in page


@pytest.mark.parametrize("variants", [3, 30])
def test_a_sweep_is_a_line_a_variant_and_its_plan_says_how_much_is_shared(variants: int) -> None:
    sweep = distill.sweep(QUICKSTART, {"students.painn.steps": list(range(100, 100 + variants))})
    page = sweep._repr_html_()
    assert page.count("<tr>") == 1 + min(variants, MOST) and "steps-100" in page
    assert ("... and 10 more" in page) == (variants == 30)
    plan = sweep.plan()
    row = f"<td>finetune</td><td>{variants}</td><td>1</td>"
    assert row in plan._repr_html_().replace(' style="text-align: left"', "")
    assert f"{plan.planned} tasks, {len(plan)} of them different" in plan._repr_html_()


def test_an_evaluation_is_its_errors() -> None:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.1, seed=0)
    bare = distill.evaluate(LennardJones(sigma=3.4, epsilon=0.01), atoms, name="pair")
    assert len(repr(bare)) < 100 and "pair" in repr(bare) and "no labels" in repr(bare)
    assert "<table>" not in bare._repr_html_()
    labelled = distill.evaluate(LennardJones(sigma=3.4, epsilon=0.02), bare.predicted, name="<pair>")
    page = labelled._repr_html_()
    assert "no labels" not in repr(labelled) and "&lt;pair&gt;" in page and "forces (meV/Å)" in page
    assert len(page) < 4000


def test_structures_are_counted() -> None:
    frames = Frames.from_atoms([bulk("Si"), bulk("NaCl", "rocksalt", a=5.6)])
    assert repr(frames) == "Frames(2 structures, 4 atoms, Na Si Cl; no labels)"
    assert repr(Frames.empty()) == "Frames(0 structures, 0 atoms, no elements; no labels)"


def test_tables_are_escaped() -> None:
    page = table("<a>", ["<b>"], [["<c>"]])
    assert all(f"&lt;{one}&gt;" in page for one in "abc") and "<c>" not in page
