"""A teacher that fails on a structure: the proposal is rejected and counted, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from toys import RULES, Toy, crystal, crystals, morse, records, same

from distill.base.errors import UserError, WorkError
from distill.base.progress import Progress
from distill.potentials.workers import calculator
from distill.potentials.workers.protocol import WorkerError
from distill.sampling.attempts import GIVE_UP, attempt, label
from distill.sampling.grow import grow
from distill.structures.frames import Frames, concatenate

Labels = tuple

FEW = replace(RULES, structures=24, max_relax_steps=4)


def weak(one: Frames) -> bool:
    """Whether the teacher fails: on one structure in four, by its last digits, never on a seed."""
    return int(1e6 * abs(one.positions[-1, 0])) % 4 == 1


def raising(one: Frames) -> Labels:
    if weak(one):
        raise ArithmeticError("the cycle did not converge\nand more")
    return morse(one)


def without_number(one: Frames) -> Labels:
    energy, forces, stress = morse(one)
    return (np.nan, forces, stress) if weak(one) else (energy, forces, stress)


@pytest.mark.parametrize("deed", [raising, without_number])
@pytest.mark.parametrize("batch_atoms", [4, None])
def test_the_proposal_is_rejected_and_the_first_message_kept(
    tmp_path: Path, deed: Callable[[Frames], Labels], batch_atoms: int | None
) -> None:
    result = grow(Toy(deed), crystal(), FEW, seed=3, journal=tmp_path / "j", batch_atoms=batch_atoms)
    failed = [record for record in records(tmp_path / "j") if record["outcome"] == "failed"]
    assert len(result.structures) == 24 and not any(weak(one) for one in result.structures)
    assert result.funnel["failed"] == len(failed) > 0
    said = "ArithmeticError: the cycle did not converge" if deed is raising else "its energy or forces are not finite"
    assert result.warnings == (
        f"the teacher failed on {len(failed)} of {result.calls - 1} structures, which were left out; first: {said}",
    )


def test_neither_batch_nor_interruption_changes_what_is_rejected(tmp_path: Path) -> None:
    whole = grow(Toy(raising), crystals()[[0, 3]], FEW, seed=3, journal=tmp_path / "whole")
    for most in range(3, 40, 9):
        with pytest.raises(KeyboardInterrupt):
            grow(Toy(raising, most=most), crystals()[[0, 3]], FEW, seed=3, journal=tmp_path / "cut", batch_atoms=8)
    parts = grow(Toy(raising), crystals()[[0, 3]], FEW, seed=3, journal=tmp_path / "cut")
    assert same(whole.structures, parts.structures)
    assert (whole.funnel, whole.warnings) == (parts.funnel, parts.warnings)
    assert whole.funnel["failed"] > 0


def test_a_failure_that_does_not_come_again_changes_nothing(tmp_path: Path) -> None:
    """A shared disk or a licence server that is away for one call: the structure is asked about once more."""
    count = 0

    def every_second_call(frames: Frames) -> Frames:
        nonlocal count
        count += 1
        if count % 2:
            raise OSError("the licence server does not answer")
        return Toy()(frames)

    flaky = grow(every_second_call, crystal(), FEW, seed=3, journal=tmp_path / "a", batch_atoms=4)
    sound = grow(Toy(), crystal(), FEW, seed=3, journal=tmp_path / "b", batch_atoms=4)
    assert same(flaky.structures, sound.structures)
    assert flaky.warnings == ()


def test_a_teacher_that_breaks_for_good_ends_the_run_and_leaves_no_trace_in_the_journal(tmp_path: Path) -> None:
    """Once it is mended, the growth goes on as if it had never been broken."""

    def broken(frames: Frames) -> Frames:
        if toy.calls > 20:
            raise RuntimeError("CUDA error: the device is lost")
        return toy(frames)

    toy, rules = Toy(), replace(FEW, patience=200)
    with pytest.raises(WorkError, match=rf"failed on {GIVE_UP} structures in a row, .* RuntimeError: CUDA error"):
        grow(broken, crystal(), rules, seed=3, journal=tmp_path / "j")
    mended = grow(Toy(), crystal(), rules, seed=3, journal=tmp_path / "j")
    sound = grow(Toy(), crystal(), rules, seed=3, journal=tmp_path / "sound")
    assert same(mended.structures, sound.structures)
    assert (mended.funnel, mended.warnings) == (sound.funnel, ())


def test_a_seed_that_the_teacher_fails_on_is_named(tmp_path: Path) -> None:
    def no_molecules(one: Frames) -> Labels:
        if not one.pbc.any():
            raise ValueError("no molecules")
        return morse(one)

    said = "seed structure 3: the teacher fails on it: ValueError: no molecules. Remove the structure"
    with pytest.raises(UserError, match=said):
        grow(Toy(no_molecules), crystals(), RULES, seed=0, journal=tmp_path / "j")


def test_what_is_wrong_with_the_teacher_itself_ends_the_work_at_once() -> None:
    def gone(frames: Frames) -> Frames:
        raise UserError("the interpreter is gone")

    with pytest.raises(UserError, match="the interpreter is gone"):
        next(attempt(gone, crystals()))


def test_labels_are_given_where_there_are_some() -> None:
    frames = concatenate([crystals()] * 12)
    with Progress().phase("labelling", len(frames), "structure") as phase:
        labelled, said = label(
            Toy(lambda one: morse(one) if one.pbc.any() else (np.nan, *morse(one)[1:])), frames, phase
        )
        assert phase.record.done == len(frames)
    assert said == [
        "the teacher failed on 12 of 48 structures, which were left out; first: its energy or forces are not finite"
    ]
    kept = concatenate([crystals()[:3]] * 12)
    assert np.array_equal(labelled.numbers, kept.numbers)
    assert same(labelled, Toy()(kept))


WRONG = {
    "a force for all atoms": (
        0.0,
        np.ones((1, 3)),
        "the forces that the calculator gave have shape (1, 3), not (4, 3)",
    ),
    "a force too few": (0.0, np.ones((3, 3)), "the forces that the calculator gave have shape (3, 3), not (4, 3)"),
    "complex forces": (0.0, np.ones((4, 3), complex), "the forces that the calculator gave are complex numbers"),
    "complex energy": (1j, np.ones((4, 3)), "the energy that the calculator gave are complex numbers"),
    "an energy for each atom": (np.zeros(4), np.ones((4, 3)), "the energy that the calculator gave have shape (4,)"),
    "words": (0.0, np.full((4, 3), "a"), "the forces that the calculator gave are of type <U1, not real ones"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_a_real_energy_and_a_force_for_each_atom_is_refused(case: str) -> None:
    energy, forces, said = WRONG[case]

    class Odd(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, *args: object, **kwargs: object) -> None:
            self.results = {"energy": energy, "forces": forces}

    one = crystal()
    batch = {name: getattr(one, name) for name in ("n_atoms", "numbers", "positions", "cells", "pbc")}
    with pytest.raises(WorkerError) as caught:
        calculator.evaluate(Odd(), batch | {"stress": False})
    assert said in caught.value.what and caught.value.kind == "result"
