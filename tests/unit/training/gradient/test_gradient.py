"""The gradient trainer: it learns, it resumes exactly, and it says when it diverged."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.errors import WorkError
from distill.base.progress import Phase, Progress, Record
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.painn import PaiNNPotential
from distill.structures.frames import Frames
from distill.structures.spread import Spread
from distill.training.curve import FitResult, Point
from distill.training.disagreement import with_spread
from distill.training.gradient.callbacks import Checkpoint
from distill.training.gradient.fit import fit, valid_batches
from distill.training.gradient.losses import LossWeights
from distill.training.targets import Targets, make_targets


class Interrupted(Exception):
    """Raised in the middle of training, as a kill would end it."""


class StopAt(Progress):
    """Ends the process' work at a given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def publish(self, record: Record, force: bool = False) -> None:
        if record.done >= self.step:
            raise Interrupted


def frames(n: int, seed: int) -> Frames:
    """Rattled silicon with the energies and forces of springs to the lattice sites: an exact, simple truth."""
    rng = np.random.default_rng(seed)
    ideal = bulk("Si", "diamond", a=5.43, cubic=True)
    structures, energies, forces = [], [], []
    for _ in range(n):
        displacement = rng.normal(0, 0.1, (8, 3))
        atoms = ideal.copy()
        atoms.positions += displacement
        structures.append(atoms)
        energies.append(0.5 * 5.0 * float(np.sum(displacement**2)) - 40.0)
        forces.append(-5.0 * displacement)
    return Frames.from_atoms(structures).with_labels(np.array(energies), np.concatenate(forces), None)


def student(channels: int = 8, seed: int = 0) -> Potential:
    row = POTENTIALS["painn"]
    built: Potential = row.build(row.Settings(cutoff=4.0, channels=channels, layers=1), seed)
    return built


def run(work: Path, potential: Potential, progress: Progress | None = None, **changes: object) -> FitResult:
    arguments: dict = {"steps": 60, "batch_size": 4, "learning_rate": 5e-3, "validation_interval": 10, "seed": 1}
    potential.initialise(frames(10, 0))
    return fit(potential, frames(10, 0), frames(4, 1), work=work, progress=progress, **arguments | changes)


def text(result: FitResult) -> str:
    """The curve without its times; as text, because stress errors are NaN here."""
    return repr([replace(point, seconds=0.0) for point in result.curve])


def test_training_lowers_the_validation_error(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=200)
    assert result.status == "finished"
    assert result.best is not None
    assert result.best.valid_forces_mae < 0.8 * result.curve[0].valid_forces_mae


@pytest.mark.parametrize(
    "options",
    [
        {"pull": 20.0},
        {"optimiser": "muon"},
        {"optimiser": "soap"},
        {"schedule": "plateau", "decay": 0.5, "decay_patience": 0, "learning_rate": 0.05},
    ],
)
def test_resumed_training_is_bit_exact(tmp_path: Path, options: dict) -> None:
    whole = student(16)
    reference = run(tmp_path / "whole", whole, **options)
    halted = student(16)
    with pytest.raises(Interrupted):
        run(tmp_path / "halted", halted, StopAt(37), **options)
    resumed = student(16)
    continued = run(tmp_path / "halted", resumed, **options)
    assert text(continued) == text(reference)
    for name, value in whole.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_time_limit_ends_a_fit(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=100_000, max_time=1 / 60)
    assert result.status == "out of time"
    assert result.curve[-1].seconds >= 1.0
    assert all(point.seconds < 1.0 for point in result.curve[:-1])


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    first = run(tmp_path, student())
    again = run(tmp_path, student(), StopAt(61))
    assert text(again) == text(first)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_the_state_to_continue_from_has_the_best_weights_in_it(tmp_path: Path) -> None:
    """A learning rate that leaps after the first validation makes the last weights others than the best."""
    options = {"schedule": "plateau", "learning_rate": 0.3, "average": 0.0, "validation_interval": 3}
    whole, again = student(), student()
    first = run(tmp_path, whole, **options)
    assert first.best is not None and first.best.step < first.curve[-1].step
    assert sorted(path.name for path in tmp_path.iterdir()) == [Checkpoint.CURVE, Checkpoint.LAST]
    run(tmp_path, again, StopAt(61), **options)
    for name, value in whole.state_dict().items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("fault", ["a bit", "no best weights", "half a file"])
