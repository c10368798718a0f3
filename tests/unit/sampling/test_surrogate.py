"""A surrogate spares teacher calls and decides nothing: labels and the rule are the teacher's, in every stretch."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ase.build import bulk
from ase.units import kB
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import FREELY, MOST, RULES, Toy, assert_geometric, crystal, crystals, fix, flat, morse, records, same

from distill.base.errors import UserError
from distill.sampling.grow import grow
from distill.sampling.surrogate import Surrogate, stretches
from distill.structures.frames import Frames, concatenate

PATIENT = replace(RULES, structures=60, temperature=200.0, sigma=(0.1, 0.4))
"""At this temperature structures are relaxed for long."""

AFTER, EVERY = 16, 18
ENDS = (16, 34, 52, 60)


class Trainer:
    """Trains toys whose energies are a little too low, each in another way, and keeps what it was given."""

    def __init__(self, most=np.inf, label=None):
        self.most = most
        self.label = label
        self.trained = []
        self.toys = []

    def __call__(self, structures, number):
        self.trained.append((number, structures))
        label = self.label or partial(morse, depth=0.305 + 0.005 * number, width=1.3 + 0.03 * number)
        self.toys.append(Toy(label, most=self.most))
        return self.toys[-1]

    @property
    def calls(self):
        return sum(toy.calls for toy in self.toys)


def seeds():
    """Two trees, one of them partly fixed."""
    return fix(crystals()[[0, 2]], np.arange(10) == 4)


def run(toy, trainer, journal, structures=60, **options):
    rules = replace(PATIENT, structures=structures)
    return grow(toy, seeds(), rules, seed=1, journal=journal, surrogate=Surrogate(AFTER, EVERY, trainer), **options)


def equal(a, b):
    books = [(r.funnel, r.calls, r.surrogate_calls) for r in (a, b)]
    return same(a.structures, b.structures) and same(a.roots, b.roots) and books[0] == books[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted growth with surrogates: result, teacher, trainer, journal."""
    toy, trainer, journal = Toy(), Trainer(), tmp_path_factory.mktemp("surrogate") / "journal"
    return run(toy, trainer, journal), toy, trainer, journal


@pytest.fixture(scope="module")
def given_to(tmp_path_factory):
    """What each surrogate is to be trained on: the roots and what has grown when its stretch begins."""
    folder = tmp_path_factory.mktemp("stretches")
    grown = [run(Toy(), Trainer(), folder / str(end), end) for end in ENDS[:-1]]
    return {number: concatenate([r.roots, r.structures]) for number, r in enumerate(grown, 1)}


@pytest.mark.parametrize(
    ("structures", "after", "every", "ends"),
    [
        (60, 16, 18, [16, 34, 52, 60]),
        (52, 16, 18, [16, 34, 52]),
        (16, 16, 18, [16]),
        (9, 16, 18, [9]),
        (4, 0, 2, [0, 2, 4]),
    ],
)
def test_stretches_end_where_they_would_in_a_longer_growth(structures, after, every, ends):
    assert list(stretches(structures, Surrogate(after, every, Trainer()))) == ends


def test_without_a_surrogate_there_is_one_stretch():
    assert list(stretches(60, None)) == [60]


def test_labels_are_the_teachers(whole):
    grown = whole[0].structures
    again = Toy()(grown)
    assert len(grown) == 60
    assert np.array_equal(again.energy, grown.energy)
    assert np.array_equal(again.forces, grown.forces)
    assert np.array_equal(again.stress, grown.stress, equal_nan=True)


def test_the_books_balance(whole):
    result, toy, trainer, journal = whole
    assert result.calls == toy.calls
    parents = trainer.calls - result.surrogate_calls  # asked for the energy of each parent once, by each surrogate
    assert 3 <= parents <= sum(2 + end for end in ENDS[:-1])
    assert result.funnel["proposed"] == len(records(journal))
    for record in records(journal):
        if record["outcome"] == "accepted":
            assert record["calls"] >= 1
            assert record["member"]["relax_steps"] < record["calls"] + record["surrogate_calls"]


def test_most_calls_are_spared(whole, tmp_path):
    result = whole[0]
    plain = grow(Toy(), seeds(), PATIENT, seed=1, journal=tmp_path / "a")
    first = run(Toy(), Trainer(), tmp_path / "b", AFTER).calls
    assert result.calls - first < 0.6 * (plain.calls - first)


