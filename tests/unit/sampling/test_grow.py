"""Growing trees: the rules hold, nothing depends on batches or interruptions, and the books balance."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.geometry import find_mic
from ase.units import kB
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import Toy, crystals, flat, morse, same

from distill.base.errors import UserError, WorkError
from distill.sampling.grow import grow
from distill.sampling.rules import GrowthRules
from distill.structures.frames import concatenate

RULES = GrowthRules(structures=16, temperature=800.0, sigma=(0.05, 0.3), cell_strain=0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted growth, its predictor and its journal."""
    toy, journal = Toy(), tmp_path_factory.mktemp("grow") / "journal"
    return grow(toy, crystals(), RULES, seed=1, journal=journal), toy, journal


def undone(frames, seeds, i):
    """Positions of structure ``i`` with the strain undone, found from the cells themselves where there is one."""
    one, seed = frames[i], seeds[frames.info[i]["tree"]]
    if not seed.pbc.any():
        return one.positions
    return one.positions @ np.linalg.solve(one.cells[0], seed.cells[0])


def displacement(a, b, seed):
    return find_mic(a - b, seed.cells[0], seed.pbc[0])[1].mean()


def test_every_structure_obeys_the_rules(whole):
    result, _, _ = whole
    seeds, grown = crystals(), result.structures
    assert len(grown) == 16
    assert result.per_tree == (4, 4, 4, 4)
    assert np.linalg.norm(grown.forces, axis=1).max() <= RULES.max_force
    assert min(np.min(a.get_all_distances(mic=True) + 9 * np.eye(len(a))) for a in grown.to_atoms()) > 0.6 * 2 * 1.32
    for t, seed in enumerate(seeds):
        mine = [i for i in range(16) if grown.info[i]["tree"] == t]
        members = [seed.positions] + [undone(grown, seeds, i) for i in mine]
        apart = [displacement(a, b, seed) for k, a in enumerate(members) for b in members[:k]]
        assert min(apart) >= 0.1 - 1e-9
        masses_equal_so_mean = [m.mean(axis=0) for m in members]
        assert np.ptp(masses_equal_so_mean, axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


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
        members = [seeds[t].positions] + [undone(grown, seeds, i) for i in mine]
        assert [grown.info[i]["index"] for i in mine] == [1, 2, 3, 4]
        for i in mine:
            info = grown.info[i]
            assert info["parent"] < info["index"]
            assert info["generation"] == generations[info["parent"]] + 1 == result.generation[i]
            assert info["config_type"] == seeds.info[t]["config_type"]
            assert RULES.sigma[0] <= info["sigma"] <= RULES.sigma[1]
            from_parent = displacement(members[info["index"]], members[info["parent"]], seeds[t])
            assert result.displacement_from_parent[i] == pytest.approx(from_parent, abs=1e-9)
            from_seed = displacement(members[info["index"]], members[0], seeds[t])
            assert result.displacement_from_seed[i] == pytest.approx(from_seed, abs=1e-9)
            above = grown.energy_per_atom[i] - result.roots.energy_per_atom[t]
            assert result.relative_energy[i] == pytest.approx(above, abs=1e-12)


def test_the_books_balance(whole):
    result, toy, _ = whole
    funnel = result.funnel
    parts = ["duplicate", "too_close", "force", "not_accepted", "accepted"]
    assert funnel["proposed"] == sum(funnel[name] for name in parts)
    assert funnel["accepted"] == len(result.structures)
    assert result.calls == toy.calls
    assert result.calls_per_structure == pytest.approx(toy.calls / 16)
    assert toy.rounds < toy.calls / 2  # trees share calls
    assert result.warnings == ()


def test_no_call_is_spent_on_duplicates_or_atoms_too_close(whole):
    _, toy, _ = whole
    seeds = {(len(s.numbers), *s.pbc[0]): s for s in crystals()}
    for one in toy.seen[4:]:  # behind the seeds
        seed = seeds[len(one.numbers), *one.pbc[0]]
        moved = one.positions if not seed.pbc.any() else one.positions @ np.linalg.solve(one.cells[0], seed.cells[0])
        assert displacement(moved, seed.positions, seed) >= 0.1 - 1e-9
        atoms = one.to_atoms()[0]
        assert (atoms.get_all_distances(mic=True) + 9 * np.eye(len(atoms))).min() > 0.6 * 2 * 1.32


@pytest.mark.parametrize("walkers", [1, 2, 3])
def test_the_number_of_walkers_changes_no_structure(whole, tmp_path, walkers):
    toy = Toy()
    result = grow(toy, crystals(), RULES, seed=1, journal=tmp_path / "j", walkers=walkers)
    assert same(result.structures, whole[0].structures)
    assert result.funnel == whole[0].funnel
    assert toy.rounds >= (toy.calls - 4) / walkers


def test_a_tree_grows_the_same_alone(whole, tmp_path):
    alone = grow(Toy(), crystals()[[0]], replace(RULES, structures=4), seed=1, journal=tmp_path / "j")
    assert same(alone.structures, whole[0].structures[range(4)])


def test_another_seed_grows_other_structures(whole, tmp_path):
    other = grow(Toy(), crystals(), RULES, seed=2, journal=tmp_path / "j")
    assert not np.isin(other.structures.energy, whole[0].structures.energy).any()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_growth_resumes_from_a_journal_torn_anywhere(whole, tmp_path, data):
    result, _, journal = whole
    text = journal.read_bytes()
    path = tmp_path / "j"
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    resumed = grow(Toy(), crystals(), RULES, seed=1, journal=path)
    assert same(resumed.structures, result.structures)
    assert same(resumed.roots, result.roots)
    assert (resumed.funnel, resumed.calls) == (result.funnel, result.calls)
    path.unlink()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_growth_resumes_from_a_damaged_journal(whole, tmp_path, data):
    result, _, journal = whole
    text = bytearray(journal.read_bytes())
    text[data.draw(st.integers(30, len(text) - 1))] ^= 0x41
    path = tmp_path / "j"
    path.write_bytes(text)
    resumed = grow(Toy(), crystals(), RULES, seed=1, journal=path)
    assert same(resumed.structures, result.structures)
    assert "dropped" in resumed.warnings[0]
    path.unlink()


def test_interrupted_again_and_again_it_ends_the_same(whole, tmp_path):
    result, toy, _ = whole
    spent, interruptions = 0, 0
    while True:
        attempt = Toy(most=37)
        try:
            resumed = grow(attempt, crystals(), RULES, seed=1, journal=tmp_path / "j")
            break
        except KeyboardInterrupt:
            interruptions += 1
        finally:
            spent += attempt.calls
    assert interruptions >= 1
    assert same(resumed.structures, result.structures)
    # Each interruption costs at most the walkers in flight: four, of at most 21 calls each.
    assert toy.calls <= spent <= toy.calls + interruptions * 4 * 21


def test_a_finished_journal_needs_no_call(whole):
    result, _, journal = whole
    toy = Toy(most=0)
    assert same(grow(toy, crystals(), RULES, seed=1, journal=journal).structures, result.structures)


KILLED = """
import os, sys
from pathlib import Path
from toys import Toy, crystals, morse
from test_grow import RULES
from distill.sampling.grow import grow

toy = Toy()
def predict(frames):
    if toy.calls > 40:
        os.kill(os.getpid(), 9)
    return toy(frames)
grow(predict, crystals(), RULES, seed=1, journal=Path(sys.argv[1]))
"""


def test_a_killed_process_loses_only_the_walkers_in_flight(whole, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "j")], env=environment, check=False)
    assert killed.returncode == -9
    toy = Toy()
    resumed = grow(toy, crystals(), RULES, seed=1, journal=tmp_path / "j")
    assert same(resumed.structures, whole[0].structures)
    assert toy.calls < whole[1].calls


