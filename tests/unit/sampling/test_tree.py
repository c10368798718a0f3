"""Selection of parents, what counts, and members that survive being written down."""

from dataclasses import replace

import numpy as np
import pytest
from ase.units import kB
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chisquare
from toys import RULES, Toy, crystal

from distill.sampling.tree import Counts, Ended, Member, Tree, parent_probabilities

ENERGY = np.array([-4.0, -3.95, -4.02, -3.9])
GENERATION = np.array([0, 1, 1, 2])
TURN = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])

energies = arrays.arrays(np.float64, 5, elements=st.floats(-10, 10))


def test_no_exploration_is_boltzmann():
    p = parent_probabilities(ENERGY, GENERATION, 300.0, 0.0)
    assert p.sum() == pytest.approx(1, abs=1e-12)  # rounding of four numbers
    ratios = np.exp(-(ENERGY - ENERGY[0]) / (kB * 300.0))
    assert p / p[0] == pytest.approx(ratios, rel=1e-12)


def test_full_exploration_is_generation_alone():
    assert parent_probabilities(ENERGY, GENERATION, 300.0, 1.0) == pytest.approx(np.array([1, 2, 2, 3]) / 8)


def test_more_exploration_prefers_the_young_and_less_the_low_in_energy():
    knob = np.linspace(0, 1, 6)
    p = np.array([parent_probabilities(ENERGY, GENERATION, 300.0, x) for x in knob])
    assert np.all(np.diff(p[:, 3]) > 0)  # the youngest, which is the highest in energy
    assert np.all(np.diff(p[:, 2]) < 0)  # the lowest in energy


@given(energies, st.floats(-1e4, 1e4), st.floats(0, 1))
def test_zero_of_energy_does_not_matter(energy, offset, exploration):
    generation = np.arange(5)
    p = parent_probabilities(energy, generation, 1000.0, exploration)
    shifted = parent_probabilities(energy + offset, generation, 1000.0, exploration)
    # An offset of 1e4 eV costs 2e-12 eV of precision, which is 2e-11 kT at 1000 K.
    assert shifted == pytest.approx(p, abs=1e-9)


@given(arrays.arrays(np.float32, 5, elements=st.floats(-10_008.0, -10_004.0, width=32)), st.floats(0, 1))
def test_single_precision_energies_give_whole_probabilities(energy, exploration):
    p = parent_probabilities(energy, np.arange(5), 10.0, exploration)
    assert p.dtype == np.float64
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(p >= 0)


def small_tree(exploration):
    """A tree of the members of ENERGY and GENERATION."""
    seed = Toy()(crystal())
    tree = Tree(0, seed, replace(RULES, temperature=300.0, exploration=exploration, min_displacement=0.0))
    tree.want(3)
    for i in range(1, 4):
        total = float(seed.energy[0]) + 4 * (ENERGY[i] - ENERGY[0])
        one = Member(seed.positions, np.eye(3), total, seed.forces, None, 0, int(GENERATION[i]), 0.1)
        tree.end(Ended(i - 1, "accepted", 1, 0, one))
    return tree


@pytest.mark.parametrize("exploration", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("among", [2, 3, 4])
def test_parents_are_drawn_with_their_probabilities(exploration, among):
    tree, rng = small_tree(exploration), np.random.default_rng(1)
    counts = np.bincount([tree.choose_parent(among, rng) for _ in range(5000)], minlength=among)
    expected = 5000 * parent_probabilities(ENERGY[:among], GENERATION[:among], 300.0, exploration)
    assert chisquare(counts, expected).pvalue > 1e-3  # one honest sample in a thousand would fail; the seed is fixed


def test_draws_at_the_edge_stay_within_the_tree():
    class Edge:
        def random(self):
            return np.nextafter(1.0, 0.0)

    tree = small_tree(0.4)
    assert [tree.choose_parent(among, Edge()) for among in (1, 2, 3, 4)] == [0, 1, 2, 3]


def member(positions):
    return Member(positions, np.eye(3), 0.0, np.zeros_like(positions), None, 0, 1, 0.1)


def test_a_tree_counts_in_order_and_only_while_it_wants_more():
    tree = Tree(0, Toy()(crystal()), replace(RULES, min_displacement=0.0))
    positions = tree.members[0].positions
    tree.want(3)
    for number in (2, 1):
        tree.end(Ended(number, "accepted", 1, 0, member(positions)))
    assert tree.grown == 0 < tree.room  # number 0 is yet to come
    tree.end(Ended(0, "force", 1))
    assert (tree.grown, tree.room, tree.counts.calls) == (2, 1, 3)
    tree.end(Ended(3, "accepted", 1, 0, member(positions)))
    tree.end(Ended(4, "force", 1))
    assert (tree.grown, tree.room, tree.counts.outcomes["force"]) == (3, 0, 1)
    tree.want(4)
    assert (tree.grown, tree.room, tree.counts.outcomes["force"]) == (3, 1, 2)


def test_a_structure_like_one_that_its_proposal_could_not_see_is_a_duplicate():
    tree = Tree(0, Toy()(crystal()), RULES)
    positions = tree.members[0].positions
    tree.want(20)
    for number in range(8):
        tree.end(Ended(number, "accepted", 1, 0, member(positions + 0.2 * (number + 1) * TURN)))
    assert [tree.schedule.sees(8), tree.schedule.sees(9)] == [8, 8]
    for number in (9, 8):  # the order of ending does not decide which of them stays
        tree.end(Ended(number, "accepted", number, 0, member(positions - 0.2 * TURN)))
    assert (tree.grown, tree.schedule.sees(10)) == (9, 9)
    assert tree.counts.outcomes == {"duplicate": 1, "too_close": 0, "force": 0, "failed": 0, "accepted": 9}
    assert tree.counts.calls == 8 + 8 + 9


@given(
    arrays.arrays(np.float64, (3, 3), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_a_proposal_survives_its_record_to_the_bit(array, energy, with_stress):
    one = Member(array, np.eye(3), energy, -array, array.T if with_stress else None, 3, 4, 0.1, 5)
    ended = Ended.from_record(Ended(7, "accepted", 2, 1, one).to_record(tree=9))
    back = ended.member
    assert (ended.number, ended.outcome, ended.calls, ended.surrogate_calls) == (7, "accepted", 2, 1)
    for name in ("positions", "deformation", "forces"):
        assert np.array_equal(getattr(back, name), getattr(one, name))
    assert (back.energy, back.parent, back.generation, back.sigma, back.relax_steps) == (energy, 3, 4, 0.1, 5)
    assert np.array_equal(back.stress, array.T) if with_stress else back.stress is None


def test_a_row_of_rejections_ends_with_an_acceptance():
    counts = Counts()
    for number, outcome in enumerate(["duplicate", "force", "accepted", "force", "too_close", "failed"]):
        counts.add(outcome, Ended(number, outcome, number, 1))
    assert counts.outcomes == {"duplicate": 1, "too_close": 1, "force": 2, "failed": 1, "accepted": 1}
    assert (counts.calls, counts.surrogate_calls) == (15, 6)
    assert counts.recent == {"duplicate": 0, "too_close": 1, "force": 1, "failed": 1}
    assert counts.in_a_row == 3
