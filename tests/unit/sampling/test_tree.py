"""Selection of parents, and members that survive being written down."""

import numpy as np
import pytest
from ase.units import kB
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chisquare
from toys import Toy, crystals

from distill.sampling.rules import GrowthRules
from distill.sampling.tree import Counts, Member, Tree, parent_probabilities

ENERGY = np.array([-4.0, -3.95, -4.02, -3.9])
GENERATION = np.array([0, 1, 1, 2])

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


@given(arrays.arrays(np.float32, 5, elements=st.floats(-8.0, -4.0, width=32)), st.floats(0, 1))
def test_single_precision_energies_give_whole_probabilities(energy, exploration):
    p = parent_probabilities(energy, np.arange(5), 10.0, exploration)
    assert p.dtype == np.float64
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(p >= 0)


def test_parents_are_drawn_with_their_probabilities():
    rules = GrowthRules(structures=4, temperature=300.0, sigma=(0.1, 0.2), exploration=0.4)
    seed = Toy()(crystals()[0])
    tree = Tree(0, seed, 3)
    for energy, generation in zip(ENERGY[1:], GENERATION[1:], strict=True):
        total = float(seed.energy[0]) + 4 * (energy - ENERGY[0])
        tree.accept(Member(seed.positions, np.eye(3), total, seed.forces, None, 0, generation, 0.1), calls=1)
    rng = np.random.default_rng(1)
    counts = np.bincount([tree.choose_parent(rules, rng) for _ in range(20_000)], minlength=4)
    expected = 20_000 * parent_probabilities(ENERGY, GENERATION, 300.0, 0.4)
    assert chisquare(counts, expected).pvalue > 1e-3  # one honest sample in a thousand would fail; the seed is fixed


@given(
    arrays.arrays(np.float64, (3, 3), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_a_member_survives_its_record_to_the_bit(array, energy, with_stress):
    member = Member(array, np.eye(3), energy, -array, array.T if with_stress else None, 3, 4, 0.1)
    back = Member.from_record(member.to_record())
    for name in ("positions", "deformation", "forces"):
        assert np.array_equal(getattr(back, name), getattr(member, name))
    assert (back.energy, back.parent, back.generation, back.sigma) == (energy, 3, 4, 0.1)
    assert np.array_equal(back.stress, array.T) if with_stress else back.stress is None


def test_a_row_of_rejections_ends_with_an_acceptance():
    counts = Counts()
    counts.reject(["duplicate"])
    counts.reject(["not_accepted", "force"], calls=2)
    counts.accept(calls=3)
    counts.reject(["force", "force", "too_close"], calls=2)
    assert counts.proposed == 4
    assert counts.calls == 7
    assert counts.outcomes == {"duplicate": 1, "too_close": 1, "force": 1, "not_accepted": 0, "accepted": 1}
    assert counts.in_a_row == 1
    assert counts.failed == {"duplicate": 0, "too_close": 1, "force": 2, "not_accepted": 0}
