"""The base layer: messages, tables, files that are whole, random streams, progress."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from distill.base.errors import EXIT_BAD_INPUT, EXIT_FAILED, UserError, WorkError, nearest
from distill.base.files import hash_file, hash_value, read_json, replacing, write_json
from distill.base.progress import FileProgress, Progress, Record, duration, read_record
from distill.base.random import stream
from distill.base.registry import Registry


def test_an_error_is_one_sentence_with_place_and_remedy() -> None:
    error = UserError("no energies", where="a.xyz, frame 3", remedy="Name their key in data.keys.")
    assert str(error) == "a.xyz, frame 3: no energies. Name their key in data.keys."
    assert str(UserError("no energies")) == "no energies"
    assert UserError("x").exit_code == EXIT_BAD_INPUT
    assert WorkError("x").exit_code == EXIT_FAILED


def test_nearest_names_the_word_that_was_meant() -> None:
    assert nearest("cutof", ["cutoff", "channels"]) == "Did you mean 'cutoff'?"
    assert nearest("xyz", ["b", "a"]) == "Known: a, b"


def test_a_table_imports_a_part_only_when_asked_for() -> None:
    table = Registry("part", {"path": "pathlib:Path", "broken": "no.such.module:X"})
    assert table["path"] is Path
    assert list(table) == ["path", "broken"]
    with pytest.raises(UserError, match=r"unknown part 'pat'. Did you mean 'path'\?"):
        table["pat"]


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_hashes_depend_on_content_alone(tmp_path: Path) -> None:
    assert hash_value({"a": 1, "b": [2, 3]}) == hash_value({"b": [2, 3], "a": 1})
    assert hash_value({"a": 1}) != hash_value({"a": 2})
    (tmp_path / "x").write_bytes(b"abc")
    # the SHA-256 of "abc" as FIPS 180-2 gives it
    assert hash_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_streams_depend_on_their_purpose_not_on_order() -> None:
    first = stream(0, "tree", 3).random(4)
    stream(0, "tree", 4).random(1000)
    assert np.array_equal(stream(0, "tree", 3).random(4), first)
    assert not np.array_equal(stream(0, "tree", 4).random(4), first)
    assert not np.array_equal(stream(1, "tree", 3).random(4), first)


def test_progress_says_rate_and_time_left() -> None:
    record = Record(phase="training", done=20, total=100, unit="step", rate=4.0, note="loss 1")
    assert record.text() == "training 20/100 steps, 4 steps/s, 20 s left, loss 1"
    assert (
        Record(phase="training", done=1, total=9, unit="step", rate=0.5)
        .text()
        .startswith("training 1/9 steps, 2 s per")
    )
    assert Record(phase="starting").text() == "starting"


def test_resumed_work_counts_its_rate_from_where_it_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=2.0)
    monkeypatch.setattr("distill.base.progress.time.monotonic", lambda: next(seconds))  # two seconds between two looks
    with Progress().phase("training", 100, "step") as phase:
        phase.resume(90)
        phase.update(91)
        assert phase.record.done == 91 and phase.record.rate == pytest.approx(1 / 2)
        phase.resume(0)
        phase.update(91)
        assert phase.record.rate == pytest.approx(91 / 2)


def test_elapsed_time_is_carried_over_interruptions(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    FileProgress(path).publish(Record(phase="a"), force=True)
    earlier = read_record(path)
    assert earlier is not None
    path.write_text(path.read_text().replace(f'"elapsed": {earlier.elapsed}', '"elapsed": 100.0'))
    assert FileProgress(path).elapsed >= 100.0


def test_a_torn_progress_file_is_not_progress(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    path.write_text('{"phase": "a", "do')
    assert read_record(path) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.13, "8.1 s"), (42.4, "42 s"), (125, "2 min 05 s"), (11520, "3 h 12 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
