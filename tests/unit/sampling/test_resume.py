"""Trees are the same whatever the size of the pool, and however growth was interrupted, continued or cut."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import RULES, Toy, crystal, crystals, fix, nearest_members, records, same

from distill.base.errors import UserError
from distill.sampling.grow import grow
from distill.sampling.journal import MAGIC
from distill.structures.frames import Frames, concatenate

BUSH = replace(RULES, structures=60, max_relax_steps=8)
"""Enough structures in a tree for several walkers at once."""

GARDEN = replace(BUSH, structures=90)


def examples(number):
    return settings(max_examples=number, suppress_health_check=[HealthCheck.function_scoped_fixture])


def garden():
    """Seeds of three sizes."""
    return fix(crystals()[[0, 2, 3]], np.arange(14) == 4)  # the lowest atom of the slab


@pytest.fixture(scope="module")
def bush(tmp_path_factory):
    """One tree of many structures: result, predictor, journal."""
    toy, journal = Toy(), tmp_path_factory.mktemp("bush") / "journal"
    return grow(toy, crystal(), BUSH, seed=1, journal=journal), toy, journal


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three trees of several walkers each: result, predictor, journal."""
    toy, journal = Toy(), tmp_path_factory.mktemp("three") / "journal"
    return grow(toy, garden(), GARDEN, seed=1, journal=journal), toy, journal


def equal(a, b):
    return same(a.structures, b.structures) and same(a.roots, b.roots) and (a.funnel, a.calls) == (b.funnel, b.calls)


def test_a_tree_has_several_walkers_at_once(bush):
    result, toy, _ = bush
    assert len(result.structures) == 60
    assert toy.rounds < toy.calls / 1.5
    assert toy.largest >= 6 * 4  # six structures of four atoms
    assert result.calls == toy.calls  # none for nothing


