"""Runs over real worker processes: resuming, sharing a store, failing, being killed, publishing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toy_folder import Toy

from distill.base.errors import UserError, WorkError
from distill.workflow.plan import make_plan
from distill.workflow.runner import RunResult, run_recipe
from distill.workflow.status import run_status
from distill.workflow.store import Store


def run(toy: Toy, *overrides: str, force: tuple[str, ...] = ()) -> RunResult:
    return run_recipe(toy.load(*overrides), runs=toy.runs, force=force, progress=False)


def process_starts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows by every process that is started from now on."""
    started: list[object] = []
    popen = subprocess.Popen

    def start(command: object, *arguments: Any, **options: Any) -> Any:
        started.append(command)
        return popen(command, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


def states(toy: Toy) -> dict[str, str]:
    return {one.id: one.state for one in run_status("toy", toy.runs)}


def broken_links(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_symlink() and not p.exists()]


def test_a_run_publishes_summarises_and_is_not_repeated(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(toy)
    assert len(first.ran) == 12 and first.cached == ()
    assert sorted(p.relative_to(toy.runs / "toy").as_posix() for p in first.links) == [
        "count.txt",
        "models/big",
        "models/small",
        "models/small-seed1",
        "table.csv",
    ]
    assert all(p.is_symlink() and not os.path.isabs(os.readlink(p)) for p in first.links)
    assert float((toy.runs / "toy" / "count.txt").read_text()) == 2 * (1 + 2 + 3) + 4
    summary = json.loads((toy.runs / "toy" / "summary.json").read_text())
    assert summary == first.summary
    read = summary["tasks"]["read"]
    assert read["summary"] == {"values": 3, "not a number": None, "headline": "3 numbers"}
    assert read["warnings"] == ["only a toy"] and read["peak_memory_mib"] > 1 and read["device"] == "cpu"
    toy.trace()
    started = process_starts(monkeypatch)
    second = run(toy)
    assert toy.trace() == [] and second.ran == () and len(second.cached) == 12
    assert started == []
    assert set(states(toy).values()) == {"done"}


def test_the_log_of_a_stage_is_in_its_artifact(toy: Toy) -> None:
    run(toy)
    plan = make_plan(toy.load())
    store = Store(toy.runs / ".store")
    assert (store.artifact(plan["read"]) / "log.txt").read_text() == "the stage speaks\n"
    manifest = store.manifest(plan["count"])
    assert manifest is not None
    assert manifest["inputs"] == {"numbers": {"task": plan["read"].hash, "output": "numbers"}}
    assert manifest["settings"]["scale"] == 2.0 and manifest["versions"]["pydantic"]


def test_a_change_runs_what_depends_on_it_and_drops_old_links(toy: Toy) -> None:
    run(toy)
    toy.trace()
    result = run(toy, "students.small.cutoff=3.0", "students.small.seeds=1")
    assert sorted(toy.trace()) == ["fit 3 distilled 0", "judge", "total"]
    assert not os.path.lexists(toy.runs / "toy" / "models" / "small-seed1")
    assert (toy.runs / "toy" / "models" / "small" / "weights.txt").read_text().startswith("3.0")
    assert "fit[big,distilled,0]" in result.cached
    run(toy)  # the first recipe is still in the store
    assert toy.trace() == []
    assert (toy.runs / "toy" / "models" / "small" / "weights.txt").read_text().startswith("4.0")


def test_a_foreign_file_is_never_touched(toy: Toy) -> None:
    (toy.runs / "toy").mkdir(parents=True)
    (toy.runs / "toy" / "table.csv").write_text("mine")
    (toy.runs / "toy" / "notes.txt").write_text("mine too")
    with pytest.raises(UserError, match=r"table\.csv: stands where a result belongs"):
        run(toy)
    assert (toy.runs / "toy" / "table.csv").read_text() == "mine" and toy.trace() == []
    (toy.runs / "toy" / "table.csv").unlink()
    run(toy)
    assert (toy.runs / "toy" / "notes.txt").read_text() == "mine too"


def test_force_repeats_a_stage_and_its_dependents(toy: Toy) -> None:
    run(toy)
    toy.trace()
    result = run(toy, force=("fit",))
    assert sorted(toy.trace()) == sorted(
        ["fit 6 distilled 0", "fit 4 distilled 0", "fit 4 distilled 1", *["judge"] * 3, "total"]
    )
    assert result.cached == ("read", "count")


def test_two_runs_of_equal_content_share_artifacts(toy: Toy) -> None:
    run(toy)
    toy.trace()
    result = run(toy, "name=other")
    assert toy.trace() == [] and result.ran == ()
    assert (toy.runs / "other" / "table.csv").exists()


def test_threads_reach_the_stage(toy: Toy) -> None:
    result = run(toy, "executor.workers=1")
    assert result.summary["tasks"]["count"]["summary"]["threads"] == "1"  # OMP_NUM_THREADS=1 is respected


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("segfault", WorkError, "count: the worker process was killed by SIGSEGV"),
        ("bug", WorkError, "count: ZeroDivisionError: a bug in the stage. The log is "),
        ("user", UserError, "numbers.txt: frame 3 has no energy. Add it."),
        ("nothing written", WorkError, "count: the stage did not write result.txt"),
    ],
)
def test_a_failure_is_reported_and_independent_tasks_finish(toy: Toy, how: str, kind: Any, said: str) -> None:
    with pytest.raises(kind) as caught:
        run(toy, f"count.fail={how}", "students.big.direct=true")
    text = str(caught.value)
    assert text.startswith(said)
    assert text.endswith(". 10 tasks could not be done for want of it.") and "[" not in text
    assert "fit 6 direct 0" in toy.trace()
    after = states(toy)
    assert after["judge[big,direct,0]"] == "done" and after["judge[big,distilled,0]"] == "waiting"
    assert after["count"] == ("interrupted" if how == "segfault" else "failed")
    summary = json.loads((toy.runs / "toy" / "summary.json").read_text())
    assert "error" in summary["tasks"]["count"] and summary["tasks"]["total"]["skipped"]
    assert broken_links(toy.runs) == []


