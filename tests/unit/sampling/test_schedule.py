"""The order of proposals against a sequential reference: nothing depends on when proposals begin and end."""

from hypothesis import given
from hypothesis import strategies as st

from distill.sampling.schedule import LARGEST_WINDOW, STRUCTURES_PER_WALKER, Schedule, window

verdicts = st.lists(st.booleans(), min_size=1, max_size=120)


def structures_seen(accepted):
    """What each proposal sees, from the definition: the tree as it was when the window first reached the proposal."""
    grown = [sum(accepted[:c]) for c in range(len(accepted) + 1)]  # after c proposals
    return [next(g for c, g in enumerate(grown) if c + window(g) > p) for p in range(len(accepted))]


def test_the_window_opens_with_the_tree():
    assert [window(g) for g in (0, STRUCTURES_PER_WALKER - 1, STRUCTURES_PER_WALKER)] == [1, 1, 2]
    assert window(10**6) == LARGEST_WINDOW
    assert all(window(g) <= window(g + 1) <= window(g) + 1 for g in range(300))


@given(verdicts, st.data())
def test_any_order_of_beginning_and_ending_counts_and_sees_the_same(accepted, data):
    schedule, expected = Schedule[int](), structures_seen(accepted)
    running, counted, grown = [], [], 0
    while schedule.counted < len(accepted):
        may_begin = schedule.open() is not None and schedule.open() < len(accepted)
        if may_begin and (not running or data.draw(st.booleans())):
            number = schedule.open()
            assert schedule.sees(number) == expected[number]
            schedule.begin(number)
            running.append(number)
        else:
            number = running.pop(data.draw(st.integers(0, len(running) - 1)))
            schedule.end(number, number)
        assert schedule.running == len(running) <= window(grown)
        while (number := schedule.next()) is not None:
            assert schedule.sees(number) == expected[number]
            counted.append(number)
            grown += accepted[number]
            schedule.count(grown)
    assert counted == list(range(len(accepted)))
    assert schedule.waiting() == []


@given(verdicts, st.randoms())
def test_proposals_that_ended_in_an_earlier_attempt_may_come_in_any_order(accepted, random):
    schedule, numbers, grown = Schedule[int](), list(range(len(accepted))), 0
    random.shuffle(numbers)
    for number in numbers:
        schedule.end(number, number)
    for number, expected in enumerate(structures_seen(accepted)):
        assert schedule.next() == number
        assert schedule.sees(number) == expected
        grown += accepted[number]
        schedule.count(grown)
    schedule.end(0, 0)  # counted long ago
    assert schedule.waiting() == []


def test_a_full_window_waits_for_its_first_proposal():
    schedule = Schedule[str]()
    schedule.begin(0)
    assert schedule.open() is None
    schedule.end(0, "ended")
    assert schedule.open() is None
    schedule.count(STRUCTURES_PER_WALKER)
    assert [schedule.open(), schedule.sees(1), schedule.sees(2)] == [1, STRUCTURES_PER_WALKER, STRUCTURES_PER_WALKER]
    schedule.begin(1)
    assert schedule.open() == 2
