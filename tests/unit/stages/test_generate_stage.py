"""Generation as a stage: extended, resumed, with a surrogate, with fixed atoms. An untrained PaiNN is the teacher."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import Prediction
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.teachers.ensemble import join
from distill.stages.base import Job
from distill.stages.generate import Generate
from distill.stages.label import Label, SpreadSettings
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.training.targets import Targets

Paths = dict[str, Path]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A teacher and four seeds, one of them for validation; the last one is a slab whose lower half is fixed."""
    folder = tmp_path_factory.mktemp("inputs")
    row = POTENTIALS["painn"]
    teacher = row.build(row.Settings(channels=8, layers=1, cutoff=4.0), 0)
    crystal = bulk("Cu", "fcc", a=3.65, cubic=True)
    slab = fcc111("Cu", (1, 1, 4), a=3.65, vacuum=5.0)
    slab.set_constraint(FixAtoms([0, 1]))
    frames = Frames.from_atoms([crystal, bulk("Cu", "fcc", a=3.65).repeat((2, 1, 1)), crystal, slab])
    frames = teacher.evaluate(frames)
    teacher.initialise(frames)
    save(teacher, folder / "teacher", {})
    paths = {"teacher": folder / "teacher", "train": folder / "train.xyz", "valid": folder / "valid.xyz"}
    write_frames(paths["train"], frames[[0, 1, 3]])
    write_frames(paths["valid"], frames[[2]])
    return paths


def run(inputs: Paths, out: Path, earlier: tuple[Path, ...] = (), **settings: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    values = {"structures": 12, "temperature": 800.0, "sigma": (0.1, 0.3)} | settings
    return Generate().run(inputs, Generate.Settings(**values), Job(out, earlier=earlier))


def grown(out: Path) -> Frames:
    return read_frames(out / "structures.xyz")[0]


def assert_alike(a: Frames, b: Frames) -> None:
    """The same trees: single precision of the teacher, summed in another order, is all that may differ.

    That is 1e-7 of energies and forces; relax steps follow unit forces and repeat it a few times over.
    """
    assert a.info == b.info
    for name, tolerance in (("positions", 1e-4), ("cells", 1e-12), ("energy", 1e-3), ("forces", 1e-3)):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=tolerance)


