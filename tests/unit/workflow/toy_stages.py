"""A small pipeline of toy stages with every kind of input, fan-out and misbehaviour that the workflow must handle.

``read`` takes a file, ``count`` works step by step and keeps a journal, ``fit`` fans out over students, variants and
seeds, ``judge`` follows ``fit``, and ``total`` collects. Every start of a stage's work is one line in the file that the
variable TOY_TRACE names. ``count`` stands still while there is a file where the variable TOY_HOLD says: a test that
sends a signal to a run at work holds it there, and no test is a race against the clock.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from distill.base.errors import UserError
from distill.base.registry import Registry
from distill.base.settings import Settings
from distill.stages.base import Job, Stage, StageSettings, Summary

Deed = Literal["no", "segfault", "bug", "user", "nothing written", "stuck", "orphan", "twice", "half"]
"""How :class:`Count` misbehaves."""

ROWS = {name: f"toy_stages:{name.capitalize()}" for name in ("read", "count", "fit", "judge", "dynamics", "total")}

RECIPE = """\
name: toy
seed: 3
data:
  file: numbers.txt
  scale: 2          # an integer where a number is wanted
count:
  steps: 4
students:
  big: {cutoff: 6.0}
  small: {cutoff: 4.0, seeds: 2}
"""


def toy_stages() -> Registry:
    """Return the table of toy stages."""
    return Registry("stage", ROWS)


def trace(word: str) -> None:
    """Note that a piece of work was begun."""
    if "TOY_TRACE" in os.environ:
        with open(os.environ["TOY_TRACE"], "a") as file:
            file.write(word + "\n")


def stand_still(step: int) -> None:
    """Wait while the file that says so is there and has a number not above this step."""
    hold = Path(os.environ.get("TOY_HOLD", "no such file"))
    with suppress(FileNotFoundError):
        while step >= int(hold.read_text()):
            time.sleep(0.01)


class DataSection(StageSettings):
    file: str
    scale: float = 1.0
    keys: tuple[str, ...] = ("energy",)


class Read(Stage):
    class Settings(StageSettings):
        scale: float = 1.0
        keys: tuple[str, ...] = ("energy",)

    section = "data"
    inputs = {"file": "recipe:data.file"}
    outputs = {"numbers": "numbers.txt"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        return DataSection

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("read")
        values = [float(word) * settings.scale for word in inputs["file"].read_text().split()]
        (job.out / "numbers.txt").write_text("\n".join(map(str, values)))
        print("the stage speaks")
        job.warnings.append("only a toy")
        return {"values": len(values), "not a number": float("nan"), "headline": f"{len(values)} numbers"}


class Count(Stage):
    class Settings(StageSettings):
        steps: int = Field(3, ge=1)
        pause_s: float = 0.0
        fail: Deed = "no"
        scale: float = 1.0

    section = "count"
    extends = ("steps", "pause_s")
    reads = {"scale": "data.scale"}
    inputs = {"numbers": "read.numbers"}
    outputs = {"result": "result.txt"}
    publish = {"result": "count.txt"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        return CountSection

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("count")
        self._misbehave(settings.fail)
        journal = job.out / "journal.txt"
        texts = [path.read_text() for e in job.earlier if (path := e / "journal.txt").exists()]
        if texts and not journal.exists():
            journal.write_text("".join(max(texts, key=len).splitlines(keepends=True)[: settings.steps]))
        done = len(journal.read_text().splitlines()) if journal.exists() else 0
        with job.progress.phase("counting", settings.steps, "step", done) as phase:
            for step in range(done, settings.steps):
                trace(f"step {step}")
                time.sleep(settings.pause_s)
                stand_still(step)
                with journal.open("a") as file:
                    file.write(f"{step}\n")
                phase.advance()
        total = sum(map(float, inputs["numbers"].read_text().split())) + settings.steps
        if settings.fail != "nothing written":
            (job.out / "result.txt").write_text(str(total))
        return {"total": total, "threads": os.environ.get("OMP_NUM_THREADS")}

    @staticmethod
    def _misbehave(how: str) -> None:
        if how == "segfault":
            ctypes.string_at(0)
        if how == "stuck":
            ctypes.PyDLL(None).sleep(600)  # unlike CDLL, with the interpreter's lock
        if how == "twice":
            os.fork()
        if how == "orphan":
            if os.fork():
                os._exit(1)
            os.setsid()
            Path("orphan.pid").write_text(str(os.getpid()))
            time.sleep(600)
        if how == "half":
            for descriptor in range(3, 20):
                with suppress(OSError):
                    os.write(descriptor, b'{"manifest": {"id"')
            os._exit(0)
        if how == "bug":
            raise ZeroDivisionError("a bug in the stage")
        if how == "user":
            raise UserError("frame 3 has no energy", where="numbers.txt", remedy="Add it")


class CountSection(StageSettings):
    steps: int = Field(3, ge=1)
    pause_s: float = 0.0
    fail: Deed = "no"


class Machinery(StageSettings):
    parts: int = Field(1, ge=1)
    logs: tuple[Literal["paper", "stone"], ...] = Field((), exclude=True)


class Student(StageSettings):
    renamed = {"radius": "cutoff"}

    cutoff: float = 5.0
    seeds: int = 1
    direct: bool = False


class Fit(Stage):
    section = "students"
    shared = {"machinery": Machinery}
    reads = {"machinery": "machinery"}
    inputs = {"data": {"distilled": "count.result", "direct": "read.numbers"}}
    outputs = {"model": "model"}
    publish = {"model": "models/{student}{suffix}"}
    hashed_labels = ("variant", "seed")

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        names = raw if isinstance(raw, Mapping) else {}
        return create_model("Students", __base__=StageSettings, **dict.fromkeys(names, (Student, ...)))

    @classmethod
    def fan_out(cls, section: Any, followed: Any) -> list[dict[str, Any]]:
        return [
            {"student": name, "variant": variant, "seed": seed}
            for name in type(section).model_fields
            for variant in ("distilled", "direct")[: 1 + getattr(section, name).direct]
            for seed in range(getattr(section, name).seeds)
        ]

    @classmethod
    def settings_class(cls, values: Any, labels: Mapping[str, Any]) -> Any:
        return create_model("FitSettings", __base__=StageSettings, cutoff=(float, ...), machinery=(Machinery, ...))

    @classmethod
    def select(cls, section: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        return {"cutoff": getattr(section, labels["student"]).cutoff}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace(f"fit {settings.cutoff:g} {job.labels['variant']} {job.labels['seed']}")
        (job.out / "model").mkdir(exist_ok=True)  # an attempt that was killed may have made it
        (job.out / "model" / "weights.txt").write_text(f"{settings.cutoff} {inputs['data'].read_text()}")
        return {"headline": f"cutoff {settings.cutoff}"}


class Judge(Stage):
    class Settings(StageSettings):
        parts: int = 1

    shared = {"machinery": Machinery}
    reads = {"parts": "machinery.parts"}
    each = "fit"
    inputs = {"model": "fit.model", "truth": "read.numbers"}
    outputs = {"error": "error.txt"}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("judge")
        (job.out / "error.txt").write_text((inputs["model"] / "weights.txt").read_text().split()[0])
        return {}


class Langevin(Settings):
    kind: Literal["langevin"]
    temperature: float = 300.0


class Scan(Settings):
    kind: Literal["scan"]
    strain: float = 0.04


RUNS = tuple[Annotated[Langevin | Scan, Field(discriminator="kind")], ...]


class Dynamics(Stage):
    class Settings(StageSettings):
        runs: RUNS = ()

    section = "simulate"
    each = "fit"
    inputs = {"judged": "judge.error"}
    outputs = {"out": "out.txt"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        return RUNS

    @classmethod
    def select(cls, section: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        return {"runs": section}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        (job.out / "out.txt").write_text(inputs["judged"].read_text())
        return {"kinds": [run.kind for run in settings.runs]}


class Total(Stage):
    inputs = {"errors": "judge.error", "judged": "judge", "dynamics": "dynamics.out"}
    outputs = {"table": "table.csv"}
    publish = {"table": "table.csv"}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("total")
        rows = [f"{s.labels['student']},{s.labels['seed']},{Path(s.path).read_text()}" for s in inputs["errors"]]
        assert all((source.path / "manifest.json").exists() for source in inputs["judged"])
        (job.out / "table.csv").write_text("\n".join(rows))
        return {"rows": len(rows), "headline": f"{len(rows)} rows"}


class Frail(Fit):
    """One of several that fails where the variable TOY_BROKEN has its name."""

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        if str(job.labels["student"]) in os.environ.get("TOY_BROKEN", "").split():
            trace(f"{job.labels['student']} fails")
            raise UserError(f"{job.labels['student']} is broken", where="students")
        return super().run(inputs, settings, job)


class Tolerant(Stage):
    """Lists those that there are."""

    inputs = {"models": "fit.model"}
    tolerates = ("models",)
    outputs = {"list": "list.txt"}
    publish = {"list": "list.txt"}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("tolerant")
        (job.out / "list.txt").write_text(" ".join(str(source.labels["student"]) for source in inputs["models"]))
        return {"missing": [labels["student"] for labels in job.missing.get("models", ())]}


class After(Stage):
    """Reads what tolerates, and the count, which nobody can do without."""

    inputs = {"list": "tolerant.list", "count": "count.result"}
    outputs = {"copy": "copy.txt"}
    publish = {"copy": "copy.txt"}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        trace("after")
        (job.out / "copy.txt").write_text(inputs["list"].read_text())
        return {}


class Walk(Stage):
    """Two walks with each distilled fit, each of its own kind, of which the second goes on from the first."""

    section = "simulate"
    each = "fit"
    inputs = {"model": "fit.model@distilled", "before": "walk.end@"}
    outputs = {"end": "end.txt"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        return RUNS

    @classmethod
    def fan_out(cls, section: Any, followed: Any) -> list[dict[str, Any]]:
        return [] if followed["variant"] == "direct" else [{"walk": "first"}, {"walk": "second"}]

    @classmethod
    def linked(cls, section: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        return {"before": {"walk": "first"}} if labels["walk"] == "second" else {}

    def run(self, inputs: Any, settings: Any, job: Job) -> Summary:
        (job.out / "end.txt").write_text("end")
        return {}
