"""A method is chosen by what was held out, at equal cost, and what an interrupted choice has done is not done again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.progress import Progress, Record
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.structures.folds import divide_into_folds
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit
from distill.training.gradient.losses import LossWeights
from distill.training.methods import Method, short_steps
from distill.training.selection import BASE, Selection, Tune, cross_validate


def labelled(n: int = 8) -> Frames:
    """Silicon on springs, -40 eV a cell."""
    rng, ideal = np.random.default_rng(0), bulk("Si", "diamond", a=5.43, cubic=True)
    moves, structures = rng.normal(0, 0.1, (n, 8, 3)), []
    for move in moves:
        atoms = ideal.copy()
        atoms.positions += move
        structures.append(atoms)
    energies = 2.5 * np.einsum("kij,kij->k", moves, moves) - 40.0
    return Frames.from_atoms(structures).with_labels(energies, -5.0 * moves.reshape(-1, 3), None)


def teacher() -> Potential:
    row = POTENTIALS["painn"]
    built: Potential = row.build(row.Settings(cutoff=4.0, channels=8, layers=1), 0)
    built.reference_energies.requires_grad_(False)  # as those of teachers
    return built


class Interrupted(Exception):
    """Raised in the middle of a fit, as a kill would end it."""


class StopIn(Progress):
    """Ends the process' work in a given fit."""

    def __init__(self, fit_number: int) -> None:
        self.words = f"fit {fit_number} of"
        self.phases: list[str] = []

    def publish(self, record: Record, force: bool = False) -> None:
        self.phases.append(record.phase)
        if self.words in record.phase and record.done >= 6:
            raise Interrupted


def tune_by(learning_rate: float, steps: list[int]) -> Tune:
    def tune(potential: Potential, own: Frames, work: Path, progress: Progress) -> None:
        options = {"batch_size": 4, "learning_rate": learning_rate, "validation_interval": 3}
        steps.append(fit(potential, own, labelled(2), steps=12, work=work, progress=progress, **options).curve[-1].step)

    return tune


def select(work: Path, steps: list[int], progress: Progress | None = None) -> Selection:
    """A rate that learns, under the name of one method, beside one that hardly does."""
    methods: Mapping[Method, Tune] = {"lora": tune_by(1e-6, steps), "proximal": tune_by(1e-2, steps)}
    train = labelled()
    return cross_validate(
        teacher(),
        train,
        divide_into_folds(train, 2, 0),
        methods,
        steps=12,
        weights=LossWeights(),
        isolated_atoms={},
        work=work,
        progress=progress or Progress(),
        left_out={"replay": "there is nothing to replay"},
    )


def test_the_method_that_learns_is_chosen_and_its_lead_is_said(tmp_path: Path) -> None:
    found = select(tmp_path, [])
    assert found.best == "proximal" and found.mean("proximal") < found.mean("lora")
    assert found.mean("lora") == pytest.approx(found.mean(BASE), rel=0.01), "it stayed what it was"
    assert found.text().startswith("proximal was chosen by 2 folds of 12 steps each")
    assert "replay was left out: there is nothing to replay" in found.text()


def test_an_interrupted_choice_goes_on_inside_the_fit_it_was_in(tmp_path: Path) -> None:
    whole = select(tmp_path / "whole", [])
    stopped = StopIn(3)
    with pytest.raises(Interrupted):
        select(tmp_path / "halted", [], stopped)
    assert any("choosing a method, fit 3 of 4 (lora)" in phase for phase in stopped.phases)
    halted = StopIn(5)
    ran: list[int] = []
    again = select(tmp_path / "halted", ran, halted)
    assert again.scores == whole.scores, "to the last bit"
    assert len(ran) == 2, "two of the four fits were finished"
    assert not any("fit 1 of 4" in phase for phase in halted.phases)


def test_the_teacher_itself_stays_as_it_is(tmp_path: Path) -> None:
    mine = teacher()
    before = {name: p.detach().clone() for name, p in mine.named_parameters()}
    folds = divide_into_folds(labelled(), 2, 0)
    options = {"steps": 12, "weights": LossWeights(), "isolated_atoms": {}, "work": tmp_path, "progress": Progress()}
    cross_validate(mine, labelled(), folds, {"naive": tune_by(1e-2, [])}, **options)
    assert all(torch.equal(before[name], p) for name, p in mine.named_parameters())


def test_a_method_that_diverges_is_not_chosen_and_the_table_can_be_written() -> None:
    found = Selection({"naive": [math.inf, 1.0], "proximal": [2.0, 3.0], BASE: [4.0, 4.0]}, steps=30)
    assert found.best == "proximal"
    assert "naive diverged" in found.text()
    assert found.summary()["scores"]["naive"] == {"mean": None, "spread": None, "folds": [None, 1.0]}


def test_a_lead_within_the_scatter_is_said_to_be_one() -> None:
    scattered = Selection({"naive": [1.0, 2.0], "proximal": [1.5, 1.6], BASE: [4.0, 4.0]}, steps=30)
    clear = Selection({"naive": [1.0, 2.0], "proximal": [1.5, 2.51], BASE: [4.0, 4.0]}, steps=30)
    assert "no more than the folds scatter" in scattered.text()
    assert ", more than the folds scatter" in clear.text()


def test_all_short_fits_together_take_their_share() -> None:
    assert 12 * short_steps(300, 1.0, 12) == 300
    assert short_steps(1000, 0.5, 12) * 12 <= 500
    assert short_steps(2, 1.0, 12) == 1