def test_a_bug_leaves_its_traceback_in_the_log(toy: Toy) -> None:
    with pytest.raises(WorkError) as caught:
        run(toy, "count.fail=bug")
    log = Path(str(caught.value.remedy).split()[3].rstrip("."))
    assert "in _misbehave" in log.read_text()
    assert "in _misbehave" in "".join(caught.value.__notes__)


STEPS, PAUSE_S = 12, 0.25
SLOW = ("--set", "name=toy", "--set", f"count.steps={STEPS}", "--set", f"count.pause_s={PAUSE_S}")


@pytest.mark.slow
@pytest.mark.parametrize(("send", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_run_that_is_ended_continues_where_it_stood(toy: Toy, send: signal.Signals, status: int) -> None:
    with toy.held(3):
        process = toy.start("run", "toy.yaml", *SLOW)
        toy.wait_for(lambda: toy.steps_begun() == 4)
        running = {one.id: one for one in run_status("toy", toy.runs)}["count"]
        assert running.state == "running" and "counting" in running.text
        process.send_signal(send)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == status
        if status == 130:
            assert "Nothing is lost: the same command continues" in err and "Traceback" not in err
        toy.wait_for(lambda: states(toy)["count"] != "running")  # the worker dies with its parent, also after kill -9
        assert states(toy)["count"] == "interrupted"
        assert broken_links(toy.runs) == []
    time.sleep(0.4)
    assert toy.steps_begun() == 4  # nobody goes on working

    code, said = toy.call("run", "toy.yaml", *SLOW)
    assert code == 0 and "count: continues" in said
    steps = [line for line in toy.trace() if line.startswith("step")]
    assert len(steps) <= STEPS + 1  # at most the step that was under way is repeated
    result = run(toy, f"count.steps={STEPS}", f"count.pause_s={PAUSE_S}")
    assert result.ran == ()
    assert float((toy.runs / "toy" / "count.txt").read_text()) == 2 * (1 + 2 + 3) + STEPS
    # Work of both attempts, the first but for what it did after it had last said where it stood.
    assert result.summary["tasks"]["count"]["wall_s"] > (STEPS - 2) * PAUSE_S


NO_FLOCK = """
import fcntl

def refuse(*arguments):
    raise OSError(38, "Function not implemented")

fcntl.flock = refuse
"""


@pytest.mark.slow
def test_a_killed_run_continues_where_the_file_system_has_no_locks(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy.folder / "site").mkdir()
    (toy.folder / "site" / "sitecustomize.py").write_text(NO_FLOCK)
    path = [str(toy.folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    with toy.held(3):
        process = toy.start("run", "toy.yaml", *SLOW)
        toy.wait_for(lambda: toy.steps_begun() == 4)
        plan = make_plan(toy.load(f"count.steps={STEPS}", f"count.pause_s={PAUSE_S}"))
        folder = Store(toy.runs / ".store").artifact(plan["count"])
        lock = folder.with_name(f".{folder.name}.held")
        worker = lock.read_text().split()[0]
        process.kill()
        process.communicate(timeout=120)
    code, said = toy.call("run", "toy.yaml", *SLOW)
    assert code == 0 and "count: continues" in said
    assert f"the lock of process {worker}, which is dead, was removed" in (folder / "log.txt").read_text()
    assert len(steps_of(toy)) <= STEPS + 1 and not lock.exists()


def steps_of(toy: Toy) -> list[str]:
    return [line for line in toy.trace() if line.startswith("step")]


def test_work_that_goes_farther_continues_what_is_there(toy: Toy) -> None:
    run(toy)
    assert len(steps_of(toy)) == 4
    run(toy, "count.steps=7")
    assert steps_of(toy) == ["step 4", "step 5", "step 6"]
    run(toy, "count.steps=5")
    assert steps_of(toy) == []
    run(toy, "count.steps=6", "data.scale=3.0")  # other numbers: nothing to resume
    assert len(steps_of(toy)) == 6


def test_work_that_goes_farther_continues_what_was_interrupted(toy: Toy) -> None:
    with toy.held(3):
        process = toy.start("run", "toy.yaml", *SLOW)
        toy.wait_for(lambda: toy.steps_begun() == 4)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    toy.trace()
    run(toy, "count.steps=14")
    assert steps_of(toy) == [f"step {k}" for k in range(3, 14)]  # only the step that was under way is repeated


@pytest.mark.slow
def test_two_runs_at_once_do_the_work_once(toy: Toy) -> None:
    both = [toy.start("run", "toy.yaml", *SLOW, "--set", f"name={name}") for name in ("one", "two")]
    for process in both:
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 0, err
    trace = toy.trace()
    assert trace.count("count") == 1 and trace.count("read") == 1 and trace.count("total") == 1
    assert sum(line.startswith("fit") for line in trace) == 3
    assert (toy.runs / "one" / "table.csv").read_text() == (toy.runs / "two" / "table.csv").read_text()


def test_a_run_starts_from_a_script_without_a_main_guard(toy: Toy) -> None:
    script = toy.folder / "notebook.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from toy_stages import toy_stages
from distill.workflow.recipe import load_recipe
import distill
result = distill.run(load_recipe("toy.yaml", stages=toy_stages()), progress=False)
print(len(result.ran))
""")
    done = subprocess.run([sys.executable, str(script)], cwd=toy.folder, capture_output=True, text=True, timeout=60)
    assert done.stdout == "12\n", done.stderr


def test_status_of_an_unknown_run(toy: Toy) -> None:
    with pytest.raises(UserError, match="there is no such run"):
        run_status("nothing", toy.runs)