@pytest.mark.parametrize("batch_atoms", [1, 13, 24])
def test_the_size_of_the_pool_changes_no_structure(bush, tmp_path, batch_atoms):
    toy = Toy()
    result = grow(toy, crystal(), BUSH, seed=1, journal=tmp_path / "j", batch_atoms=batch_atoms)
    assert equal(result, bush[0])
    assert toy.largest == max(4, batch_atoms // 4 * 4)
    assert (toy.rounds == toy.calls) == (batch_atoms == 1)


@pytest.mark.parametrize("batch_atoms", [1, 11, 20])
def test_trees_of_all_sizes_share_the_pool(three, tmp_path, batch_atoms):
    toy = Toy()
    result = grow(toy, garden(), GARDEN, seed=1, journal=tmp_path / "j", batch_atoms=batch_atoms)
    assert result.per_tree == (30, 30, 30)
    assert equal(result, three[0])
    assert toy.largest <= max(14, batch_atoms)  # 14 atoms are the seeds
    assert toy.rounds > three[1].rounds


def test_a_tree_grows_the_same_alone(three, tmp_path):
    alone = grow(Toy(), garden()[[0]], replace(GARDEN, structures=30), seed=1, journal=tmp_path / "j")
    assert np.array_equal(alone.structures.positions, three[0].structures[range(30)].positions)
    assert alone.structures.info == three[0].structures.info[:30]


@pytest.mark.parametrize("batch_atoms", [1, None])
def test_late_duplicates_are_found(tmp_path, batch_atoms):
    pair = Frames.from_atoms([Atoms("Cu2", [[0, 0, 0], [2.6, 0, 0]])])  # three coordinates: little room
    rules = replace(RULES, structures=60, temperature=5000.0, sigma=(0.1, 0.2))
    result = grow(Toy(), pair, rules, seed=0, journal=tmp_path / "j", batch_atoms=batch_atoms)
    kept = sum(r["outcome"] == "accepted" for r in records(tmp_path / "j"))
    assert kept > len(result.structures) == 60
    assert nearest_members(result.structures, pair) >= 0.1 - 1e-9
    assert result.funnel["proposed"] == len(records(tmp_path / "j"))
    assert result.calls == 1 + sum(r["calls"] for r in records(tmp_path / "j"))


@pytest.mark.slow
@examples(8)
@given(st.data())
def test_growth_resumes_from_a_journal_torn_anywhere(three, tmp_path, data):
    result, _, journal = three
    text = journal.read_bytes()
    path = tmp_path / "j"
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    torn = not path.read_bytes().endswith(b"\n") and path.stat().st_size > len(MAGIC)
    resumed = grow(Toy(), garden(), GARDEN, seed=1, journal=path, batch_atoms=data.draw(st.sampled_from([None, 20])))
    assert equal(resumed, result)
    assert (len(resumed.warnings) == 1) == torn
    assert all("dropped an unfinished or damaged end" in warning for warning in resumed.warnings)
    path.unlink()


@examples(8)
@given(st.data())
def test_growth_resumes_from_a_damaged_journal(bush, tmp_path, data):
    result, _, journal = bush
    text = bytearray(journal.read_bytes())
    text[data.draw(st.integers(30, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "j"
    path.write_bytes(text)
    resumed = grow(Toy(), crystal(), BUSH, seed=1, journal=path)
    assert equal(resumed, result)
    assert "dropped" in resumed.warnings[0]
    path.unlink()


@examples(5)
@given(st.randoms(), st.floats(0, 1))
def test_the_order_of_the_records_does_not_matter(three, tmp_path, random, part):
    result, _, journal = three
    lines = journal.read_bytes().splitlines(keepends=True)
    shuffled = lines[2:]
    random.shuffle(shuffled)
    keep = round(part * len(shuffled))  # as if proposals had ended in this order until the interruption
    path = tmp_path / "j"
    path.write_bytes(b"".join(lines[:2] + shuffled))
    assert equal(grow(Toy(most=0), garden(), GARDEN, seed=1, journal=path), result)
    of_trees = sorted(lines[2:], key=lambda line: random.random() if b'{"tree":1' in line else 0.5)
    path.write_bytes(b"".join(lines[:2] + of_trees[:keep]))
    assert equal(grow(Toy(), garden(), GARDEN, seed=1, journal=path), result)
    path.unlink()


@pytest.mark.parametrize("batch_atoms", [1, 20, None])
def test_interrupted_again_and_again_it_ends_the_same(three, tmp_path, batch_atoms):
    result, toy, _ = three
    spent, interruptions = 0, 0
    while True:
        attempt = Toy(most=50)
        try:
            resumed = grow(attempt, garden(), GARDEN, seed=1, journal=tmp_path / "j", batch_atoms=batch_atoms)
            break
        except KeyboardInterrupt:
            interruptions += 1
        finally:
            spent += attempt.calls
    assert interruptions >= 2
    assert equal(resumed, result)
    # An interruption costs at most the walkers in flight, of at most nine calls each: here up to 8 for each tree.
    walkers = {1: 1, 20: 5, None: 24}[batch_atoms]
    assert toy.calls <= spent <= toy.calls + interruptions * walkers * 9


def sociable(toy):
    """Return a predictor whose rounding depends on which structures are evaluated side by side, as a network's does."""

    def predict(frames):
        labelled = toy(frames)
        noise = 1e-6 * np.sin(1e6 * frames.positions.sum())
        return labelled.with_labels(labelled.energy + noise, labelled.forces * (1 + noise), labelled.stress)

    return predict


@pytest.mark.parametrize("batch_atoms", [20, None])
def test_an_interruption_changes_no_bit_though_rounding_depends_on_the_batch(tmp_path, batch_atoms):
    def growth(name, most=np.inf):
        predict, where = sociable(Toy(most=most)), tmp_path / name
        return grow(predict, garden(), GARDEN, seed=1, journal=where, batch_atoms=batch_atoms)

    unbroken = growth("unbroken")
    for _ in range(100):
        try:
            resumed = growth("broken", most=50)
            break
        except KeyboardInterrupt:
            continue
    assert equal(resumed, unbroken)
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "unbroken").read_bytes()


def test_a_mark_ahead_of_its_journal_or_damaged_is_not_used(three, tmp_path):
    result, _, journal = three
    lines = journal.read_bytes().splitlines(keepends=True)
    mark = journal.with_name("journal.mark").read_bytes()
    for name, text in (("ahead", mark), ("damaged", b"x" + mark)):
        (tmp_path / name).write_bytes(b"".join(lines[: len(lines) // 2]))
        (tmp_path / f"{name}.mark").write_bytes(text)
        assert equal(grow(Toy(), garden(), GARDEN, seed=1, journal=tmp_path / name), result)


def test_a_finished_journal_needs_no_call(three):
    result, _, journal = three
    assert equal(grow(Toy(most=0), garden(), GARDEN, seed=1, journal=journal), result)


KILLED = """
import os, sys
from pathlib import Path
from toys import Toy
from test_resume import GARDEN, garden
from distill.sampling.grow import grow

toy = Toy()
def predict(frames):
    if toy.calls > 80:
        print(toy.calls, len(frames), flush=True)
        os.kill(os.getpid(), 9)
    return toy(frames)
grow(predict, garden(), GARDEN, seed=1, journal=Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_process_loses_only_the_walkers_in_flight(three, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "j")]
    killed = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    before, in_flight = map(int, killed.stdout.split())
    toy = Toy()
    resumed = grow(toy, garden(), GARDEN, seed=1, journal=tmp_path / "j")
    assert equal(resumed, three[0])
    assert 0 <= before + toy.calls - three[1].calls <= in_flight * 8  # none had made its ninth call


def test_a_larger_number_extends_the_same_trees_and_a_smaller_cuts_them(three, tmp_path):
    journal, calls, results = tmp_path / "j", [], []
    for structures in (20, 61, 90):
        toy = Toy()
        results.append(grow(toy, garden(), replace(GARDEN, structures=structures), seed=1, journal=journal))
        calls.append(toy.calls)
    assert [result.per_tree for result in results] == [(7, 7, 6), (21, 20, 20), (30, 30, 30)]
    assert equal(results[-1], three[0])
    assert sum(calls) == three[1].calls  # none repeated
    for structures, result in zip((20, 61), results, strict=False):
        rules = replace(GARDEN, structures=structures)
        assert equal(grow(Toy(most=0), garden(), rules, seed=1, journal=journal), result)
        assert equal(grow(Toy(), garden(), rules, seed=1, journal=tmp_path / f"{structures}"), result)


@examples(15)
@given(st.integers(2, 60), st.integers(1, 60))
def test_an_interrupted_growth_may_be_asked_for_less(bush, tmp_path, structures, done):
    result, _, journal = bush
    lines = journal.read_bytes().splitlines(keepends=True)
    path = tmp_path / "j"
    path.write_bytes(b"".join(lines[: 2 + done]))
    cut = grow(Toy(), crystal(), replace(BUSH, structures=structures), seed=1, journal=path)
    assert same(cut.structures, result.structures[range(structures)])
    path.unlink()


def test_a_kept_structure_that_must_wait_for_an_earlier_proposal_stops_nothing(bush, tmp_path):
    result, _, journal = bush
    header, *lines = journal.read_bytes().splitlines(keepends=True)[1:]
    kept = {r["number"]: line for r, line in zip(records(journal), lines, strict=True)}
    accepted = sorted(r["number"] for r in records(journal) if r["outcome"] == "accepted")
    path, lost, later = tmp_path / "j", accepted[9], accepted[10]  # of the same window
    start = journal.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(b"".join([start, header] + [kept[k] for k in range(lost)] + [kept[later]]))
    cut = grow(Toy(), crystal(), replace(BUSH, structures=10), seed=1, journal=path)
    assert same(cut.structures, result.structures[range(10)])


def test_a_journal_of_other_rules_or_seeds_is_refused_and_left_alone(three):
    _, _, journal = three
    before, toy = journal.read_bytes(), Toy()
    others = {
        "temperature": {"rules": replace(GARDEN, temperature=500.0)},
        "seed": {"seed": 2},
        "seeds": {"seeds": concatenate([garden(), crystal()])},
        "fixed": {"seeds": fix(garden(), np.arange(14) == 5)},
        "nothing fixed": {"seeds": replace(garden(), fixed=None)},
    }
    for change in others.values():
        asked = {"seeds": garden(), "rules": GARDEN, "seed": 1} | change
        with pytest.raises(UserError, match="other rules"):
            grow(toy, asked["seeds"], asked["rules"], seed=asked["seed"], journal=journal)
    assert journal.read_bytes() == before
    assert toy.calls == 0
