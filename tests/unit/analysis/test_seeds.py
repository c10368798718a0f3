"""What several seeds say together: those that failed are in no mean, and validation alone chooses the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.analysis.seeds import OverSeeds, Seed, best_seed, over_seeds

EXACT = 1e-12  # sums of a few numbers of order one: rounding only


def test_seeds_of_a_case_worked_by_hand():
    # 1, 2 and 6 are good: mean 3, deviation sqrt((4 + 1 + 9) / 2); validation prefers the seed whose number is 6.
    seeds = {
        0: Seed("finished", 0.3),
        1: Seed("diverged", 0.01),
        2: Seed("stopped early", 0.2),
        3: Seed("out of time", 0.1),
        4: Seed("not finite", 0.02),
    }
    found = over_seeds({3: 6.0, 0: 1.0, 1: 0.5, 2: 2.0, 4: None}, seeds)
    assert found == OverSeeds(pytest.approx(3), pytest.approx(7**0.5), 6.0, 3, (1.0, 2.0, 6.0), 5, (1, 4))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e3), st.booleans()), min_size=1, max_size=6))
def test_a_failed_seed_changes_no_mean(trained):
    seeds = {i: Seed("diverged" if failed else "finished", value) for i, (value, failed) in enumerate(trained)}
    found = over_seeds({i: value for i, (value, _) in enumerate(trained)}, seeds)
    good = [value for value, failed in trained if not failed]
    assert (found.seeds, len(found.failed)) == (len(trained), len(trained) - len(good))
    assert found.each == tuple(good)
    # 1e-9 of up to six numbers below a thousand: rounding of their sums
    assert found.mean == (pytest.approx(np.mean(good), abs=1e-9) if good else None)
    assert found.deviation == (pytest.approx(np.std(good, ddof=1), abs=1e-9) if len(good) > 1 else None)
    assert found.best == (min(good) if good else None)  # here the validation loss is the number itself


def test_a_good_seed_without_a_number_leaves_no_mean():
    found = over_seeds({0: 1.0, 1: None}, {0: Seed(), 1: Seed()})
    assert (found.mean, found.deviation, found.failed) == (None, None, ())


def test_validation_alone_chooses_the_best_seed():
    assert best_seed({0: Seed("finished", 0.2), 1: Seed("finished", 0.2), 2: Seed("diverged", 0.1)}) == 0
    assert best_seed({0: Seed("finished", np.nan), 1: Seed("finished", None), 2: Seed("finished", 9.0)}) == 2
    assert best_seed({0: Seed("diverged", 0.1), 1: Seed("finished", None)}) is None
