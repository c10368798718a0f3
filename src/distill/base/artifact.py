"""A finished artifact as those see it who read it: where it lies and what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

LabelValue = str | int

Labels = Mapping[str, LabelValue]
"""Which of a stage's tasks it is, e.g. ``{"student": "painn", "variant": "distilled", "seed": 0}``."""

Summary = dict[str, Any]
"""What a stage says of its work: JSON-able numbers and texts that go into the manifest and the report."""


class Manifest(TypedDict, total=False):
    """What ``manifest.json`` says of an artifact; the store adds the hash and the files."""

    id: str
    stage: str
    version: int
    kin: str
    labels: dict[str, LabelValue]
    seed: int
    settings: dict[str, Any]
    inputs: dict[str, Any]
    summary: Summary
    warnings: list[str]
    device: str
    threads: int
    wall_s: float
    peak_memory_mib: float | None
    peak_gpu_memory_mib: float | None
    started: str
    finished: str
    python: str
    platform: str
    versions: dict[str, str]
    hash: str
    files: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Artifact:
    """An artifact, or one output of it, that a stage reads together with what its manifest says.

    Attributes:
        path: the output; the artifact's folder where the whole artifact was asked for.
        stage: the name of the stage that made it.
        labels: those of the task, e.g. ``{"student": "painn", "variant": "distilled", "seed": 0}``.
        manifest: what is said of it.
    """

    path: Path
    stage: str
    labels: Labels = field(default_factory=dict)
    manifest: Manifest = field(default_factory=lambda: Manifest())

    @property
    def summary(self) -> Summary:
        """What the stage says of its work."""
        return self.manifest["summary"]

    @property
    def student(self) -> str:
        """Whose it is: the student's name, or ``teacher``."""
        return str(self.labels["student"])

    @property
    def variant(self) -> str:
        """How that model came to be."""
        return str(self.labels["variant"])

    @property
    def seed(self) -> int:
        """Which of several seeds."""
        return int(self.labels["seed"])

    @property
    def title(self) -> str:
        """The stage and the labels, e.g. ``train painn distilled 0``."""
        return " ".join([self.stage, *map(str, self.labels.values())])


def suffix(labels: Labels) -> str:
    """Return what tells a published name from its siblings: nothing for the first seed of what was distilled."""
    teacher, variant, seed = labels.get("teacher"), labels.get("variant", "distilled"), labels.get("seed", 0)
    parts = [teacher, None if variant == "distilled" else variant, f"seed{seed}" if seed else None]
    return "".join(f"-{part}" for part in parts if part)


StageInput = Path | Artifact | Sequence[Artifact] | None
"""One input of a stage: a file or folder, a whole artifact, a collected stage, or nothing for this variant."""
