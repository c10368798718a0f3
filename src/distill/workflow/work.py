"""One task's work, done wherever an executor puts it: lock, run the stage, prove, promote.

:func:`execute` is a plain function of an :class:`Submission`, which is data; every executor ends here.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, cast

from pydantic import ValidationError

from distill.base.artifact import Artifact, LabelValue, Manifest, StageInput
from distill.base.consent import Code, Consent
from distill.base.disk import disk_error
from distill.base.errors import DistillError, UserError, WorkError
from distill.base.files import Json, write_json
from distill.base.leftovers import remove_at_once, sweep
from distill.base.progress import FileProgress
from distill.base.registry import Registry
from distill.base.sealed import read_sealed, write_sealed
from distill.base.settings import Settings, as_data
from distill.stages.base import Job, Stage
from distill.workflow.machine import peak_memory_mib, reset_peak_memory, use_threads, versions
from distill.workflow.manifest import MANIFEST, has_origin
from distill.workflow.plan import Plan
from distill.workflow.problems import problems
from distill.workflow.sources import refuse_changed
from distill.workflow.store import LOG, ORIGIN, Store
from distill.workflow.tasks import FromFile, FromTask, Input, Task


@dataclass(frozen=True)
class Submission:
    """A task as data that travel to another process or machine.

    Attributes:
        id: the task's id.
        stage: the stage's name.
        hash: the task's hash.
        resume_key: equal for tasks of which one may continue another, or empty.
        labels: the task's labels.
        hash_inputs: what the hash covers; recorded in the manifest.
        inputs: input name to a path, to an artifact or a list of artifacts as mappings, or to None.
        settings: the task's validated settings, with those that the hash leaves out.
        seed: the recipe's seed.
        missing: for each input that does without tasks that failed, the labels of those.
        stages: the rows of the table of stages.
        store: the store's folder.
        device: a torch device string.
        threads: threads the task may use.
        code: what the recipe names of code, for this task and those that it needs ...
        sources: ... and what that was when it was hashed.
    """

    id: str
    stage: str
    hash: str
    resume_key: str
    labels: dict[str, LabelValue]
    hash_inputs: dict[str, Any]
    inputs: dict[str, InputData]
    settings: dict[str, Json]
    seed: int
    missing: dict[str, list[dict[str, LabelValue]]]
    stages: dict[str, str]
    store: str
    device: str
    threads: int
    code: list[dict[str, str | None]]
    sources: dict[str, str]

    def as_data(self) -> dict[str, Any]:
        """Return the submission as JSON-able data."""
        return asdict(self)


def make_submission(plan: Plan, task: Task, store: Store, device: str, threads: int) -> Submission:
    """Return the submission for a task whose needed tasks are finished."""
    return Submission(
        id=task.id,
        stage=task.stage,
        hash=task.hash,
        resume_key=task.resume_key,
        labels=dict(task.labels),
        hash_inputs=dict(task.hash_inputs),
        inputs={name: _input_data(plan, store, source) for name, source in task.inputs.items()},
        settings={name: as_data(getattr(task.settings, name)) for name in type(task.settings).model_fields},
        seed=task.seed,
        missing={name: [dict(one) for one in labels] for name, labels in task.missing.items()},
        stages=plan.recipe.stages.rows,
        store=str(store.root),
        device=device,
        threads=threads,
        code=[asdict(one) for one in plan.code(task)],
        sources=plan.hashed_code(task),
    )


class ArtifactData(TypedDict):
    """An artifact as data: the path that is read, the artifact's folder, and the task that made it."""

    path: str
    folder: str
    stage: str
    labels: dict[str, LabelValue]


InputData = str | ArtifactData | list[ArtifactData] | None


def _input_data(plan: Plan, store: Store, source: Input) -> InputData:
    if isinstance(source, tuple):
        return [_artifact_data(plan, store, one) for one in source]
    if isinstance(source, FromTask):
        data = _artifact_data(plan, store, source)
        return data["path"] if source.output else data
    if isinstance(source, FromFile) and source.path:
        return str(source.path)
    return None


def _artifact_data(plan: Plan, store: Store, source: FromTask) -> ArtifactData:
    task = plan[source.task]
    folder = store.artifact(task)
    path = folder / task.outputs[source.output] if source.output else folder
    return {"path": str(path), "folder": str(folder), "stage": task.stage, "labels": dict(task.labels)}


def execute(submission: Submission) -> Manifest:
    """Do a task and return its manifest; a task that another run has finished meanwhile is not done again.

    Raises:
        DistillError: the task failed; the log beside the work tells more.
    """
    store = Store(Path(submission.store))
    with store.lock(submission) as attempt:
        manifest = store.sound(submission)
        if manifest is not None:
            store.clear(submission)
            return manifest
        manifest = store.finish(submission)
        if manifest is not None:
            return manifest
        work = store.work(submission)
        origin = {"versions": versions(), "kin": submission.resume_key}
        _open_work(work, origin)
        earlier = store.set_aside(submission, origin) + store.resumable_from(submission, origin)
        if attempt.removed:
            with (work / LOG).open("a", encoding="utf-8") as log:
                log.write(f"the lock of {attempt.removed}, which is dead, was removed\n")
        try:
            return store.promote(submission, _run(submission, work, earlier))
        except Exception as error:
            failure = _as_distill_error(error, submission, work / LOG)
            with suppress(OSError):  # as on a full disk
                write_json(work / "failed.json", failure_data(failure))
            raise failure from error


