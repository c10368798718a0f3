"""What a growth returns: its numbers are those of its structures, and warnings say what to change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toys import RULES, Toy, crystals

from distill.sampling.grow import grow
from distill.sampling.result import GrowthResult, barren_warning, stuck_warning
from distill.sampling.tree import Ended, Tree
from distill.structures.frames import Frames


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> GrowthResult:
    """Sixteen structures grown from four seeds."""
    rules = replace(RULES, cell_strain=0.0)
    return grow(Toy(), crystals(), rules, seed=0, journal=tmp_path_factory.mktemp("growth") / "journal")


def trees_of(result: GrowthResult) -> list[Frames]:
    return [result.structures[np.array(result.structures.labels("tree")) == str(k)] for k in range(4)]


def test_the_funnel_adds_up_to_the_proposals(result: GrowthResult) -> None:
    funnel = dict(result.funnel)
    assert funnel.pop("proposed") == sum(funnel.values())
    assert funnel["accepted"] == len(result.structures) == sum(result.per_tree) == 16
    assert result.calls_per_structure == result.calls / 16 and result.calls >= 16 + 4


def test_structures_know_their_seed_and_their_parents(result: GrowthResult) -> None:
    for seed, grown in zip(crystals(), trees_of(result), strict=True):
        assert set(grown.labels("config_type")) == set(seed.labels("config_type"))
        generations = {0: 0} | {info["index"]: info["generation"] for info in grown.info}
        assert [info["index"] for info in grown.info] == list(range(1, len(grown) + 1))
        assert all(info["generation"] == generations[info["parent"]] + 1 for info in grown.info)
    assert result.generation.tolist() == [info["generation"] for info in result.structures.info]


def test_displacements_and_energies_are_those_of_the_structures(result: GrowthResult) -> None:
    """Cells are not strained here, and atoms move by less than half a cell: plain differences, for the molecule."""
    seed, grown = crystals()[3], trees_of(result)[3]
    positions = [seed.positions, *(one.positions for one in grown)]
    chosen = np.array(result.structures.labels("tree")) == "3"
    for row, info in enumerate(grown.info):
        for found, other in ((result.displacement_from_parent, info["parent"]), (result.displacement_from_seed, 0)):
            away = positions[row + 1] - positions[other]
            expected = np.linalg.norm(away - away.mean(axis=0), axis=1).mean()
            assert found[chosen][row] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert grown.energy is not None and result.roots.energy is not None
    relative = (grown.energy - result.roots.energy[3]) / len(seed.numbers)
    np.testing.assert_allclose(result.relative_energy[chosen], relative, rtol=1e-9, atol=1e-12)


def test_histograms_count_every_structure(result: GrowthResult) -> None:
    for name, histogram in result.histograms().items():
        assert sum(histogram["counts"]) == 16, name
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert result.histograms()["generation"]["counts"][0] == 0, "the seeds are not grown"


def stuck(rule: str) -> Tree:
    seed = crystals()[0]
    tree = Tree(0, seed.with_labels(np.zeros(1), np.zeros((4, 3)), None), RULES)
    for number in range(3):
        tree.counts.add(rule, Ended(number, rule))
    return tree


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [
        ("duplicate", "Raise sigma"),
        ("too_close", "min_separation (Cu)"),
        ("force", "max_force"),
        ("failed", "The teacher fails on them"),
    ],
)
def test_a_stuck_tree_says_which_rule_stopped_it_and_what_to_change(rule: str, remedy: str) -> None:
    said = stuck_warning(stuck(rule))
    assert f"its last 3 proposals were all rejected, 3 of them as {rule.replace('_', ' ')}" in said and remedy in said


def test_a_tree_without_freedom_says_so() -> None:
    assert "all its atoms are fixed" in barren_warning(stuck("force"))
