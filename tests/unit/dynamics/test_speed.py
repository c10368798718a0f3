"""The time of a step: what it counts, where it stops, and the user's own table in the same unit."""

from __future__ import annotations

import multiprocessing
import os
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms

from distill.base.errors import UserError
from distill.dynamics.speed import (
    FEWEST,
    WARM_UP,
    Speed,
    Timing,
    _expected,
    _typical,
    describe_machine,
    measure,
    supercells,
    times_faster,
)
from distill.dynamics.timings import GivenTiming, read_timings
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential

SILICON = bulk("Si", cubic=True)


class Busy(Potential):
    """Springs of no strength that keep a core at work for a known time."""

    def __init__(self) -> None:
        super().__init__(3.0, learn_reference_energies=False)

    def atomic_energies(self, batch: Batch) -> torch.Tensor:
        work_for(0.02)
        return 0.0 * batch.positions.sum(dim=1)


def work_for(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Slow(Potential):
    """Springs to the origin of no strength, and a known time for every evaluation."""

    def __init__(self, ms: float = 0.0, ms_per_atom: float = 0.0, most: int = 10**9, broken_from: int = 10**9) -> None:
        super().__init__(3.0, learn_reference_energies=False)
        self.ms, self.ms_per_atom, self.most, self.broken_from = ms, ms_per_atom, most, broken_from
        self.sizes: list[int] = []

    def atomic_energies(self, batch: Batch) -> torch.Tensor:
        n = len(batch.numbers)
        self.sizes.append(n)
        time.sleep((self.ms + n * self.ms_per_atom) / 1000)
        if n > self.most:
            torch.empty(2**50, dtype=torch.uint8)  # a petabyte: torch raises what it raises when memory is short
        return batch.positions.sum(dim=1) * (np.nan if n >= self.broken_from else 0.0)


def measured(potential: Potential, structure: Atoms = SILICON, seconds: float = 3.0, largest: int | None = 16) -> Speed:
    rng = np.random.default_rng(0)
    return measure(potential, structure, seconds=seconds, largest=largest, temperature=300, timestep_fs=1, rng=rng)


def test_a_step_of_known_length() -> None:
    (timing,) = measured(Slow(ms=20), largest=8).timings
    assert timing.atoms == 8 and timing.n_steps >= FEWEST
    # a sleep never ends early; what ASE and the calculator add is some ms, on a busy machine more
    assert 20 <= timing.ms_per_step < 100


def test_every_step_is_one_evaluation() -> None:
    potential = Slow()
    (timing,) = measured(potential, largest=8).timings
    assert len(potential.sizes) == 1 + WARM_UP + timing.n_steps  # the first is of the starting structure


def test_sizes_double_up_to_the_largest() -> None:
    speed = measured(Slow(), largest=100)
    assert [t.atoms for t in speed.timings] == [8, 16, 32, 64]
    assert speed.stopped == "no more than 100 atoms were asked for" and not speed.broke
    assert [t.atoms for t in measured(Slow(), largest=3).timings] == [8]


def test_a_size_that_would_exceed_the_time_is_not_begun() -> None:
    potential, begin = Slow(ms_per_atom=1), time.perf_counter()
    speed = measured(potential, seconds=0.9, largest=None)
    took = time.perf_counter() - begin
    # 9 evaluations each of 8, 16 and 32 atoms are 0.5 s; those of 64 would be 0.6 s more, on a busy machine still more
    assert speed.timings[-1].atoms in (8, 16, 32)
    assert f"{2 * speed.timings[-1].atoms} atoms would have exceeded the time" == speed.stopped
    assert max(potential.sizes) == speed.timings[-1].atoms
    assert took < 3


def test_twice_the_atoms_are_expected_to_take_twice_as_long() -> None:
    assert _expected(Timing(8, 10.0, 5), 32) == pytest.approx(0.04 * (1 + WARM_UP + FEWEST), rel=1e-12)


def test_the_end_of_memory_is_said_and_what_was_measured_stays() -> None:
    speed = measured(Slow(most=16), largest=None)
    assert [t.atoms for t in speed.timings] == [8, 16]
    assert speed.stopped == "32 atoms did not fit into the memory"


def test_other_errors_are_not_taken_for_memory() -> None:
    class Wrong(Slow):
        def atomic_energies(self, batch: Batch) -> torch.Tensor:
            raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        measured(Wrong())


def test_dynamics_that_break_are_not_timed() -> None:
    speed = measured(Slow(broken_from=16), largest=None)
    assert [t.atoms for t in speed.timings] == [8] and speed.broke
    assert speed.stopped == "the dynamics of 16 atoms broke"


def test_new_lists_of_neighbours_count_as_often_as_they_are_made() -> None:
    took, listed = np.array([10.0] * 9 + [30.0]), np.array([False] * 9 + [True])
    assert _typical(took, listed) == 12.0
    took[0] = 1000.0  # the machine did something else
    assert _typical(took, listed) == 12.0
    assert _typical(took[1:5], listed[1:5]) == 10.0


@pytest.mark.parametrize("structure", [SILICON, bulk("Al"), bulk("Mg"), bulk("Si") * (5, 1, 1)])
def test_supercells_are_the_same_crystal(structure: Atoms) -> None:
    cells = list(islice(supercells(structure), 7))
    assert [len(c) for c in cells] == [len(structure) * 2**k for k in range(7)]
    for cell in cells:
        assert cell.get_volume() / len(cell) == pytest.approx(structure.get_volume() / len(structure), rel=1e-12)
    lengths = cells[-1].cell.lengths()
    assert lengths.max() <= 2 * max(lengths.min(), structure.cell.lengths().max() / 2) * (1 + 1e-12)


def test_only_periodic_directions_are_repeated() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=0.5)
    slab.set_constraint(FixAtoms([0]))
    cells = list(islice(supercells(slab), 7))
    assert {c.cell.lengths()[2] for c in cells} == {slab.cell.lengths()[2]}
    assert all(not c.constraints for c in cells) and slab.constraints
    assert [len(c) for c in supercells(molecule("H2O"))] == [3]
    assert "cannot be repeated" in measured(Slow(), molecule("H2O")).stopped