def test_a_larger_number_extends_the_trees_of_an_earlier_task(
    inputs: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = 0
    predict = Potential.predict

    def counted(self: Potential, frames: Frames, stress: bool = True) -> Prediction:
        nonlocal evaluated
        evaluated += len(frames)
        return predict(self, frames, stress)

    monkeypatch.setattr(Potential, "predict", counted)
    first = run(inputs, tmp_path / "few", structures=6)
    evaluated = 0
    whole = run(inputs, tmp_path / "whole")
    needed, evaluated = evaluated, 0
    extended = run(inputs, tmp_path / "extended", (tmp_path / "few",))
    assert_alike(grown(tmp_path / "extended"), grown(tmp_path / "whole"))
    assert extended["teacher_calls"] == whole["teacher_calls"] > first["teacher_calls"]
    assert evaluated <= needed - first["teacher_calls"] + 4  # at most the seeds are evaluated again
    assert not list((tmp_path / "extended").glob(".*"))


def test_batches_change_no_structure(inputs: Paths, tmp_path: Path) -> None:
    run(inputs, tmp_path / "a", batch_atoms=1)
    run(inputs, tmp_path / "b", batch_atoms=1000)
    assert_alike(grown(tmp_path / "a"), grown(tmp_path / "b"))


def test_summary_and_files_agree(inputs: Paths, tmp_path: Path) -> None:
    summary = run(inputs, tmp_path / "out")
    frames = grown(tmp_path / "out")
    assert summary["accepted"] == len(frames) == summary["funnel"]["accepted"] == 12
    for table in summary["histograms"].values():
        assert sum(table["counts"]) == 12 and len(table["edges"]) == len(table["counts"]) + 1
    seeds = read_frames(tmp_path / "out" / "seeds.xyz")[0]
    again = load(inputs["teacher"]).evaluate(frames)
    # Structures are written with all digits; single precision in batches of another composition.
    assert again.forces == pytest.approx(frames.forces, abs=1e-4)
    assert seeds.labels("split") == ["train", "train", "train", "valid"]
    assert {i["split"] for i in frames.info if i["tree"] == 3} == {"valid"}


def test_fixed_atoms_stay_and_remain_fixed(inputs: Paths, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out")
    frames, seed = grown(tmp_path / "out"), read_frames(inputs["train"])[0][2]
    slabs = frames[[k for k, i in enumerate(frames.info) if i["tree"] == 2]]
    assert len(slabs) == 3
    for slab in slabs:
        moved = np.linalg.norm(slab.positions - seed.positions, axis=1)
        assert np.all(moved[:2] < 1e-12) and np.all(moved[2:] > 0)
        assert np.array_equal(slab.fixed, seed.fixed)


SURROGATE = {"student": "painn", "after": 4, "every": 4, "steps": 4, "validation_interval": 2, "batch_size": 4}


def test_a_surrogate_spares_teacher_calls_and_labels_are_the_teachers(inputs: Paths, tmp_path: Path) -> None:
    plain = run(inputs, tmp_path / "plain")
    summary = run(inputs, tmp_path / "out", surrogate=SURROGATE)
    assert summary["accepted"] == 12 and summary["surrogate_calls"] > 0
    assert summary["teacher_calls"] < plain["teacher_calls"]
    frames = grown(tmp_path / "out")
    assert load(inputs["teacher"]).evaluate(frames).forces == pytest.approx(frames.forces, abs=1e-4)
    left = sorted(p.name for p in (tmp_path / "out" / "growth").iterdir())
    assert left == ["journal", "journal.mark", "surrogate-1", "surrogate-2"]
    assert not list((tmp_path / "out").rglob("*.ckpt"))


def test_surrogates_are_found_again(inputs: Paths, tmp_path: Path) -> None:
    run(inputs, tmp_path / "few", structures=10, surrogate=SURROGATE)
    run(inputs, tmp_path / "more", (tmp_path / "few",), surrogate=SURROGATE)
    run(inputs, tmp_path / "whole", surrogate=SURROGATE)
    frames, whole = grown(tmp_path / "more"), grown(tmp_path / "whole")
    assert len(frames) == len(whole) == 12
    assert_alike(frames[[0, 1, 3, 4, 6, 7, 9, 10]], whole[[0, 1, 3, 4, 6, 7, 9, 10]])  # what the first two made
    weights = Path("growth/surrogate-1/weights.safetensors")
    assert (tmp_path / "few" / weights).read_bytes() == (tmp_path / "more" / weights).read_bytes()


def test_label_keeps_what_generation_labelled_and_adds_dimers_and_compressions(inputs: Paths, tmp_path: Path) -> None:
    run(inputs, tmp_path / "grown")
    files = {"structures": tmp_path / "grown" / "structures.xyz", "seeds": tmp_path / "grown" / "seeds.xyz"}
    (tmp_path / "out").mkdir()
    summary = Label().run({"teacher": inputs["teacher"]} | files, Label.Settings(), Job(tmp_path / "out"))
    joined = read_frames(tmp_path / "out" / "synthetic.xyz")[0]
    frames = grown(tmp_path / "grown")
    assert np.array_equal(joined[range(12)].forces, frames.forces)
    assert summary["structures"] == len(joined) == 12 + 4 + summary["dimers"] + summary["compressions"]
    assert 0 < summary["compressions"] == joined.labels("config_type").count("compression")
    side = np.array(joined.labels("split"))[np.array(joined.labels("config_type")) == "compression"]
    assert set(side) == {"train"}
    again = load(inputs["teacher"]).evaluate(replace(joined, energy=None, forces=None, stress=None))
    assert again.energy == pytest.approx(joined.energy, abs=1e-4)
    assert len(read_frames(tmp_path / "out" / "valid.xyz")[0]) == 2 + 1  # a sixth of 12, and the seed


def labelled_by_two(inputs: Paths, folder: Path, **settings: Any) -> tuple[dict[str, Any], Frames, Targets]:
    """Label what one teacher has grown with the mean of it and another, and return what there is to train on."""
    first = load(inputs["teacher"])
    second = deepcopy(first)
    with torch.no_grad():
        for name, weights in second.named_parameters():
            weights.mul_(1.0 if name == "reference_energies" else 1.1)
    if not (folder / "grown").exists():
        run(inputs, folder / "grown")
        save(join({"one": first, "other": second}, (0.5, 0.5)), folder / "pair", {})
    files = {name: folder / "grown" / f"{name}.xyz" for name in ("structures", "seeds")}
    out = folder / f"out{len(list(folder.iterdir()))}"
    out.mkdir()
    given = Label.Settings(spread=SpreadSettings(**settings))
    summary = Label().run({"teacher": folder / "pair"} | files, given, Job(out))
    return summary, read_frames(out / "train.xyz")[0], Targets.load(out / "train.npz")


def test_the_spread_of_two_teachers_travels_with_every_label(inputs: Paths, tmp_path: Path) -> None:
    summary, train, targets = labelled_by_two(inputs, tmp_path, limit=None, weigh="all")
    spread = load(tmp_path / "pair").evaluate_with_spread(train)[1]
    assert spread is not None and summary["left_out"] == 0 and len(train) == summary["train"]
    # single precision, in batches of another composition
    np.testing.assert_allclose(targets.forces_spread, spread.forces, atol=1e-4)
    np.testing.assert_allclose(targets.energy_spread, spread.energy, atol=1e-5)
    np.testing.assert_allclose([i["forces_spread"] for i in train.info], spread.of_structures(train), atol=1e-4)
    grown = ~np.isin(train.labels("config_type"), ["dimer", "compression"])
    assert targets.energy_weight is not None and targets.forces_weight is not None
    assert (targets.energy_weight[~grown] == 1).all() and 0 < grown.sum() < len(grown)
    of_grown = grown[train.structure_of_atom]
    assert targets.forces_weight[of_grown].mean() == pytest.approx(1, abs=1e-12)
    # the farther the teachers lie apart, the less a label counts
    of_forces = labelled_by_two(inputs, tmp_path, limit=None, weigh="forces")[2]
    assert (of_forces.energy_weight == 1).all()  # type: ignore[union-attr]
    np.testing.assert_array_equal(of_forces.forces_weight, targets.forces_weight)
    order = np.argsort(spread.forces[of_grown])
    assert targets.forces_weight[of_grown][order[0]] > 1 > targets.forces_weight[of_grown][order[-1]]


def test_what_no_teacher_knows_is_left_out_and_counted(inputs: Paths, tmp_path: Path) -> None:
    _, every, _ = labelled_by_two(inputs, tmp_path, limit=None)
    apart = np.array([i["forces_spread"] for i in every.info])
    grown = ~np.isin(every.labels("config_type"), ["dimer", "compression"])
    limit = float(np.sort(apart[grown])[-2] / np.median(apart[grown])) * 1.0001  # between the largest and the next
    summary, train, targets = labelled_by_two(inputs, tmp_path, limit=limit)
    assert summary["left_out"] == 1 and "1 left out" in summary["headline"]
    assert len(train) == len(every) - 1 == len(targets.energy_spread)  # type: ignore[arg-type]
    assert max(i["forces_spread"] for i, own in zip(every.info, grown, strict=True) if own) not in [
        i["forces_spread"] for i in train.info
    ]
    assert targets.energy_weight is None and targets.forces_weight is None
    assert summary["left_out_above_eV_per_A"] == pytest.approx(limit * np.median(apart[grown]), rel=1e-3)


@pytest.mark.parametrize("value", [{"O-Xx": 1.0}, {"O": 1.0}, {"O-H": -1.0}, -0.5])
def test_senseless_separations_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"pair of elements|0 Å"):
        Generate.Settings(min_separation=value)


def test_an_unknown_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="painn"):
        Generate.Settings(surrogate={"student": "pain"})


def test_separations_by_pair_reach_the_rules(inputs: Paths, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="min_separation"):
        run(inputs, tmp_path / "out", min_separation={"Cu-Cu": 2.6})
