"""The store: an artifact is whole or not there, and one process at a time works on it."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from distill.base.errors import WorkError
from distill.base.files import hash_file
from distill.workflow.manifest import MANIFEST
from distill.workflow.store import LOG, Store, plain


@dataclass(frozen=True)
class Key:
    stage: str = "count"
    hash: str = "0123456789abcdef" * 4


KEY = Key()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def finished(store: Store, text: str = "42") -> dict[str, object]:
    out = store.work(KEY) / "out"
    (out / "model").mkdir(parents=True, exist_ok=True)
    (out / "model" / "weights.txt").write_text(text)
    return store.promote(KEY, {"summary": {"value": math.nan}, "warnings": []})


def test_a_promoted_artifact_is_whole_and_explains_itself(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has(KEY)
    manifest = finished(store)
    assert store.has(KEY) and store.manifest(KEY) == manifest
    weights = store.artifact(KEY) / "model" / "weights.txt"
    assert manifest["files"]["model/weights.txt"]["sha256"] == hash_file(weights)  # type: ignore[index]
    assert manifest["summary"] == {"value": None}
    assert not store.work(KEY).exists()


@pytest.mark.parametrize(
    "tear",
    [
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:40]),
        lambda folder: (folder / "model" / "weights.txt").unlink(),
        lambda folder: (folder / "model" / "weights.txt").write_text("4"),
        lambda folder: (folder / MANIFEST).write_text(
            json.dumps(json.loads((folder / MANIFEST).read_text()) | {"hash": "f" * 64})
        ),
    ],
)
def test_a_torn_artifact_is_not_accepted_and_is_replaced(tmp_path: Path, tear: object) -> None:
    store = Store(tmp_path)
    finished(store)
    tear(store.artifact(KEY))  # type: ignore[operator]
    assert not store.has(KEY)
    finished(store, "43")
    assert store.has(KEY)
    assert (store.artifact(KEY) / "model" / "weights.txt").read_text() == "43"
    assert [p.name for p in store.artifact(KEY).parent.iterdir()] == [KEY.hash[:16]]


def test_a_manifest_that_is_there_before_does_not_list_itself(tmp_path: Path) -> None:
    """As an attempt leaves it that is killed between writing the manifest and renaming the folder."""
    store = Store(tmp_path)
    out = store.work(KEY) / "out"
    out.mkdir(parents=True)
    (out / MANIFEST).write_text("{}")
    (out / ".writing-x.csv").write_text("half")
    assert list(finished(store)["files"]) == ["model/weights.txt"]  # type: ignore[call-overload]


def test_finished_work_that_was_not_renamed_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    manifest = finished(store)
    store.work(KEY).mkdir()
    store.artifact(KEY).rename(store.work(KEY) / "out")
    assert not store.has(KEY)
    assert store.finish(KEY) == manifest == store.sound(KEY)
    assert not store.work(KEY).exists() and store.finish(KEY) is None


@pytest.mark.parametrize("tear", [flip_a_bit, lambda path: path.unlink()])
def test_finished_work_that_is_damaged_does_not_count(tmp_path: Path, tear: Callable[[Path], None]) -> None:
    store = Store(tmp_path)
    finished(store)
    store.work(KEY).mkdir()
    out = store.artifact(KEY).rename(store.work(KEY) / "out")
    tear(out / "model" / "weights.txt")
    assert store.finish(KEY) is None and not store.has(KEY)
    assert out.exists() and not (out / MANIFEST).exists()


def test_damage_is_found_by_content_and_what_is_sound_below_stays_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    out = store.work(KEY) / "out"
    out.mkdir(parents=True)
    (out / "table.csv").write_text("1,2")
    (store.work(KEY) / LOG).write_text("all went well")
    finished(store)
    assert store.damaged(KEY) == ()
    flip_a_bit(store.artifact(KEY) / LOG)
    assert store.damaged(KEY) == (LOG,) and store.sound(KEY) is not None
    weights = store.artifact(KEY) / "model" / "weights.txt"
    flip_a_bit(weights)
    assert store.damaged(KEY) == (LOG, "model/weights.txt") and store.sound(KEY) is None and store.has(KEY)
    assert store.damaged_below(weights) == store.damaged_below(weights.parent) == (weights,)
    assert store.damaged_below(store.artifact(KEY)) == (weights,)
    assert store.damaged_below(store.artifact(KEY) / "table.csv") == store.damaged_below(tmp_path.parent) == ()
    flip_a_bit(store.artifact(KEY) / MANIFEST)
    assert store.damaged(KEY) == (MANIFEST,)


@pytest.mark.parametrize(("kin", "kept"), [("", []), ("k", ["manifest.json", "table.csv"])])
def test_what_is_sound_of_a_damaged_artifact_helps_where_work_can_be_continued(
    tmp_path: Path, kin: str, kept: list[str]
) -> None:
    store, origin = Store(tmp_path), {"versions": {"torch": "2"}, "kin": kin}
    out = store.work(KEY) / "out"
    (out / "model").mkdir(parents=True)
    for name in ("table.csv", "model/weights.txt", "model/model.json"):
        (out / name).write_text("42")
    store.promote(KEY, {"summary": {}, "warnings": [], **origin})  # type: ignore[typeddict-item]
    flip_a_bit(store.artifact(KEY) / "model" / "weights.txt")
    found = store.set_aside(KEY, origin)
    assert not store.artifact(KEY).exists()
    assert sorted(path.name for folder in found for path in folder.iterdir()) == kept


def test_what_killed_runs_left_for_good_is_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store)
    store.work(KEY).mkdir()
    unfinished = store.work(Key(hash="f" * 64))
    unfinished.mkdir()
    store.sweep()
    assert not store.work(KEY).exists() and unfinished.exists() and store.has(KEY)


def test_a_work_folder_is_not_an_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.work(KEY) / "out").mkdir(parents=True)
    (store.work(KEY) / "out" / MANIFEST).write_text("{}")
    assert not store.has(KEY) and store.is_interrupted(KEY)


def test_the_lock_is_exclusive_and_ends_with_its_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = f"""
import sys, time
from dataclasses import dataclass
from pathlib import Path
from distill.workflow.store import Store
@dataclass(frozen=True)
class Key:
    stage: str = {KEY.stage!r}
    hash: str = {KEY.hash!r}