def test_one_atom_moves() -> None:
    assert [t.atoms for t in measured(Slow(), bulk("Al"), largest=2).timings] == [1, 2]


def test_a_real_student(painn: Potential, silicon: Atoms) -> None:
    speed = measured(painn, silicon, seconds=20, largest=32)
    assert [t.atoms for t in speed.timings] == [16, 32]
    assert all(0 < t.ms_per_step < 1e4 for t in speed.timings)


def test_times_faster_at_the_largest_common_size() -> None:
    slow = Speed((Timing(8, 10.0, 5), Timing(16, 20.0, 5)), "")
    fast = Speed((Timing(8, 1.0, 5), Timing(16, 4.0, 5), Timing(32, 5.0, 5)), "")
    assert times_faster(slow, fast) == (16, 20.0, 4.0)
    assert times_faster(slow, Speed((), "")) is None


def test_the_machine_has_a_name() -> None:
    assert describe_machine(torch.device("cpu")).endswith(("1 thread", "threads"))


# ---- a table of the user's ------------------------------------------------------------------------------------------


def table(folder: Path, text: str) -> Path:
    path = folder / "timing.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_atoms_and_milliseconds_are_taken_as_they_are(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffmodel,atoms,ms_per_step,remark\nA,64,1.5,fine\nB,128,3,\n")
    assert read_timings(path, None, None) == [GivenTiming("A", 64, 1.5), GivenTiming("B", 128, 3.0)]


def test_minutes_a_picosecond_become_milliseconds_a_step(tmp_path: Path) -> None:
    """110 ms a step at 0.5 fs: 2000 steps a ps take 220 s."""
    path = table(tmp_path, f"model,molecules,mins_per_ps\nMACE,64,{220 / 60}\n")
    (row,) = read_timings(path, 3, 0.5)
    assert row.atoms == 192 and row.ms_per_step == pytest.approx(110.0, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "atoms", "timestep", "said"),
    [
        ("name,atoms,ms_per_step\n", None, None, "no column 'model'. The columns are: name, atoms, ms_per_step"),
        ("", None, None, "no column 'model'. The columns are: none"),
        ("model,molecules,ms_per_step\n", None, None, "Give benchmark.timings.atoms_per_molecule"),
        ("model,atoms,mins_per_ps\n", None, None, "Give benchmark.timings.timestep_fs"),
        ("model,atoms,ms_per_step\n", 3, None, "Remove benchmark.timings.atoms_per_molecule"),
        ("model,size,ms_per_step\n", None, None, "neither a column 'atoms' nor 'molecules'"),
        ("model,atoms,ms_per_step\nA,8,1\nB,many,1\n", None, None, "line 3, column 'atoms': 'many' is not a positive"),
        ("model,atoms,ms_per_step\nA,8,0\n", None, None, "line 2, column 'ms_per_step': '0' is not a positive"),
        ("model,atoms,ms_per_step\nA,8\n", None, None, "'nothing' is not a positive"),
        ("model,atoms,ms_per_step\nA,8,inf\n", None, None, "'inf' is not a positive"),
        ("model,atoms,ms_per_step\nA,8,1e9\n", None, None, "a step of 8 atoms would take 1e+09 ms, which no potential"),
        ("model,molecules,ms_per_step\nA,0.1,1\n", 3, None, "a step of 0.3 atoms would take"),
    ],
)
def test_a_wrong_table_is_refused(
    tmp_path: Path, text: str, atoms: int | None, timestep: float | None, said: str
) -> None:
    with pytest.raises(UserError) as refused:
        read_timings(table(tmp_path, text), atoms, timestep)
    assert said in str(refused.value) and "timing.csv" in str(refused.value)


def test_what_is_not_a_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "timing.csv"
    path.write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(UserError, match="is not a CSV file"):
        read_timings(path, None, None)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not say who waits for a core")
def test_another_process_on_the_same_core_is_noticed() -> None:
    """Two processes on one core have half of it each; one that sleeps waits for none."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        other = multiprocessing.get_context("spawn").Process(target=work_for, args=(60.0,), daemon=True)
        other.start()
        try:
            speed = measured(Busy(), seconds=1.0, largest=8)
        finally:
            other.kill()
            other.join()
    finally:
        os.sched_setaffinity(0, cores)
    assert speed.waiting > 0.3
    assert speed.waiting == pytest.approx(speed.timings[0].waiting)


def test_the_waiting_of_all_sizes_counts_by_the_time_that_they_took() -> None:
    assert Speed((Timing(8, 1.0, 10, 0.9), Timing(16, 99.0, 10, 0.1)), "").waiting == pytest.approx(0.108)
    assert Speed((), "").waiting == 0
