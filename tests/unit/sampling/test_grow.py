"""Growing trees: the rules hold, no call is wasted, the books balance, and a tree that cannot go on says why."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from toys import (
    RULES,
    Toy,
    crystal,
    crystals,
    displacement,
    fix,
    least_distance,
    members,
    morse,
    nearest_members,
    records,
)

from distill.base.errors import UserError, WorkError
from distill.sampling.grow import grow
from distill.sampling.pool import WalkerPool
from distill.sampling.separation import Separation
from distill.sampling.tree import Tree
from distill.structures.frames import Frames, concatenate

LIMIT = 0.6 * 2 * 1.32  # of two copper atoms: covalent radius 1.32 Å


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A growth of four trees, its predictor and its journal."""
    toy, journal = Toy(), tmp_path_factory.mktemp("grow") / "journal"
    return grow(toy, crystals(), RULES, seed=1, journal=journal), toy, journal


def test_every_structure_obeys_the_rules(whole):
    result, _, _ = whole
    grown = result.structures
    assert len(grown) == 16
    assert result.per_tree == (4, 4, 4, 4)
    assert np.linalg.norm(grown.forces, axis=1).max() <= RULES.max_force
    assert min(least_distance(one) for one in grown) > LIMIT
    assert nearest_members(grown, crystals()) >= 0.1 - 1e-9
    for t in range(4):  # all masses are equal, so that the centre of mass is the mean
        centres = [m.mean(axis=0) for m in members(grown, crystals(), t)]
        assert np.ptp(centres, axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_labels_are_those_of_the_very_structure(whole):
    grown = whole[0].structures
    again = Toy()(grown)
    assert np.array_equal(again.energy, grown.energy)
    assert np.array_equal(again.forces, grown.forces)
    assert np.array_equal(again.stress, grown.stress, equal_nan=True)
    assert [np.isfinite(s).all() for s in grown.stress] == [t != 3 for t in np.repeat(range(4), 4)]


def test_family_ties_and_histograms_agree_with_the_structures(whole):
    result, seeds = whole[0], crystals()
    grown = result.structures
    for t in range(4):
        mine = [i for i in range(16) if grown.info[i]["tree"] == t]
        generations = [0] + [grown.info[i]["generation"] for i in mine]
        family = members(grown, seeds, t)
        assert [grown.info[i]["index"] for i in mine] == [1, 2, 3, 4]
        for i in mine:
            info = grown.info[i]
            assert info["parent"] < info["index"]
            assert info["generation"] == generations[info["parent"]] + 1 == result.generation[i]
            assert info["config_type"] == seeds.info[t]["config_type"]
            assert RULES.sigma[0] <= info["sigma"] <= RULES.sigma[1]
            assert 0 <= info["relax_steps"] <= RULES.max_relax_steps
            from_parent = displacement(family[info["index"]], family[info["parent"]], seeds[t])
            assert result.displacement_from_parent[i] == pytest.approx(from_parent, abs=1e-9)
            from_seed = displacement(family[info["index"]], family[0], seeds[t])
            assert result.displacement_from_seed[i] == pytest.approx(from_seed, abs=1e-9)
            above = grown.energy_per_atom[i] - result.roots.energy_per_atom[t]
            assert result.relative_energy[i] == pytest.approx(above, abs=1e-12)


def test_the_books_balance(whole):
    result, toy, journal = whole
    funnel = dict(result.funnel)
    assert funnel.pop("proposed") == sum(funnel.values()) == len(records(journal))
    assert set(funnel) == {"duplicate", "too_close", "force", "failed", "accepted"}
    assert funnel["accepted"] == len(result.structures)
    assert result.calls == toy.calls
    assert result.surrogate_calls == 0
    assert result.calls_per_structure == pytest.approx(toy.calls / 16)
    assert toy.rounds < toy.calls / 2  # trees share calls
    assert result.predictor_s > 0
    assert result.warnings == ()


def test_what_is_accepted_costs_a_call_for_every_step_and_what_fails_at_once_none(whole):
    for record in records(whole[2]):
        if record["outcome"] == "accepted":
            assert record["calls"] == record["member"]["relax_steps"] + 1
        else:
            assert (record["outcome"] == "force") == (record["calls"] > 0)  # no parallel proposals in trees this small


def test_no_call_is_spent_on_duplicates_or_atoms_too_close(tmp_path):
    rules, seeds = replace(RULES, structures=4, sigma=(0.05, 0.6)), crystal()  # one proposal at a time
    refused = 0
    for seed in range(8):
        toy = Toy()
        result = grow(toy, seeds, rules, seed=seed, journal=tmp_path / str(seed))
        refused += result.funnel["duplicate"] + result.funnel["too_close"]
        family, grown = members(result.structures, seeds, 0), 0
        for one in toy.seen[1:]:  # behind the seed
            undone = one.positions @ np.linalg.solve(one.cells[0], seeds.cells[0])
            assert min(displacement(undone, m, seeds) for m in family[: grown + 1]) >= 0.1 - 1e-9
            assert least_distance(one) > LIMIT
            grown += grown < 4 and np.array_equal(one.positions, result.structures[grown].positions)
        assert grown == 4
    assert refused > 8


def test_another_seed_grows_other_structures(whole, tmp_path):
    other = grow(Toy(), crystals(), RULES, seed=2, journal=tmp_path / "j")
    assert not np.isin(other.structures.energy, whole[0].structures.energy).any()


def test_equal_seeds_grow_different_trees(tmp_path):
    result = grow(Toy(), concatenate([crystal()] * 2), replace(RULES, structures=6), seed=0, journal=tmp_path / "j")
    assert len(np.unique(result.structures.energy)) == 6


def test_more_trees_than_structures_leave_the_last_ones_alone(tmp_path):
    result = grow(Toy(), concatenate([crystal()] * 3), replace(RULES, structures=2), seed=0, journal=tmp_path / "j")
    assert result.per_tree == (1, 1, 0)
    assert len(result.roots) == 3


STUCK = {
    "duplicate": ({"sigma": (0.001, 0.01)}, "Raise sigma"),
    "too close": ({"min_separation": 2.58, "cell_strain": 0.0}, "Lower .*min_separation"),
    "force": ({"max_force": 1e-3}, "Lower .*max_force"),
}


@pytest.mark.parametrize("rule", STUCK)
def test_a_stuck_tree_says_which_rule_stopped_it_and_what_to_change(tmp_path, rule):
    changes, advice = STUCK[rule]
    rules = replace(RULES, structures=1, patience=20, **changes)
    refusal = f"no structure was accepted.*0 of 1 structures: its last 20 .*, [0-9]+ of them as {rule}.*{advice}"
    with pytest.raises(WorkError, match=refusal):
        grow(Toy(), crystal(), rules, seed=0, journal=tmp_path / "j")


HOPELESS = {
    # The mean over eight atoms reaches 2.2 sigma once in a thousand times, the step of one atom every fifth time.
    "duplicate": {"sigma": (0.1, 0.1), "min_displacement": 0.22},
    "too close": {"min_separation": {"Al-Al": 2.86}},
    "force": {},
}


@pytest.mark.parametrize("rule", HOPELESS)
def test_a_stuck_tree_does_not_stop_the_others(tmp_path, rule):
    aluminium = Frames.from_atoms([bulk("Al", "fcc", a=4.05).repeat(2)])  # bonds of 2.864 Å

    def label(one):
        energy, forces, stress = morse(one)
        moved = one.numbers[0] == 13 and not np.array_equal(one.positions, aluminium.positions)
        return energy, forces + 99.0 * (moved and rule == "force"), stress

    seeds = concatenate([aluminium, fix(crystal(), [False, True, True, True])])
    rules = replace(RULES, structures=6, patience=40, cell_strain=0.0, max_relax_steps=2, **HOPELESS[rule])
    result = grow(Toy(label), seeds, rules, seed=0, journal=tmp_path / "j")
    assert result.per_tree == (0, 3)
    (warning,) = result.warnings
    assert "tree 0 stopped at 0 of 3 structures: its last 40 proposals were all rejected" in warning
    assert f"of them as {rule}. {STUCK[rule][1][:5]}" in warning


def test_patience_may_be_changed_halfway(tmp_path):
    rules = replace(RULES, structures=10, sigma=(0.02, 0.1), patience=4)
    few = grow(Toy(), crystal(), rules, seed=0, journal=tmp_path / "j")
    assert "tree 0 stopped" in few.warnings[0]
    resumed = grow(Toy(), crystal(), replace(rules, patience=200), seed=0, journal=tmp_path / "j")
    whole = grow(Toy(), crystal(), replace(rules, patience=200), seed=0, journal=tmp_path / "k")
    assert np.array_equal(resumed.structures.positions, whole.structures.positions)
    assert (resumed.funnel, resumed.calls) == (whole.funnel, whole.calls)


def test_seeds_that_break_the_rules_are_refused_before_any_call(tmp_path):
    toy = Toy()
    with pytest.raises(UserError, match=r"seed structure 1: atoms \d and \d are 2\.58 Å apart"):
        bad = crystals()[[3, 0]]
        grow(toy, bad, replace(RULES, min_separation=2.59), seed=0, journal=tmp_path / "j")
    with pytest.raises(UserError, match=r"seed structure 0: atoms \d and \d are 2\.58 Å apart"):
        grow(toy, crystals(), replace(RULES, min_separation={"Cu-Cu": 2.59}), seed=0, journal=tmp_path / "j")
    with pytest.raises(UserError, match=r"'Cu' is not a pair of elements"):
        grow(toy, crystals(), replace(RULES, min_separation={"Cu": 2.0}), seed=0, journal=tmp_path / "j")
    with pytest.raises(UserError, match="no seed structures"):
        grow(toy, crystals()[[]], RULES, seed=0, journal=tmp_path / "j")
    assert toy.calls == 0


def test_a_seed_without_finite_labels_is_named(tmp_path):
    toy = Toy(lambda one: (np.nan if len(one.numbers) == 8 else 0.0, np.zeros((len(one.numbers), 3)), np.eye(3)))
    with pytest.raises(
        UserError, match="seed structure 1: the teacher fails on it: its energy or forces are not finite"
    ):
        grow(toy, crystals(), RULES, seed=0, journal=tmp_path / "j")


def test_a_predictor_without_forces_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"seed structure 0: .* must give energies and forces"):
        grow(lambda frames: frames, crystals(), RULES, seed=0, journal=tmp_path / "j")