with Store(Path({str(tmp_path)!r})).lock(Key()):
    print("locked", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
    try:
        assert store.is_running(KEY)
        with pytest.raises(WorkError, match="another run is working on count"):
            store.discard(KEY)
        got = threading.Event()
        waiter = threading.Thread(target=lambda: _lock_and_set(store, got), daemon=True)
        waiter.start()
        time.sleep(0.3)
        assert not got.is_set()
    finally:
        holder.kill()
        holder.wait()
    assert got.wait(60)
    waiter.join(60)
    assert not store.is_running(KEY)


def test_whoever_works_on_another_machine_is_named_where_only_a_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = Store(tmp_path)
    with store.lock(KEY):
        assert store.is_running(KEY) and store.foreign_holder(KEY) == ""
    assert not store.is_running(KEY)
    mark = store.artifact(KEY).with_name(f".{KEY.hash[:16]}.held")
    mark.write_text("4711\nnode7\n")
    assert store.is_running(KEY)
    with pytest.raises(WorkError, match=rf"working on count\..*process 4711 on node7.*remove {mark}"):
        store.discard(KEY)
    mark.unlink()
    store.discard(KEY)


def test_who_looks_whether_somebody_works_takes_no_lock_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("distill.workflow.store.try_lock", lambda path: pytest.fail("a lock"))
        assert not store.is_running(KEY) and not list(tmp_path.iterdir())
    with store.lock(KEY), monkeypatch.context() as patch:
        patch.setattr("distill.workflow.store.try_lock", lambda path: pytest.fail("a lock"))
        assert store.is_running(KEY)
    assert not store.is_running(KEY)


def test_what_a_killed_holder_of_a_lock_said_is_no_holder_and_is_swept(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from distill.base.locks import try_lock
with try_lock(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    store = Store(tmp_path)
    lock = store.artifact(KEY).with_name(f".{KEY.hash[:16]}.lock")
    subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    assert lock.with_suffix(".holder").exists() and not store.is_running(KEY)
    store.sweep()
    assert [path.suffix for path in lock.parent.iterdir()] == [".lock"]


def _lock_and_set(store: Store, got: threading.Event) -> None:
    with store.lock(KEY, poll_s=0.05):
        got.set()


def test_discard_removes_artifact_and_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store)
    (store.work(KEY) / "out").mkdir(parents=True)
    store.discard(KEY)
    assert not store.has(KEY) and not store.is_interrupted(KEY)


def test_plain_keeps_what_json_has_and_nulls_the_rest() -> None:
    value = {"a": np.float64(1.5), "b": np.array([1.0, np.inf]), 3: (True, np.int64(2)), "p": Path("x"), "n": -math.inf}
    assert plain(value) == {"a": 1.5, "b": [1.0, None], "3": [True, 2], "p": "x", "n": None}
    assert json.dumps(plain(value), allow_nan=False)
