"""What is forgotten is measured on other materials, and replaying others lessens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.structures.materials import CRYSTALS, MOLECULES, ordinary_materials
from distill.training.forgetting import forgetting, to_replay
from distill.training.gradient.fit import fit
from distill.training.gradient.loaders import ShuffledBatches


@pytest.fixture(scope="module")
def chgnet() -> Potential:
    row = POTENTIALS["chgnet-0.3"]
    built: Potential = row.build(row.Settings(), 0)
    return built


def silicon(n: int = 6) -> Frames:
    rng = np.random.default_rng(0)
    structures = [bulk("Si") for _ in range(n)]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    return Frames.from_atoms(structures)


def test_the_two_sets_share_no_material() -> None:
    assert not {*CRYSTALS["test"], *MOLECULES["test"]} & {*CRYSTALS["replay"], *MOLECULES["replay"]}


def test_materials_are_the_same_at_every_call_and_leave_out_the_one_at_hand() -> None:
    everything = ordinary_materials("replay", None)
    again = ordinary_materials("replay", None, apart_from=(14,))
    assert set(everything.labels("material")) - set(again.labels("material")) == {"Si"}
    kept = np.array(everything.labels("material")) != "Si"
    assert np.array_equal(everything[kept].positions, again.positions)
    assert set(ordinary_materials("test", (1, 6, 8)).elements) <= {1, 6, 8}


def test_an_unchanged_model_has_forgotten_nothing(chgnet: Potential) -> None:
    others = ordinary_materials("test", (6, 12, 8))
    labelled = chgnet.evaluate(others)
    found = forgetting(labelled, labelled)
    assert (found.forces, found.energy, found.structures) == (0.0, 0.0, len(others))
    moved = labelled.with_labels(labelled.energy + 0.5 * labelled.n_atoms, labelled.forces + 0.1, None)
    found = forgetting(labelled, moved)
    assert found.forces == pytest.approx(0.1, rel=1e-6)
    assert found.energy == pytest.approx(0.5, rel=1e-6)
    assert all(change == pytest.approx(0.1, rel=1e-6) for change in found.by_material.values())


def test_labels_to_replay_follow_the_reference_shift(chgnet: Potential) -> None:
    train = silicon()
    given = chgnet.evaluate(ordinary_materials("replay", (6, 14, 1, 8), train.elements))
    replayed = to_replay(chgnet, given, {"C": -2.0}, train)
    carbons = np.bincount(given.structure_of_atom, given.numbers == 6, len(given))
    np.testing.assert_allclose(replayed.energy - given.energy, -2.0 * carbons, atol=1e-9)  # plain arithmetic
    assert np.array_equal(replayed.forces, given.forces)


def test_structures_without_labels_get_those_of_the_model(chgnet: Potential) -> None:
    bare = ordinary_materials("replay", (6, 1), silicon().elements)
    replayed = to_replay(chgnet, bare, {}, silicon())
    assert np.array_equal(replayed.forces, chgnet.evaluate(bare).forces)
    with pytest.raises(UserError, match="but not both"):
        to_replay(chgnet, bare.with_labels(np.zeros(len(bare)), None, None), {}, silicon())


def test_every_pass_has_the_share_asked_for_and_takes_turns() -> None:
    batches = ShuffledBatches(np.ones(13), batch_size=5, seed=0, others=5, share=0.2)
    epochs = [batches.order(epoch) for epoch in range(5)]
    for epoch in epochs:
        assert sorted(i for i in epoch if i < 8) == list(range(8))
        assert len(epoch) == 10  # two of ten: a fifth
    others = [i for epoch in epochs for i in epoch if i >= 8]
    assert sorted(others) == sorted(2 * list(range(8, 13)))  # ten places, five structures: each twice


@pytest.mark.slow
def test_replay_lessens_forgetting(tmp_path: Path) -> None:
    """The purpose of it, with a real model: forces of silicon that are twice the model's own are learnt."""
    row = POTENTIALS["chgnet-0.3"]
    others = ordinary_materials("test", (6, 12, 8, 74), (14,))
    changes = {}
    for share in (0.0, 0.5):
        potential = row.build(row.Settings(), 0)
        before, own = potential.evaluate(others), potential.evaluate(silicon())
        wrong = own.with_labels(own.energy, 2 * own.forces, None)
        replay = to_replay(potential, None, {}, wrong)
        arguments = {"steps": 40, "batch_size": 4, "learning_rate": 1e-3, "average": 0.0}
        fit(potential, wrong, wrong, replay=replay, replay_share=share, work=tmp_path / str(share), **arguments)
        changes[share] = forgetting(before, potential.evaluate(others)).forces
    assert changes[0.5] < 0.7 * changes[0.0]