def _open_work(work: Path, origin: Mapping[str, object]) -> None:
    """Make the work folder; what other versions of the packages left there is not continued but made again."""
    if work.exists() and not has_origin(work / ORIGIN, origin):
        remove_at_once(work)
    (work / "out").mkdir(parents=True, exist_ok=True)
    write_sealed(work / ORIGIN, origin)
    sweep(work, alone=True)
    (work / "failed.json").unlink(missing_ok=True)


def _run(submission: Submission, work: Path, earlier: tuple[Path, ...]) -> Manifest:
    """Run the stage in its work folder and return what the manifest says of it."""
    stage: type[Stage] = Registry("stage", submission.stages)[submission.stage]
    progress = FileProgress(work / "progress.json")
    named = tuple(Code(**one) for one in submission.code)  # type: ignore[arg-type]
    job = Job(
        work / "out",
        submission.labels,
        submission.seed,
        earlier,
        submission.device,
        progress,
        Consent(named=named),
        submission.hash,
        submission.missing,
    )
    settings = _settings(stage, submission)
    _refuse_damaged(submission, Store(Path(submission.store)))
    inputs = {name: _input(data) for name, data in submission.inputs.items()}
    own, started = os.getpid(), datetime.now(UTC)
    use_threads(submission.threads)
    reset_peak_memory()
    with captured(work / LOG), _of_what_was_hashed(submission, named, job):
        try:
            summary = stage().run(inputs, settings, job)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            if os.getpid() != own:  # the stage has forked, and its child has come back from it
                os._exit(1)
    missing = [name for name in stage.outputs.values() if not (job.out / name).exists()]
    if missing:
        raise WorkError(f"the stage did not write {', '.join(missing)}", where=submission.id)
    return {
        "id": submission.id,
        "stage": submission.stage,
        "version": stage.version,
        "kin": submission.resume_key,
        "labels": submission.labels,
        "seed": submission.seed,
        "settings": settings.model_dump(mode="json"),
        "inputs": submission.hash_inputs["inputs"],
        "summary": summary,
        "warnings": job.warnings,
        "device": submission.device,
        "threads": submission.threads,
        "wall_s": round(progress.elapsed, 3),
        **peak_memory_mib(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": versions(),
    }


@contextmanager
def _of_what_was_hashed(submission: Submission, code: tuple[Code, ...], job: Job) -> Iterator[None]:
    """Refuse files and code that are not those of the plan, before the work and after it.

    What was made of a mixture of old and new is removed, so that nothing continues from it.
    """
    hashed = {"inputs": submission.hash_inputs["inputs"], "code": submission.sources}
    refuse_changed(hashed, submission.inputs, code)
    try:
        yield
    finally:
        try:
            refuse_changed(hashed, submission.inputs, code)
        except WorkError:
            remove_at_once(job.scratch)
            remove_at_once(job.out)
            raise


def _settings(stage: type[Stage], submission: Submission) -> Settings:
    """Return the task's settings as the plan has them; raises UserError where they do not hold on this machine."""
    settings_class = stage.settings_class(submission.settings, submission.labels)
    try:
        return settings_class.model_validate(submission.settings, strict=False)  # tuples arrive as lists
    except ValidationError as error:
        found = problems(error, settings_class, submission.settings)[0]
        raise UserError(found.what, where=submission.id, remedy=found.remedy) from None


def _input(data: InputData) -> StageInput:
    """Return an input as the stage reads it; artifacts bring their manifests."""
    if isinstance(data, list):
        return [_artifact(one) for one in data]
    if isinstance(data, dict):
        return _artifact(data)
    return Path(data) if data is not None else None


def _artifact(data: ArtifactData) -> Artifact:
    manifest = cast(Manifest, read_sealed(Path(data["folder"]) / MANIFEST))
    return Artifact(Path(data["path"]), data["stage"], data["labels"], manifest)


def _refuse_damaged(submission: Submission, store: Store) -> None:
    """Refuse to read what is not as it was written; a new run finds that, too, and makes it again."""
    for data in submission.inputs.values():
        parts = data if isinstance(data, list) else [data] if data is not None else []
        for one in parts:
            damaged = store.damaged_below(Path(one["path"] if isinstance(one, dict) else one))
            if damaged:
                what = "is damaged: it is not as it was written"
                raise WorkError(what, where=str(damaged[0]), remedy="The same command makes it again")


@contextmanager
def captured(log: Path) -> Iterator[None]:
    """Send everything this process and its children print to ``log``, appended, also what C libraries print."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def _as_distill_error(error: Exception, submission: Submission, log: Path) -> DistillError:
    known = error if isinstance(error, DistillError) else disk_error(error, log.parent)
    if known is not None:
        kind = UserError if isinstance(known, UserError) else WorkError
        failure: DistillError = kind(known.what, where=known.where or submission.id, remedy=known.remedy)
    else:
        text = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        failure = WorkError(text, where=submission.id, remedy=f"The log is {log}")
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


def failure_data(error: DistillError) -> dict[str, Any]:
    """Return an error as JSON-able data."""
    notes = getattr(error, "__notes__", [])
    return {"what": error.what, "where": error.where, "remedy": error.remedy, "code": error.exit_code, "notes": notes}


def failure_from_data(data: Mapping[str, Any]) -> DistillError:
    """Return the error that :func:`failure_data` described."""
    kind = UserError if data["code"] == UserError.exit_code else WorkError
    error = kind(data["what"], where=data["where"], remedy=data["remedy"])
    for note in data["notes"]:
        error.add_note(note)
    return error
