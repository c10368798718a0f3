"""Gather what the stages left behind into the data of one report.

What is shown comes from the artifacts and from what their manifests say; nothing new is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.analysis.errors import Difference
from distill.base.artifact import Artifact, Labels, Summary
from distill.base.files import read_table
from distill.reporting.data import ReportData, StageCost
from distill.reporting.physics import physics
from distill.reporting.sources import (
    curves,
    dynamics,
    energy_volume,
    exports,
    growth,
    parity,
    phase_sentences,
    speed_sentences,
    speeds,
    statics,
    tuning,
)
from distill.reporting.teachers import Teachers, teachers_of

STAGE_OF = {"members": "finetune", "certify": "export", "card": "export"}
"""Stages that the report knows by another name."""


@dataclass(frozen=True)
class Finished:
    """The artifacts that a report is made of, in the order of the pipeline, the test set, and what failed.

    ``missing`` are the labels of the tasks that are not among those of a stage because they failed.
    """

    check: Artifact
    teacher: Artifact
    members: Sequence[Artifact]
    generate: Artifact
    label: Artifact
    train: Sequence[Artifact]
    predict: Sequence[Artifact]
    unseen: Sequence[Artifact]
    evaluate: Artifact
    simulate: Sequence[Artifact]
    dynamics: Sequence[Artifact]
    relabel: Sequence[Artifact]
    judge: Artifact
    benchmark: Artifact
    gate: Sequence[Artifact]
    certify: Sequence[Artifact]
    card: Sequence[Artifact]
    test: Path
    missing: Mapping[str, Sequence[Labels]] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Whether the teacher is the mean of several; also where all but one failed."""
        return self.teacher.stage == "ensemble"

    def named(self) -> Iterator[tuple[str, Artifact]]:
        """Yield a readable name of each task, and its artifact."""
        joined = [self.teacher] if self.several else []
        first = [self.check, *self.members, *joined, self.generate, self.label]
        yield from ((one.title, one) for one in first)
        for collected in (self.train, self.predict, self.unseen):
            yield from ((one.title, one) for one in collected)
        yield self.evaluate.title, self.evaluate
        for collected in (self.simulate, self.dynamics, self.relabel):
            yield from ((one.title, one) for one in collected)
        yield self.judge.title, self.judge
        yield self.benchmark.title, self.benchmark
        for collected in (self.gate, self.certify, self.card):
            yield from ((one.title, one) for one in collected)


def gather(finished: Finished) -> ReportData:
    """Return all that a report shows."""
    tasks = dict(finished.named())
    last = finished.benchmark.manifest
    return ReportData(
        name=title(finished),
        recipe_text=settings_text(tasks),
        metrics=read_table(finished.evaluate.path / "metrics.csv"),
        gains={name: Difference(**gain) for name, gain in finished.evaluate.summary["gains"].items()},
        parity=list(parity(finished.predict, finished.test, finished.evaluate.summary["students"])),
        curves=list(curves(finished.members, finished.train, finished.missing.get("train", ()))),
        energy_volume=list(energy_volume(finished.simulate)),
        statics=list(statics(finished.simulate)),
        physics=physics(finished.judge.path),
        dynamics=list(dynamics(finished.simulate)),
        speed=speeds(finished.benchmark.path, finished.benchmark.summary),
        tuning=tuning(finished.members[0]),
        other_tunings=[tuning(one) for one in finished.members[1:]],
        growth=growth(finished.generate),
        teachers=several(finished),
        exports=list(exports(finished.gate, finished.certify, finished.card)),
        train_families=finished.check.summary["config_types"]["train"],
        stages=list(costs(tasks)),
        findings=[*speed_sentences(finished.benchmark.summary), *phase_sentences(finished.train)],
        warnings=[
            *dict.fromkeys(failures(finished.missing)),
            *[f"{name}: {text}" for name, task in tasks.items() for text in task.manifest["warnings"]],
        ],
        versions={"Python": last["python"]} | last["versions"],
        hashes={name: task.manifest["hash"][:16] for name, task in tasks.items()},
        counts=counts(finished.check.summary, finished.label.summary, finished.generate.summary),
        created=last["finished"].replace("T", " ").replace("+00:00", " UTC"),
    )


def failures(missing: Mapping[str, Sequence[Labels]]) -> Iterator[str]:
    """Yield a sentence for each task that failed; of a student whose training did, for that alone."""
    untrained = [dict(labels) for labels in missing.get("train", ())]
    for name, every in missing.items():
        for labels in every:
            model = {key: value for key, value in labels.items() if key != "run"}
            if name == "train" or model not in untrained:
                what = " ".join([STAGE_OF.get(name, name), *map(str, labels.values())])
                yield f"{what}: it failed and is missing here; distill run tries it again."


def several(finished: Finished) -> Teachers | None:
    """Return what is said of several teachers; None where there is one."""
    if not finished.several:
        return None
    return teachers_of(finished.teacher, finished.evaluate.summary, finished.label.summary)


def title(finished: Finished) -> str:
    """Return what the run is about, e.g. ``Si: painn from chgnet-0.3``."""
    students = dict.fromkeys(one.student for one in finished.train)
    elements = "".join(finished.check.summary["elements"])
    teachers = dict.fromkeys(one.manifest["settings"]["model"] for one in finished.members)
    return f"{elements}: {', '.join(students)} from {' and '.join(teachers)}"


def settings_text(tasks: Mapping[str, Artifact]) -> str:
    """Return the settings of every task, defaults included, as YAML."""
    import yaml

    firsts = {name: ones[0] for name, ones in runs(tasks).items()}
    text = {name: one.manifest["settings"] for name, one in firsts.items() if one.manifest["settings"]}
    return yaml.safe_dump(text, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def counts(check: Summary, label: Summary, generate: Summary) -> dict[str, float]:
    """Return what was counted on the way."""
    return {
        "DFT structures: training": check["counts"]["train"],
        "DFT structures: validation": check["counts"]["valid"],
        "DFT structures: test": check["counts"]["test"],
        "synthetic structures: training": label["train"],
        "synthetic structures: validation, unseen families": label["valid"],
        "teacher calls per grown structure": round(generate["calls_per_structure"], 1),
    }


def costs(tasks: Mapping[str, Artifact]) -> Iterable[StageCost]:
    """Yield time and memory of each task; of replicas of one run the sum of the times and the largest memory."""
    for name, ones in runs(tasks).items():
        manifests = [one.manifest for one in ones]
        memory = [of for said in manifests if (of := said.get("peak_memory_mib")) is not None]
        yield StageCost(
            task=name,
            wall_s=sum(said["wall_s"] for said in manifests),
            peak_memory_mib=max(memory, default=None),
            device=manifests[0]["device"],
        )


def runs(tasks: Mapping[str, Artifact]) -> dict[str, list[Artifact]]:
    """Return tasks by name, the replicas of one run under one name."""
    found: dict[str, list[Artifact]] = {}
    for name, task in tasks.items():
        if "replica" in task.labels:
            name = f"{name.rpartition(' ')[0]}, replicas"
        found.setdefault(name, []).append(task)
    return found
