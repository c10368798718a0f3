"""What notebooks hold: runs and sweeps that were done, with their tables, figures and students."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import distill
from distill.base.errors import UserError
from distill.results import Run, SweepResult

ROOT = Path(__file__).parents[2]
RECIPE = """\
name: small
data: {{train: {silicon}/train.xyz, valid: {silicon}/valid.xyz, test: {silicon}/test.xyz}}
teacher: {{model: diep-2.0, finetune: null}}
synthetic: {{structures: 12, compressions: 0}}
students:
  painn: {{arch: painn, cutoff: 3.5, channels: 8, layers: 1, steps: 4, validation_interval: 2, batch_size: 2}}
evaluate: {{resamples: 100}}
benchmark: {{seconds: 0}}
"""


@pytest.fixture(scope="module")
def swept(one_worker: None, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A sweep of two draws and two seeds, and a variant whose training diverges."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "recipe.yaml").write_text(RECIPE.format(silicon=ROOT / "data" / "silicon"))
    sweep = distill.sweep(
        folder / "recipe.yaml",
        zip=[{"students.painn.structures": [4, 8, 8], "students.painn.learning_rate": [0.01, 0.01, 1e30]}],
        seeds=2,
        name="sizes",
    )
    assert repr(sweep) == "Sweep('sizes': 3 variants of students.painn.structures, students.painn.learning_rate)"
    result = sweep.run(runs=folder / "runs", progress=False, device="cpu")
    assert isinstance(result, SweepResult)
    return result


@pytest.mark.slow
def test_a_sweep_counts_every_model_once_and_shows_what_diverged(swept: SweepResult) -> None:
    models, metrics = swept.models, swept.metrics
    assert len(models) == models["model_hash"].nunique() == 3 * 2 + 2 * 2  # the direct ones do not depend on structures
    direct = models[models["variant"] == "direct"]
    assert direct["students.painn.structures"].isna().all() and sorted(direct["seed"]) == [0, 0, 1, 1]
    assert set(models["students.painn.learning_rate"]) == {0.01, 1e30}
    sizes = models[models["variant"] == "distilled"].groupby("students.painn.structures")["train_structures"].min()
    assert sizes[8] - sizes[4] == 4
    test = metrics.query("split == 'test' and quantity == 'forces' and statistic == 'mae' and config_type == 'all'")
    assert not test.duplicated(["model_hash", "reference", "variant", "seed"]).any()
    assert set(swept.failures["status"]) == {"diverged"} and set(swept.failures["seed"]) == {0, 1}
    page = swept.report.path.read_text()
    assert "diverged" in page and "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")
    assert "4 failed" in repr(swept) and str(swept.report.path) in swept._repr_html_()


@pytest.mark.slow
def test_a_variant_is_a_run_whose_students_ase_can_use(swept: SweepResult) -> None:
    run = swept.variants["structures-8_learning_rate-0.01"]
    assert set(run.curves["variant"]) == {"distilled", "direct"} and run.curves["valid_loss"].notna().all()
    losses = swept.models.query("variant == 'distilled' and `students.painn.structures` == 8 and status != 'diverged'")
    best = int(losses.sort_values("valid_loss")["seed"].iloc[0])
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = run.student("painn").calculator()
    forces = atoms.get_forces()
    atoms.calc = run.student("painn", seed=best).calculator()
    assert np.array_equal(atoms.get_forces(), forces)
    assert "painn, cut-off 3.5 Å" in repr(run.student("painn")) and len(repr(run.student("painn"))) < 200
    with pytest.raises(UserError, match=r"no student 'pain' is trained. Did you mean 'painn'"):
        run.student("pain")
    with pytest.raises(UserError, match="painn has no variant 'refined'"):
        run.student("painn", variant="refined")
    with pytest.raises(UserError, match=r"no seed 7. Its seeds: \[0, 1\]"):
        run.student("painn", seed=7)


@pytest.mark.slow
def test_it_is_opened_again_by_name_and_a_second_run_does_nothing(swept: SweepResult) -> None:
    runs = swept.folder.parent
    again = distill.open_run("sizes", runs=runs)
    assert isinstance(again, SweepResult) and again.keys == swept.keys and again.metrics.equals(swept.metrics)
    one = distill.open_run(runs / "sizes" / "variants" / "structures-4_learning_rate-0.01")
    assert isinstance(one, Run) and len(one.metrics) > 0 and one.summary["tasks"]["evaluate"]["cached"] is False
    with pytest.raises(UserError, match=r"there is no such run\. Runs here: sizes"):
        distill.open_run("size", runs=runs)


def test_errors_and_interrupts_are_one_line_in_a_notebook() -> None:
    from distill.base.errors import Interrupted

    assert UserError("is wrong", "a.yaml", "Mend it")._render_traceback_() == ["UserError: a.yaml: is wrong. Mend it."]
    assert Interrupted()._render_traceback_() == [
        "Interrupted. Nothing is lost: the same command continues where this one stood."
    ]
    assert isinstance(Interrupted(), KeyboardInterrupt)
