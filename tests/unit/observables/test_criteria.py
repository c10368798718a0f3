"""Observed quantities against a teacher's and against what is known: right outcomes where the truth is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from distill.analysis.replicas import judge_known
from distill.base.errors import UserError
from distill.observables.base import Measured
from distill.observables.criteria import Observed, compared, known
from distill.observables.files import blocks, read_curve, read_measured, read_samples, write_measured
from distill.observables.motion import Diffusion
from distill.observables.structure import RadialDistribution, TetrahedralOrder


def g(**more: Any) -> RadialDistribution:
    return RadialDistribution.model_validate({"kind": "rdf", "run": "liquid"} | more)


def curves(shift: float, replicas: int, seed: int) -> list[Measured]:
    """Curves with noise of 0.05 at 40 places."""
    rng, places = np.random.default_rng(seed), np.linspace(2, 6, 40)
    return [Measured(1 + np.sin(places) + shift + rng.normal(0, 0.05, 40), places) for _ in range(replicas)]


def numbers(*values: float, most: float = math.nan) -> list[Measured]:
    return [Measured.number(value, most, "not diffusive" if math.isnan(value) else "") for value in values]


def test_curves_that_are_equal_pass_and_those_apart_fail() -> None:
    outcomes: dict[float, list[str]] = {0.0: [], 0.2: []}
    for shift, found in outcomes.items():
        for seed in range(20):
            one = compared(Observed("g", g(), curves(shift, 4, seed), curves(0, 3, 100 + seed)))
            assert one is not None
            found.append(one.outcome)
    assert outcomes[0.0].count("fail") == 0 and outcomes[0.0].count("pass") >= 15
    assert set(outcomes[0.2]) == {"fail"}


def test_too_few_replicas_cannot_tell() -> None:
    one = compared(Observed("g", g(), curves(0, 4, 0), curves(0, 2, 1)))
    assert one is not None and one.outcome == "cannot tell" and "4 replicas of the student and 2" in one.why
    assert compared(Observed("g", g(), curves(0, 4, 0), [])) is None


def test_what_would_decide_is_said() -> None:
    order = TetrahedralOrder.model_validate({"kind": "tetrahedral_order", "run": "liquid"})
    noisy = numbers(0.6, 0.68, 0.72, 0.64)
    one = compared(Observed("q", order, noisy, noisy[:3], (10.0, 4.0)))
    assert one is not None and one.outcome == "cannot tell"
    assert "ps of the student and" in one.why and "ps of the teacher" in one.why


def test_a_frozen_student_fails_without_a_coefficient() -> None:
    diffusion = Diffusion.model_validate({"kind": "diffusion", "run": "liquid"})
    frozen, liquid = numbers(*[math.nan] * 4, most=0.01), numbers(0.2, 0.22, 0.21, 0.19)
    one = compared(Observed("D", diffusion, frozen, liquid))
    assert one is not None and one.outcome == "fail" and "at most 0.01" in one.why
    other = compared(Observed("D", diffusion, liquid, frozen))
    assert other is not None and other.outcome == "fail"
    both = compared(Observed("D", diffusion, frozen, frozen))
    assert both is not None and both.outcome == "cannot tell" and "not diffusive" in both.why


def test_experiment_is_a_note_unless_it_binds() -> None:
    reference = {"value": 0.5, "tolerance": "10 %", "name": "neutrons"}
    given = {"kind": "tetrahedral_order", "run": "liquid", "reference": reference}
    measured = numbers(0.7, 0.71, 0.69, 0.7)
    one = known(Observed("q", TetrahedralOrder.model_validate(given), measured, []))
    assert one is not None and one.outcome == "fail" and one.note and one.quantity == "q against neutrons"
    given["reference"] = reference | {"binding": True}
    other = known(Observed("q", TetrahedralOrder.model_validate(given), measured, []))
    assert other is not None and not other.note


def test_a_curve_is_compared_where_the_reference_has_it(tmp_path: Path) -> None:
    places = np.linspace(2, 4, 30)
    (tmp_path / "ref.csv").write_text("r,g\n" + "\n".join(f"{x:.4f},{1 + np.sin(x):.5f}" for x in places))
    reference = {"file": "ref.csv", "tolerance": 0.05}
    curve = read_curve(tmp_path / "ref.csv")
    good = known(Observed("g", g(reference=reference), curves(0, 4, 3), [], curve=curve))
    bad = known(Observed("g", g(reference=reference), curves(0.2, 4, 3), [], curve=curve))
    assert good is not None and bad is not None and (good.outcome, bad.outcome) == ("pass", "fail")
    for text in ("no numbers\n", "1 2\n", "2 1\n1 1\n"):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=r"bad\.csv"):
            read_curve(tmp_path / "bad.csv")


def test_intervals_against_what_is_known_hold_it() -> None:
    """The true distance of curves is within the interval in at least 90 of 100 cases, as one of 95 % should be."""
    rng, truth = np.random.default_rng(0), np.zeros(30)
    held = {0.0: 0, 0.3: 0}
    for distance in held:
        for _ in range(100):
            found = judge_known(distance + rng.normal(0, 0.2, (4, 30)), truth, 1.0)
            held[distance] += found.low - 1e-12 <= distance <= found.high
    assert min(held.values()) >= 90
    single = [judge_known(rng.normal(1.0, 0.2, 4), np.array(0.0), 5.0) for _ in range(200)]
    assert 0.9 <= np.mean([one.low <= 1.0 <= one.high for one in single]) <= 0.99


def test_measured_is_read_as_it_was_written(tmp_path: Path) -> None:
    given = {"g": curves(0, 1, 0)[0], "D": Measured.number(math.nan, 0.3, "not diffusive")}
    write_measured(tmp_path, given)
    found = read_measured(tmp_path / "observables.npz")
    assert (found["g"].values == given["g"].values).all() and found["g"].places is not None
    assert found["D"].most == 0.3 and found["D"].why == "not diffusive" and found["D"].places is None


def test_structures_of_a_file_are_a_reference_of_four_replicas(tmp_path: Path) -> None:
    rng, crystal = np.random.default_rng(0), bulk("Si", cubic=True)

    def frames(spread: float, many: int) -> list[Atoms]:
        structures = [crystal.copy() for _ in range(many)]
        for one in structures:
            one.positions += rng.normal(0, spread, one.positions.shape)
        return structures

    write(tmp_path / "dft.xyz", frames(0.1, 80))
    given = {
        "reference": {"structures": "dft.xyz", "tolerance": "20 %", "name": "DFT"},
        "range": (2.0, 3.0),
        "width": 0.1,
    }
    reference = [g(**given).measure(block) for block in blocks(read_samples(tmp_path / "dft.xyz"))]
    assert len(reference) == 4

    def outcome(spread: float) -> str:
        write(tmp_path / "md.xyz", frames(spread, 80))
        student = [g(**given).measure(block) for block in blocks(read_samples(tmp_path / "md.xyz"))]
        found = known(Observed("g", g(**given), student, [], sampled=reference))
        assert found is not None and found.note and found.quantity == "g against DFT"
        return found.outcome

    assert (outcome(0.1), outcome(0.2)) == ("pass", "fail")
    write(tmp_path / "few.xyz", frames(0.1, 7))
    with pytest.raises(UserError, match=r"few\.xyz: has 7 structures"):
        read_samples(tmp_path / "few.xyz")
    with pytest.raises(ValueError, match="tell nothing of motion"):
        Diffusion.model_validate({"kind": "diffusion", "run": "liquid", "reference": {"structures": "dft.xyz"}})
