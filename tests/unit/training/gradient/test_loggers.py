"""Logs of a fit: they hold the learning curve, go on where an interrupted fit stood, and repeat nothing."""

from __future__ import annotations

import csv
import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_gradient import Interrupted, StopAt, run, student, text

from distill.base.errors import UserError
from distill.base.progress import Progress, Record
from distill.training.curve import FitResult
from distill.training.gradient.callbacks import Checkpoint
from distill.training.loggers import Logs


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would show: step and value of each quantity, from all event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def assert_is_the_curve(found: dict[str, list[tuple[int, float]]], result: FitResult) -> None:
    names = {"train/loss": "train_loss", "valid/forces_mae": "valid_forces_mae", "learning_rate": "learning_rate"}
    for tag, name in names.items():
        expected = [(point.step, getattr(point, name)) for point in result.curve]
        assert [step for step, _ in found[tag]] == [step for step, _ in expected]
        assert [v for _, v in found[tag]] == pytest.approx([v for _, v in expected], rel=1e-6)  # single precision
    assert [value for _, value in found["round"]] == list(range(1, len(result.curve) + 1))
    assert found["epoch"][0][1] == pytest.approx(10 / 3)  # ten steps, three batches of ten structures
    assert "valid/virial_mae" not in found  # no structure has a stress
    assert all(value > 0 for _, value in found["steps_per_second"])


def test_tensorboard_shows_the_curve_and_brings_no_tensorflow(tmp_path: Path) -> None:
    before = "tensorflow" in sys.modules
    result = run(tmp_path / "work", student(), logs=Logs(tmp_path / "logs", ("tensorboard",)))
    assert_is_the_curve(scalars(tmp_path / "logs" / "tensorboard"), result)
    assert ("tensorflow" in sys.modules) is before


def test_a_resumed_log_has_no_gap_and_no_repetition(tmp_path: Path) -> None:
    """Two interruptions; the log is asked for from the second attempt on only."""
    logs = Logs(tmp_path / "logs", ("tensorboard",))
    with pytest.raises(Interrupted):
        run(tmp_path / "work", student(), StopAt(17))
    with pytest.raises(Interrupted):
        run(tmp_path / "work", student(), StopAt(37), logs=logs)
    assert [step for step, _ in scalars(logs.folder / "tensorboard")["round"]] == [10, 20, 30]
    result = run(tmp_path / "work", student(), logs=logs)
    found = scalars(logs.folder / "tensorboard")
    assert len(found["round"]) == 6
    assert_is_the_curve(found, result)
    run(tmp_path / "work", student(), logs=logs)
    assert scalars(logs.folder / "tensorboard") == found


def test_logs_change_nothing_of_the_fit(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", student(), steps=20)
    logged = run(tmp_path / "logged", student(), steps=20, logs=Logs(tmp_path / "logs", ("tensorboard",)))
    assert text(plain) == text(logged)


def records(path: Path) -> Iterator[bytes]:
    """The records of a W&B file: after seven bytes a log as LevelDB documents it (blocks of 32 KiB)."""
    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several parts
            yield parts
            parts = b""


def wandb_runs(folder: Path) -> dict[str, list[list[dict[str, float]]]]:
    """The rows of every attempt's file, by the id of the run."""
    from wandb.proto.wandb_internal_pb2 import Record as Entry

    found: dict[str, list[list[dict[str, float]]]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        entries = [Entry.FromString(data) for data in records(path)]
        rows = [
            {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in entry.history.item}
            for entry in entries
            if entry.HasField("history")
        ]
        found.setdefault(path.stem.removeprefix("run-"), []).append(rows)
    return found


@pytest.fixture
def fresh_wandb() -> Iterator[None]:
    """Let the package read its variables again, which it does once in a process."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_wandb")
def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run, whose attempts together have the curve once."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    logs = Logs(tmp_path / "logs", ("wandb",), "a student")
    with pytest.raises(Interrupted):
        run(tmp_path / "work", student(), StopAt(37), logs=logs)
    result = run(tmp_path / "work", student(), logs=logs)
    runs = wandb_runs(logs.folder)
    assert len(runs) == 1
    (attempts,) = runs.values()
    assert [len(rows) for rows in attempts] == [3, 3]
    rows = [row for attempt in attempts for row in attempt]
    assert [row["trainer/global_step"] for row in rows] == [point.step for point in result.curve]
    assert [row["valid/loss"] for row in rows] == pytest.approx([point.valid_loss for point in result.curve])
    assert not [path for path in logs.folder.rglob("*") if path.is_symlink()]


@pytest.mark.usefixtures("fresh_wandb")
def test_without_an_account_weights_and_biases_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"trainer\.loggers: Weights & Biases: .*WANDB_MODE=offline"):
        run(tmp_path / "work", student(), logs=Logs(tmp_path / "logs", ("wandb",)))
    assert not (tmp_path / "work" / Checkpoint.LAST).exists()


def test_the_curve_is_on_disk_while_the_fit_runs(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, student(), StopAt(37))
    with (tmp_path / Checkpoint.CURVE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["10", "20", "30"]
    assert all(math.isfinite(float(row["train_loss"])) for row in rows)


class Notes(Progress):
    """Keeps every line that would be shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def publish(self, record: Record, force: bool = False) -> None:
        self.lines.append(record.text())


def test_progress_shows_epoch_interval_losses_errors_and_learning_rate(tmp_path: Path) -> None:
    notes = Notes()
    result = run(tmp_path, student(), notes, steps=30)
    after_first = next(line for line in notes.lines if "validation interval 2/3" in line)
    point = result.curve[0]
    assert after_first.startswith("training 10/30 steps")
    assert "steps/s" in after_first and "left" in after_first
    expected = f"loss {point.train_loss:.3g}, validation {1000 * point.valid_energy_mae:.1f} meV/atom, "
    expected += f"{1000 * point.valid_forces_mae:.0f} meV/Å, learning rate "
    assert f"epoch 3.3, validation interval 2/3, {expected}" in after_first
    assert "epoch 10.0, validation interval 3/3" in notes.lines[-1]
