"""A walker: one proposal from its parent to its end, evaluation by evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toys import FREELY, crystal, crystals

from distill.sampling.attempts import Evaluation
from distill.sampling.rules import GrowthRules
from distill.sampling.separation import Separation
from distill.sampling.tree import Ended, Tree
from distill.sampling.walker import Walker, as_frames, propose

FREE = Separation(0.0, (29,))


def tree(rules: GrowthRules = FREELY) -> Tree:
    """A tree of the 4-atom crystal, whose seed has 0 eV and no forces."""
    seed = crystal()
    return Tree(0, seed.with_labels(np.zeros(1), np.zeros((4, 3)), np.zeros((1, 3, 3))), rules)


def evaluation(energy: float = 0.0, force: float = 1.0) -> Evaluation:
    """Forces of one size, along different axes."""
    return Evaluation(energy, force * np.eye(4, 3) + np.where(np.arange(4) == 3, force, 0)[:, None] * [0, 0, 1.0], None)


def test_a_proposal_depends_on_the_seed_and_its_number_alone() -> None:
    one, same = propose(tree(), 0, seed=7), propose(tree(), 0, seed=7)
    counted = tree()
    counted.schedule.end(0, Ended(0, "force"))
    counted.schedule.count(0)
    other = propose(counted, 1, seed=7)
    assert np.array_equal(one.positions, same.positions) and one.draw == same.draw and one.sigma == same.sigma
    assert not np.array_equal(one.positions, other.positions)
    assert not np.array_equal(one.positions, propose(tree(), 0, seed=8).positions)


def test_a_proposal_is_rattled_by_its_sigma_about_its_parent() -> None:
    grown, low_high = tree(), FREELY.sigma
    walkers = [propose(grown, 0, seed=seed) for seed in range(200)]
    assert all(low_high[0] <= walker.sigma <= low_high[1] and walker.parent == 0 for walker in walkers)
    moved = np.array([(walker.positions - grown.members[0].positions) / walker.sigma for walker in walkers])
    # 2400 numbers of unit variance, of which the centre of mass takes a quarter: 5 standard errors of their square
    assert np.mean(moved**2) == pytest.approx(0.75, abs=5 * 0.75 * np.sqrt(2 / 1800))


def test_a_low_energy_ends_as_a_member_with_what_was_evaluated() -> None:
    walker = propose(tree(), 0, seed=0)
    positions = walker.positions.copy()
    ended = walker.advance(evaluation(energy=-400.0), 0.0, by_teacher=True, separation=FREE)
    # min(1/4, ...) is the highest probability of acceptance, so that not even the lowest energy is accepted at once
    steps = 0
    while ended is None:
        positions = walker.positions.copy()
        ended = walker.advance(evaluation(energy=-400.0), 0.0, by_teacher=True, separation=FREE)
        steps += 1
    assert ended.outcome == "accepted" and ended.member is not None
    assert np.array_equal(ended.member.positions, positions) and ended.member.energy == -400.0
    assert ended.member.relax_steps == steps and ended.calls == steps + 1 and ended.surrogate_calls == 0
    assert (ended.member.parent, ended.member.generation) == (0, 1)


def test_steps_follow_the_forces_and_shorten() -> None:
    walker = propose(tree(), 0, seed=0)
    lengths = []
    for _ in range(3):
        before = walker.positions.copy()
        assert walker.advance(evaluation(energy=1e6), 0.0, by_teacher=True, separation=FREE) is None
        step = walker.positions - before
        lengths.append(np.linalg.norm(step, axis=1).max())
        assert np.sum(step * evaluation().forces) > 0
    # sigma / x, the centre of mass kept, which takes the same share of each
    assert lengths == pytest.approx([lengths[0], lengths[0] / 2, lengths[0] / 3], rel=1e-9)


def test_the_relaxation_ends_after_the_most_steps() -> None:
    walker = propose(tree(), 0, seed=0)
    ends = [walker.advance(evaluation(energy=1e6), 0.0, True, FREE) for _ in range(FREELY.max_relax_steps + 1)]
    assert ends[:-1] == [None] * FREELY.max_relax_steps
    assert ends[-1] is not None and ends[-1].outcome == "accepted", "whatever its energy"


@pytest.mark.parametrize("energy", [0.0, np.nan])
def test_forces_that_are_too_large_or_nothing_finite_end_a_walk(energy: float) -> None:
    rules = replace(FREELY, max_relax_steps=1, max_force=5.0)
    walker = propose(tree(rules), 0, seed=0)
    ended = walker.advance(evaluation(energy, force=50.0), 0.0, True, FREE)
    if np.isfinite(energy):
        assert ended is None
        ended = walker.advance(evaluation(energy, force=50.0), 0.0, True, FREE)
    outcome = "force" if np.isfinite(energy) else "failed"
    assert ended is not None and ended.outcome == outcome and ended.member is None


def test_the_teacher_is_asked_where_the_surrogate_would_stop() -> None:
    walker = propose(tree(replace(FREELY, max_relax_steps=1)), 0, seed=0)
    assert walker.advance(evaluation(energy=1e6), 0.0, by_teacher=False, separation=FREE) is None
    assert not walker.asks_teacher
    assert walker.advance(evaluation(energy=1e6), 0.0, by_teacher=False, separation=FREE) is None
    assert walker.asks_teacher
    ended = walker.advance(evaluation(energy=1e6), 0.0, by_teacher=True, separation=FREE)
    assert ended is not None and ended.outcome == "accepted" and (ended.calls, ended.surrogate_calls) == (1, 2)


def test_faults_are_found_before_anything_is_evaluated() -> None:
    rules = replace(FREELY, min_displacement=0.1)
    grown = tree(rules)
    walker = propose(grown, 0, seed=0)
    assert walker.fault(grown.members[0].positions + 1e-3, FREE) == "duplicate"
    assert walker.fault(walker.positions, FREE) is None
    apart = Separation(3.0, (29,))  # neighbours are 2.58 Å apart
    assert replace(walker, clearance=0.0).fault(walker.positions, apart) == "too_close"


def test_a_batch_holds_walkers_and_members_in_their_strained_cells() -> None:
    grown = tree(replace(FREELY, cell_strain=0.05))
    walkers = [propose(grown, 0, seed=seed) for seed in range(3)]
    found = as_frames([*walkers, (grown, grown.members[0])])
    for k, walker in enumerate(walkers):
        assert np.array_equal(found[k].positions, walker.positions)
        assert np.array_equal(found.cells[k], crystals().cells[0] @ walker.deformation)
        assert not np.allclose(found.cells[k], crystals().cells[0], atol=1e-4)
    assert np.array_equal(found[3].positions, crystal().positions) and isinstance(walkers[0], Walker)