def test_surrogates_are_trained_on_what_has_grown_when_a_stretch_begins(whole, given_to):
    trained = whole[2].trained
    assert [number for number, _ in trained] == [1, 2, 3]
    for number, structures in trained:
        assert len(structures) == 2 + ENDS[number - 1]
        assert same(structures, given_to[number])


@pytest.mark.parametrize("batch_atoms", [1, 14])
def test_the_size_of_the_pool_changes_nothing(whole, given_to, tmp_path, batch_atoms):
    toy, trainer = Toy(), Trainer()
    assert equal(run(toy, trainer, tmp_path / "j", batch_atoms=batch_atoms), whole[0])
    assert [number for number, _ in trainer.trained] == [1, 2, 3]
    assert all(same(structures, given_to[number]) for number, structures in trainer.trained)
    assert max(t.largest for t in trainer.toys) <= max(batch_atoms, 6)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_growth_resumes_from_a_journal_torn_in_any_stretch(whole, given_to, tmp_path, data):
    text, path, trainer = whole[3].read_bytes(), tmp_path / "j", Trainer()
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    assert equal(run(Toy(), trainer, path), whole[0])
    numbers = [number for number, _ in trainer.trained]
    assert numbers == [1, 2, 3][3 - len(numbers) :]  # those of finished stretches are not needed
    assert all(same(structures, given_to[number]) for number, structures in trainer.trained)
    path.unlink()


def test_interrupted_in_teacher_surrogate_and_training_it_ends_the_same(whole, given_to, tmp_path):
    interruptions, done = 0, None
    while done is None:
        trainer = Trainer(most=40)

        def train(structures, number, attempt=interruptions, trainer=trainer):
            if attempt % 3 == 1:
                raise KeyboardInterrupt
            return trainer(structures, number)

        try:
            done = run(Toy(most=30), train, tmp_path / "j")
        except KeyboardInterrupt:
            interruptions += 1
        assert all(same(structures, given_to[number]) for number, structures in trainer.trained)
    assert interruptions > 3
    assert equal(done, whole[0])


def test_a_larger_number_extends_the_same_trees_and_a_smaller_cuts_them(whole, tmp_path):
    calls, parts = 0, (9, 16, 29, 60)
    for structures in parts:
        toy, trainer = Toy(), Trainer()
        result = run(toy, trainer, tmp_path / "j", structures)
        calls += toy.calls
        assert len(result.structures) == structures
    assert equal(result, whole[0])
    assert calls == whole[1].calls  # none repeated
    none = Trainer()
    for structures in parts:
        cut = run(Toy(most=0), none, tmp_path / "j", structures)
        assert equal(cut, run(Toy(), Trainer(), tmp_path / str(structures), structures))
    assert none.trained == []


def test_a_perfect_surrogate_changes_no_structure(tmp_path):
    plain = grow(Toy(), seeds(), PATIENT, seed=1, journal=tmp_path / "a")
    spared = run(Toy(), Trainer(label=morse), tmp_path / "b")
    assert same(spared.structures, plain.structures)
    assert spared.funnel == plain.funnel
    later = records(tmp_path / "b")[-20:]
    assert {r["calls"] for r in later if r["surrogate_calls"]} == {1}


@pytest.mark.parametrize("rise_in_kt", [2.0, 50.0])
def test_a_surrogate_that_always_accepts_leaves_the_decision_to_the_teacher(tmp_path, rise_in_kt):
    trees = 150
    teacher, label = flat(rise_in_kt * kB * FREELY.temperature, crystal()), flat(-1e3, crystal()).label
    rules, roots = replace(FREELY, structures=trees), concatenate([crystal()] * trees)
    surrogate = Surrogate(0, trees, Trainer(label=label))
    result = grow(teacher, roots, rules, seed=0, journal=tmp_path / "j", surrogate=surrogate)
    assert result.funnel["accepted"] == result.funnel["proposed"] == trees
    assert_geometric(np.array([info["relax_steps"] for info in result.structures.info]), np.exp(-rise_in_kt))
    # The surrogate lets one in four through, and the last one always.
    assert result.calls - trees < 0.4 * result.surrogate_calls


def test_a_surrogate_that_never_accepts_asks_the_teacher_once_at_the_end(tmp_path):
    teacher, label = flat(0.0, crystal()), flat(1e3, crystal()).label
    rules, roots = replace(FREELY, structures=20), concatenate([crystal()] * 20)
    surrogate = Surrogate(0, 20, Trainer(label=label))
    result = grow(teacher, roots, rules, seed=0, journal=tmp_path / "j", surrogate=surrogate)
    assert [info["relax_steps"] for info in result.structures.info] == [MOST] * 20
    assert (result.calls, result.surrogate_calls) == (20 + 20, 20 * (MOST + 1))