def test_a_predictor_without_stress_grows_structures_without(tmp_path):
    def stressless(frames):
        labelled = Toy()(frames)
        return frames.with_labels(labelled.energy, labelled.forces, None)

    result = grow(stressless, crystals(), replace(RULES, structures=5), seed=0, journal=tmp_path / "j")
    again = grow(stressless, crystals(), replace(RULES, structures=5), seed=0, journal=tmp_path / "j")
    assert result.structures.stress is result.roots.stress is again.structures.stress is again.roots.stress is None


def test_a_member_does_not_keep_the_labels_of_the_whole_batch():
    roots = Toy()(concatenate([crystal()] * 4))
    trees = [Tree(i, roots[i], RULES) for i in range(4)]
    pool = WalkerPool(trees, Separation(None, roots.elements), seed=0, atoms=None)
    for tree in trees:
        tree.want(1)
    while pool.fill() or len(pool):
        pool.advance(Toy(), None)
    for tree in trees:
        forces = tree.members[1].forces
        assert forces.base is None or forces.base.size == forces.size


@pytest.mark.parametrize("size", [0, -1])
def test_one_walker_always_goes(tmp_path, size):
    result = grow(Toy(), crystal(), replace(RULES, structures=2), seed=0, journal=tmp_path / "j", batch_atoms=size)
    assert len(result.structures) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma", (0.3, 0.1)),
        ("exploration", 1.5),
        ("temperature", 0.0),
        ("structures", 0),
        ("min_separation", {"O-H": -0.1}),
    ],
)
def test_senseless_rules_are_refused(field, value):
    with pytest.raises(UserError, match=field):
        replace(RULES, **{field: value})