def test_a_larger_number_extends_the_same_trees_and_a_smaller_cuts_them(whole, tmp_path):
    journal = tmp_path / "j"
    few = grow(Toy(), crystals(), replace(RULES, structures=6), seed=1, journal=journal)
    assert few.per_tree == (2, 2, 1, 1)
    toy = Toy()
    more = grow(toy, crystals(), RULES, seed=1, journal=journal)
    assert same(more.structures, whole[0].structures)
    assert toy.calls == whole[1].calls - few.calls
    again = grow(Toy(most=0), crystals(), replace(RULES, structures=6), seed=1, journal=journal)
    assert same(again.structures, few.structures)
    assert again.funnel == few.funnel


def test_a_journal_of_other_rules_is_refused(whole):
    _, _, journal = whole
    before = journal.read_bytes()
    with pytest.raises(UserError, match="other rules"):
        grow(Toy(), crystals(), replace(RULES, temperature=500.0), seed=1, journal=journal)
    assert journal.read_bytes() == before


@pytest.mark.parametrize("rise_in_kt", [0.0, 2.0, 3.0])
def test_calls_are_accepted_with_the_probability_of_the_rule(tmp_path, rise_in_kt):
    trees, temperature = 100, 300.0
    seeds = concatenate([crystals()[0]] * trees)
    rules = GrowthRules(trees, temperature, (0.2, 0.3), max_relax_steps=0)
    result = grow(flat(rise_in_kt * kB * temperature, seeds[[0]]), seeds, rules, seed=0, journal=tmp_path / "j")
    p = min(0.25, np.exp(-rise_in_kt))
    # Calls up to the 100th success: mean 100/p, standard deviation sqrt(100 (1-p))/p; four of them are allowed.
    assert result.calls - trees == pytest.approx(trees / p, abs=4 * np.sqrt(trees * (1 - p)) / p)
    assert result.funnel["not_accepted"] == result.calls - trees - len(result.structures)


