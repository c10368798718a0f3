"""No run deletes under another one what that uses."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from toy_folder import Toy

from distill.base.errors import WorkError
from distill.workflow.runner import run_recipe
from distill.workflow.users import using


def test_again_beside_another_run_is_refused_and_nothing_is_deleted(toy: Toy) -> None:
    run_recipe(toy.load(), runs=toy.runs, progress=False)
    longer = toy.start(
        "run", "toy.yaml", "--quiet", "--set", "name=toy", "--set", "count.steps=6", "--set", "count.pause_s=600"
    )
    try:
        toy.wait_for(lambda: "step 4" in toy.trace() or longer.poll() is not None)
        before = {path for path in (toy.runs / ".store").rglob("*") if path.suffix != ".lock"}
        status, said = toy.call("run", "toy.yaml", "--force", "read")
        assert status == 1
        who = rf"process {longer.pid} on {os.uname().nodename}, since 20"
        assert f"another run, toy, uses what would be made again ({who}" in said
        assert "Wait for it, or stop it" in said
        assert before <= set((toy.runs / ".store").rglob("*"))
        # what it does not use may go
        assert toy.call("run", "toy.yaml", "--set", "data.scale=5", "--force", "read", "--quiet")[0] == 0
    finally:
        longer.send_signal(signal.SIGKILL)
        longer.communicate()
    assert toy.call("run", "toy.yaml", "--force", "read", "--quiet")[0] == 0
    assert [path.name for path in (toy.runs / ".store" / ".runs").iterdir()] == ["enter.lock"]


def test_a_run_that_wants_to_delete_waits_for_none_that_uses_other_things(tmp_path: Path) -> None:
    deleted: list[str] = []
    with using(tmp_path, "one", {"a", "b"}, (), lambda: None):
        with using(tmp_path, "other", {"c"}, {"c"}, lambda: deleted.append("c")):
            pass
        with (
            pytest.raises(WorkError, match="another run, one, uses"),
            using(tmp_path, "other", {"b"}, {"b"}, lambda: deleted.append("b")),
        ):
            pass
    with using(tmp_path, "other", {"b"}, {"b"}, lambda: deleted.append("b")):
        pass
    assert deleted == ["c", "b"]


def test_a_damaged_entry_of_a_living_run_counts_as_using_all(tmp_path: Path) -> None:
    with using(tmp_path, "one", {"a"}, (), lambda: None):
        (entry,) = (tmp_path / ".runs").glob(".*.json")
        entry.write_bytes(b"\xff")
        with (
            pytest.raises(WorkError, match=r"another run, \?, uses"),
            using(tmp_path, "other", {"b"}, {"b"}, lambda: None),
        ):
            pass