def test_a_damaged_state_is_not_continued_from_and_that_is_said(tmp_path: Path, fault: str) -> None:
    reference = run(tmp_path / "whole", student())
    with pytest.raises(Interrupted):
        run(tmp_path / "halted", student(), StopAt(37))
    last = tmp_path / "halted" / Checkpoint.LAST
    if fault == "a bit":
        flip(last, 4 * last.stat().st_size)
    elif fault == "half a file":
        last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    else:
        state = torch.load(last, weights_only=True)
        state["callbacks"]["Checkpoint"].pop("best")
        torch.save(state, last)
    result = run(tmp_path / "halted", student())
    assert text(result) == text(reference)
    assert result.warnings == ["last.ckpt, from which the fit would have continued, was damaged: it began anew"]


def test_no_file_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one there for a moment, which a kill would leave."""
    made: list[str] = []
    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", lambda *a, **k: made.append(str(mkstemp(*a, **k)[1])) or (0, made[-1]))
    run(tmp_path, student(), steps=20)
    assert made == []


def test_divergence_is_reported_and_leaves_finite_weights(tmp_path: Path) -> None:
    potential = student()
    result = run(tmp_path, potential, learning_rate=1e6, clip=0.0, average=0.0)
    assert result.status == "diverged"
    assert all(torch.isfinite(p).all() for p in potential.parameters())


class Tight(PaiNNPotential):
    """A student whose memory holds a few structures."""

    room = 3

    def atomic_energies(self, batch: Batch) -> torch.Tensor:
        if batch.n_structures > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().atomic_energies(batch)


def tight(room: int) -> Tight:
    potential = student()
    potential.__class__ = Tight
    assert isinstance(potential, Tight)
    potential.room = room
    return potential


def test_where_memory_is_short_batches_are_divided_and_the_result_is_the_same(tmp_path: Path) -> None:
    options = {"steps": 20, "batch_size": 10, "average": 0.0}
    ample, short = student(), tight(3)
    reference, found = run(tmp_path / "ample", ample, **options), run(tmp_path / "short", short, **options)
    assert found.status == "finished"
    for one, other in zip(reference.curve, found.curve, strict=True):
        # sums in another order, single precision
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-4)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)


def test_where_one_structure_does_not_fit_the_fit_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="one structure at a time"):
        run(tmp_path, tight(0))


def test_other_errors_are_not_taken_for_memory(tmp_path: Path) -> None:
    potential = student()
    potential.atomic_energies = lambda batch: (_ for _ in ()).throw(RuntimeError("something else"))  # type: ignore
    with pytest.raises(RuntimeError, match="something else"):
        run(tmp_path, potential)


def test_a_loss_far_above_the_best_for_long_is_divergence(tmp_path: Path) -> None:
    """The learning rate leaps after a good start, and the loss stays finite."""
    checkpoint = Checkpoint(tmp_path, patience=None)
    good = Point(0, 0.1, 0.1, 0.01, 0.01, 0.01, 1e-3, 0.0)
    checkpoint.result.curve += [good] * 5 + [replace(good, valid_loss=1.1)] * 19
    assert not checkpoint._has_diverged()
    checkpoint.result.curve.append(replace(good, valid_loss=1.1))
    assert checkpoint._has_diverged()
    checkpoint.result.curve.append(replace(good, valid_loss=0.9))
    assert not checkpoint._has_diverged()


@pytest.mark.parametrize(
    "weights",
    [
        LossWeights(kind="mae"),
        LossWeights(kind="rmse"),
        LossWeights(energy=0.0, later={"energy": 10.0}),
        LossWeights(energy=1.0, forces=1.0, balance=True),
    ],
)
def test_every_kind_of_objective_learns_and_resumes_exactly(tmp_path: Path, weights: LossWeights) -> None:
    reference = run(tmp_path / "whole", student(), weights=weights)
    assert reference.curve[-1].valid_forces_mae < 0.9 * reference.curve[0].valid_forces_mae
    with pytest.raises(Interrupted):
        run(tmp_path / "halted", student(), StopAt(37), weights=weights)
    assert text(run(tmp_path / "halted", student(), weights=weights)) == text(reference)


@pytest.mark.parametrize("term", ["atomic_energy", "rows", "random"])
def test_a_student_learns_what_else_the_teacher_offers(term: str, tmp_path: Path) -> None:
    """The teacher is a network of the same kind with other weights, so that all it says can be learnt."""
    teacher = student(seed=7)
    with torch.no_grad():
        teacher.scales.fill_(5.0)
    data, phase = [teacher.evaluate(frames(10, 0)), teacher.evaluate(frames(4, 1))], Phase(Progress(), Record())
    probes, term = (None, term) if term == "atomic_energy" else (term, "hessian")
    wanted = {"atomic_energies": True, "hessian": probes, "seed": 0, "phase": phase}
    targets = tuple(make_targets(teacher, part, **wanted) for part in data)
    errors = []
    for weight in (0.0, 10.0):
        potential = student()
        potential.initialise(data[0])
        weights = LossWeights(forces=0.0 if term == "hessian" else 10.0, **{term: weight})
        arguments = {"steps": 100, "batch_size": 5, "learning_rate": 5e-3, "work": tmp_path / str(weight)}
        fit(potential, *data, targets=targets, weights=weights, **arguments)
        found = make_targets(potential, data[1], **wanted)
        name = "response" if term == "hessian" else term
        errors.append(np.abs(getattr(found, name) - getattr(targets[1], name)).mean())
    assert errors[1] < 0.7 * errors[0]


def test_equal_weights_of_labels_change_no_bit_and_others_do(tmp_path: Path) -> None:
    """Where several teachers lie apart by the same everywhere, a student is the one of labels without a spread."""
    data = frames(10, 0)

    def fitted(name: str, spread: Spread | None) -> dict[str, torch.Tensor]:
        potential, everything = student(), np.ones(10, dtype=bool)
        targets = None if spread is None else with_spread(Targets(), spread, data, everything, "all")
        run(tmp_path / name, potential, targets=(targets, None), steps=20)
        return potential.state_dict()

    plain = fitted("plain", None)
    constant = fitted("constant", Spread(np.full(10, 0.013), np.full(80, 0.07)))
    assert all(torch.equal(plain[name], value) for name, value in constant.items())
    varied = fitted("varied", Spread(np.full(10, 0.013), np.linspace(0.01, 1, 80)))
    assert not all(torch.equal(plain[name], value) for name, value in varied.items())


def test_patience_stops_early(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=2000, patience=3, learning_rate=0.05, average=0.0)
    assert result.status == "stopped early"
    assert result.best is not None
    assert len(result.curve) - 1 - result.curve.index(result.best) == 3


def test_best_weights_are_those_returned(tmp_path: Path) -> None:
    potential = student()
    result = run(tmp_path, potential, steps=100, learning_rate=0.03)
    valid = frames(4, 1)
    predicted = potential.evaluate(valid, stress=False)
    assert result.best is not None
    assert predicted.forces is not None
    mae = float(np.abs(predicted.forces - valid.forces).mean())
    # the same numbers through another batch: single precision
    assert mae == pytest.approx(result.best.valid_forces_mae, rel=1e-4)


def test_weights_of_absent_labels_are_harmless(tmp_path: Path) -> None:
    result = run(tmp_path, student(), weights=LossWeights(virial=100.0))
    assert result.curve[-1].valid_loss < 100


class Precision(Progress):
    """Remembers how matrices are multiplied while a fit runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def publish(self, record: Record, force: bool = False) -> None:
        if 0 < record.done < record.total:
            self.seen.add(torch.get_float32_matmul_precision())


def test_the_precision_of_products_is_set_for_the_fit_alone(tmp_path: Path) -> None:
    progress = Precision()
    before = torch.get_float32_matmul_precision()
    run(tmp_path, student(), progress, steps=10, matmul="medium")
    assert progress.seen == {"medium"}
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_processes_share_out_the_validation_structures(processes: int) -> None:
    """Each is taken once, by batches that cost no more than they may; nobody is without a batch."""
    costs = np.array([5, 1, 1, 9, 2])
    batches = [list(valid_batches(costs, 6, rank, processes)) for rank in range(processes)]
    assert all(batches)
    taken = [int(index) for own in batches for batch in own for index in batch]
    assert taken == list(range(5))
    assert all(costs[batch].sum() <= 6 or len(batch) == 1 for own in batches for batch in own)