def test_relaxing_continues_until_the_energy_allows_acceptance(tmp_path):
    rules = replace(RULES, structures=8, temperature=100.0, sigma=(0.2, 0.3), min_displacement=0.0, cell_strain=0.0)
    result = grow(Toy(), crystals()[[0, 1]], rules, seed=0, journal=tmp_path / "j")
    assert len(result.structures) == 8
    fewer = grow(Toy(), crystals()[[0, 1]], replace(rules, max_relax_steps=2), seed=0, journal=tmp_path / "k").funnel
    assert result.funnel["accepted"] / result.funnel["proposed"] > 2 * fewer["accepted"] / fewer["proposed"]


STUCK = {
    "duplicate": ({"sigma": (0.001, 0.01)}, "Raise sigma"),
    "too close": ({"min_separation": 2.58, "cell_strain": 0.0}, "min_separation"),
    "force": ({"max_force": 1e-3}, "max_force"),
    "not accepted": ({"temperature": 1.0, "sigma": (0.3, 0.4), "max_relax_steps": 0}, "max_relax_steps"),
}


@pytest.mark.parametrize("rule", STUCK)
def test_a_stuck_tree_says_which_rule_stopped_it_and_what_to_change(tmp_path, rule):
    changes, advice = STUCK[rule]
    rules = replace(RULES, structures=1, patience=20, **changes)
    with pytest.raises(WorkError, match=f"no structure was accepted.*0 of 1.*say {rule}.*{advice}"):
        grow(Toy(), crystals()[[0]], rules, seed=0, journal=tmp_path / "j")


def test_a_stuck_tree_does_not_stop_the_others(tmp_path):
    atom = replace(crystals()[0], n_atoms=[1], numbers=[29], positions=np.zeros((1, 3)))
    seeds = concatenate([replace(atom, cells=atom.cells, info=()), replace(crystals()[0], info=())])
    result = grow(Toy(), seeds, replace(RULES, structures=6), seed=0, journal=tmp_path / "j")
    assert result.per_tree == (0, 3)
    (warning,) = result.warnings
    assert "tree 0 stopped at 0 of 3" in warning
    assert "single atom" in warning
    assert "config_type" not in result.structures.info[0]


def test_forces_that_are_not_finite_are_never_accepted(tmp_path):
    def broken(one):
        energy, forces, stress = morse(one)
        if np.abs(forces).max() > 1.0:  # stands for a teacher out of its depth
            forces = np.full_like(forces, np.nan)
        return energy, forces, stress

    toy = Toy(broken)
    result = grow(toy, crystals(), replace(RULES, structures=8), seed=0, journal=tmp_path / "j")
    assert np.isfinite(result.structures.forces).all()
    assert result.funnel["force"] > 0
    assert result.calls == toy.calls


def test_seeds_that_break_the_rules_are_refused_before_any_call(tmp_path):
    toy = Toy()
    with pytest.raises(UserError, match=r"seed structure 1: atoms \d and \d are 2\.58 Å apart"):
        bad = crystals()[[3, 0]]
        grow(toy, bad, replace(RULES, min_separation=2.59), seed=0, journal=tmp_path / "j")
    assert toy.calls == 0
    with pytest.raises(UserError, match="no seed structures"):
        grow(toy, crystals()[[]], RULES, seed=0, journal=tmp_path / "j")


def test_a_seed_without_finite_labels_is_named(tmp_path):
    toy = Toy(lambda one: (np.nan if len(one.numbers) == 8 else 0.0, np.zeros((len(one.numbers), 3)), np.eye(3)))
    with pytest.raises(UserError, match="seed structure 1: the teacher gives no finite"):
        grow(toy, crystals(), RULES, seed=0, journal=tmp_path / "j")


@pytest.mark.parametrize(
    ("field", "value"), [("sigma", (0.3, 0.1)), ("exploration", 1.5), ("temperature", 0.0), ("structures", 0)]
)
def test_senseless_rules_are_refused(field, value):
    with pytest.raises(UserError, match=field):
        replace(RULES, **{field: value})