@pytest.mark.parametrize("broken", ["energy", "forces", "large forces"])
def test_a_surrogate_that_fails_ends_proposals_as_force_without_the_teacher(tmp_path, broken):
    def label(one):
        energy, forces, stress = morse(one)
        if one.positions[0, 0] > 0:
            energy = np.nan if broken == "energy" else energy
            forces = forces if broken == "energy" else np.full_like(forces, np.nan if broken == "forces" else 1e3)
        return energy, forces, stress

    rules = replace(PATIENT, structures=20, max_relax_steps=2)
    surrogate = Surrogate(4, 30, Trainer(label=label))
    result = grow(Toy(), crystal(), rules, seed=1, journal=tmp_path / "j", surrogate=surrogate)
    failed = [r for r in records(tmp_path / "j") if r["outcome"] == "force"]
    assert len(result.structures) == 20
    assert result.funnel["force"] == len(failed) > 0
    assert all(r["calls"] == 0 and r["surrogate_calls"] >= 1 for r in failed)


def test_a_useless_surrogate_stops_the_trees_with_a_warning(tmp_path):
    useless = Trainer(label=lambda one: (np.nan, np.zeros_like(one.positions), np.eye(3)))
    rules = replace(PATIENT, structures=40, patience=12)
    result = grow(Toy(), seeds(), rules, seed=1, journal=tmp_path / "j", surrogate=Surrogate(10, 10, useless))
    assert result.per_tree == (5, 5)
    assert [number for number, _ in useless.trained] == [1]  # no tree could use another
    for t, warning in enumerate(result.warnings):
        assert f"tree {t} stopped at 5 of 20 structures" in warning
        assert "as force" in warning


def test_a_barren_tree_does_not_stop_the_others(tmp_path):
    trainer = Trainer()
    roots = concatenate([Frames.from_atoms([bulk("Cu", "fcc", a=3.65)]), crystal()])
    rules = replace(PATIENT, structures=24, cell_strain=0.0)
    result = grow(Toy(), roots, rules, seed=1, journal=tmp_path / "j", surrogate=Surrogate(6, 6, trainer))
    assert result.per_tree == (0, 12)
    assert [(number, len(structures)) for number, structures in trainer.trained] == [(1, 5), (2, 8), (3, 11)]


def test_a_surrogate_may_serve_from_the_beginning(tmp_path):
    trainer = Trainer()
    surrogate = Surrogate(0, 5, trainer)
    result = grow(Toy(), seeds(), replace(PATIENT, structures=10), seed=1, journal=tmp_path / "j", surrogate=surrogate)
    assert len(result.structures) == 10
    assert same(trainer.trained[0][1], result.roots)


def test_an_offset_of_the_surrogate_does_not_matter(whole, tmp_path):
    """Its energies are compared among themselves: 2**10 eV an atom keeps the digits that decide."""

    class Shifted(Trainer):
        def __call__(self, structures, number):
            toy = super().__call__(structures, number)
            return lambda f: replace(g := toy(f), energy=g.energy + 2.0**10 * g.n_atoms)

    shifted = run(Toy(), Shifted(), tmp_path / "j")
    assert same(shifted.structures, whole[0].structures)


@pytest.mark.parametrize("bad", [(-1, 5), (5, 0)])
def test_senseless_stretches_are_refused(bad):
    with pytest.raises(UserError, match="at least"):
        Surrogate(*bad, Trainer())


def test_a_surrogate_that_is_never_reached_is_never_trained(tmp_path):
    trainer = Trainer()
    plain = grow(Toy(), seeds(), replace(PATIENT, structures=16), seed=1, journal=tmp_path / "a")
    assert equal(run(Toy(), trainer, tmp_path / "b", 16), plain)
    assert trainer.trained == []


@pytest.mark.parametrize("other", [None, (AFTER + 1, EVERY), (AFTER, EVERY + 1)])
def test_a_journal_of_other_stretches_is_refused(whole, other):
    surrogate = other and Surrogate(*other, Trainer())
    with pytest.raises(UserError, match="other rules"):
        grow(Toy(), seeds(), PATIENT, seed=1, journal=whole[3], surrogate=surrogate)
