"""Finished artifacts as the parts of a report: predictions, learning curves, simulations, timings, statistics.

Each function reads what one stage left behind and computes nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill.analysis.energy_volume import EnergyVolumeFit
from distill.analysis.quantities import StaticResult
from distill.analysis.stability import Verdict
from distill.base.arrays import Array
from distill.base.artifact import Artifact, Labels, Summary
from distill.base.files import read_json, read_table
from distill.reporting.data import (
    Curve,
    Dynamics,
    EnergyVolume,
    Exported,
    GivenSpeed,
    Growth,
    Parity,
    Speed,
    Speeds,
    Static,
    Tuning,
)
from distill.reporting.models import Model
from distill.structures.labels import read_labels
from distill.structures.read import read_frames


def parity(predicted: Iterable[Artifact], truth: Path, students: Mapping[str, Any]) -> Iterator[Parity]:
    """Yield the predictions of each model (of several seeds the best by validation) beside the DFT labels.

    Args:
        predicted: of each model, the folder of its predictions.
        truth: the test set.
        students: what the evaluation's summary says of each student.
    """
    test = read_frames(truth)[0]
    for source in predicted:
        model, variant, seed = source.student, source.variant, source.seed
        if model != "teacher" and seed != students[model][variant]["best_seed"]:
            continue
        guess = read_labels(source.path / "labels" / "test.npz", test)
        yield Parity(
            of=Model(model, variant),
            n_atoms=test.n_atoms,
            config_type=test.labels("config_type"),
            reference_energy=test.energy_per_atom,
            predicted_energy=guess.energy_per_atom,
            reference_forces=test.forces,
            predicted_forces=guess.forces,
        )


def curves(teachers: Iterable[Artifact], train: Iterable[Artifact], failed: Iterable[Labels] = ()) -> Iterator[Curve]:
    """Yield the learning curve of the fine-tuning of each teacher and of each training, also of those that failed."""
    for source in teachers:
        if source.summary["status"] != "not fine-tuned":
            labels = source.labels
            yield curve(source, Model(str(labels.get("teacher", "teacher")), "finetuned"), int(labels.get("seed", 0)))
    for source in train:
        yield curve(source, Model(source.student, source.variant), source.seed)
    for labels in failed:
        model, none = Model(str(labels["student"]), str(labels["variant"])), np.zeros(0)
        note = "it ended with an error"
        yield Curve(model, none, none, none, none, status="failed", seed=int(labels["seed"]), note=note)


def curve(source: Artifact, model: Model, seed: int) -> Curve:
    """Return one learning curve with how it ended."""
    summary, rows = source.summary, read_table(source.path / "curve.csv")
    column = {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else ())}
    empty = np.zeros(0)
    return Curve(
        of=model,
        step=column.get("step", empty),
        train_loss=column.get("train_loss", empty),
        valid_loss=column.get("valid_loss", empty),
        valid_force_mae=column.get("valid_forces_mae", empty),
        best_step=summary.get("best_step"),
        status="diverged" if summary["status"] == "diverged" else "finished",
        seed=seed,
        note="the loss was not finite, or stayed ten times above its best" if summary["status"] == "diverged" else "",
    )


def results(sources: Iterable[Artifact], kind: str) -> Iterator[tuple[Artifact, dict[str, Any]]]:
    """Yield the simulations of one kind."""
    for source in sources:
        result = read_json(source.path / "result.json")
        if result["kind"] == kind:
            yield source, result


def energy_volume(sources: Iterable[Artifact]) -> Iterator[EnergyVolume]:
    """Yield the energy-volume curve of the teacher and of each student, once for each simulation."""
    for source, result in results(sources, "energy_volume"):
        yield EnergyVolume(
            of=Model(source.student, source.variant),
            structure=result["structure"],
            volumes=np.array(result["volumes"]),
            energies=np.array(result["energies"]),
            fit=EnergyVolumeFit(**result["fit"]),
            atoms_per_cell=result["cubic_cell_atoms"],
            seed=source.seed,
        )


def statics(sources: Iterable[Artifact]) -> Iterator[Static]:
    """Yield all static physics of every model."""
    for source in sources:
        result = read_json(source.path / "result.json")
        if "level" in result:
            yield Static(Model(source.student, source.variant), StaticResult.from_json(result), source.seed)


def dynamics(sources: Iterable[Artifact]) -> Iterator[Dynamics]:
    """Yield every molecular-dynamics run."""
    for source, result in results(sources, "langevin"):
        series = {
            name: np.array([math.nan if x is None else x for x in column]) for name, column in result["series"].items()
        }
        yield Dynamics(
            of=Model(source.student, source.variant),
            name=f"{result['structure']}, {result['atoms']} atoms, {result['temperature']:g} K",
            time_fs=series["time_fs"],
            temperature=series["temperature"],
            min_distance=series["min_distance"],
            verdict=Verdict(**result["verdict"] | {"reasons": tuple(result["verdict"]["reasons"])}),
            seed=source.seed,
        )


def speeds(folder: Path, summary: Summary) -> Speeds:
    """Return the timings of every model, and those of the user's table."""

    def columns(rows: list[dict[str, str]]) -> tuple[Array, Array]:
        rows = sorted((row for row in rows if row["ms_per_step"]), key=lambda row: int(row["atoms"]))
        return np.array([int(r["atoms"]) for r in rows]), np.array([float(r["ms_per_step"]) for r in rows])

    measured: dict[Model, list[dict[str, str]]] = {}
    for row in read_table(folder / "speed.csv"):
        measured.setdefault(Model(row["model"], row["variant"]), []).append(row)
    given: dict[str, list[dict[str, str]]] = {}
    for row in read_table(folder / "timings.csv"):
        given.setdefault(row["model"], []).append(row)
    return Speeds(
        measured=[Speed(of, *columns(rows), stopped=rows[-1]["note"]) for of, rows in measured.items()],
        given=[GivenSpeed(name, *columns(rows)) for name, rows in given.items()],
        structure=summary["structure"],
        machine=summary["machine"],
        given_on=summary["timings_machine"],
    )


def exports(
    gates: Iterable[Artifact], certificates: Iterable[Artifact], folders: Iterable[Artifact]
) -> Iterator[Exported]:
    """Yield what became of each student that was to be taken to other programs, as far as it got."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for kind, name, sources in (("gate", "gate.json", gates), ("certificate", "certificate.json", certificates)):
        for one in sources:
            found.setdefault((one.student, one.variant, one.seed), {})[kind] = read_json(one.path / name)
    for one in folders:
        found.setdefault((one.student, one.variant, one.seed), {})["folder"] = one.summary["folder"]
    for (student, variant, seed), said in found.items():
        yield Exported(Model(student, variant), seed, **said)


def speed_sentences(summary: Summary) -> Iterator[str]:
    """Yield for each student how much faster than its teacher it is."""
    for name, found in summary["students"].items():
        ratio = found["times_faster"]
        said = f"{ratio:.3g} times faster" if ratio >= 1 else f"{1 / ratio:.3g} times slower"
        steps = f"{found['ms_per_step']:.3g} instead of {found['teacher_ms_per_step']:.3g} ms a step"
        yield f"{name} is {said} than its teacher at {found['atoms']} atoms ({steps}; {summary['machine']})."


def phase_sentences(sources: Iterable[Artifact]) -> Iterator[str]:
    """Yield for each student that was fitted in phases the errors after each, on all structures it was given."""
    for source in sources:
        phases = source.summary.get("phases", [])
        if phases:
            who = " ".join(map(str, source.labels.values()))
            yield f"{who} after each phase of its fit: {'; '.join(map(phase_errors, phases))}."


def phase_errors(phase: Mapping[str, Any]) -> str:
    """Return the errors after one phase, and whether it was undone."""
    names = ("forces_mae", "largest_force_error", "energy_mae", "largest_energy_error")
    forces, worst_force, energy, worst_energy = (1000 * phase[name] for name in names)
    text = f"{phase['phase']} {forces:.0f} meV/Å (largest {worst_force:.0f})"
    text += f", {energy:.1f} meV/atom (largest {worst_energy:.0f})"
    return text + (", undone" if phase["undone"] else "")


def tuning(source: Artifact) -> Tuning:
    """Return the residuals of the reference energies and what fine-tuning did to other materials."""
    summary, rows = source.summary, read_table(source.path / "reference.csv")
    forgotten = summary.get("forgetting") or {}
    return Tuning(
        residual=np.array([float(row["residual_eV_per_atom"]) for row in rows]),
        config_type=[row["config_type"] for row in rows],
        reference=summary["reference_text"],
        of=str(source.labels.get("teacher", "")),
        forgotten=forgotten.get("by_material", {}),
        change=forgotten.get("forces"),
        size=forgotten.get("size"),
        undone=summary.get("kept", "fine-tuning") != "fine-tuning",
        notes=[text for part in ("method", "convergence", "holes") if (text := (summary.get(part) or {}).get("text"))],
    )


def growth(source: Artifact) -> Growth:
    """Return the statistics of the family trees."""
    summary = source.summary
    with np.load(source.path / "statistics.npz", allow_pickle=False) as arrays:
        return Growth(
            generation=arrays["generation"],
            displacement=arrays["displacement_from_parent"],
            displacement_from_seed=arrays["displacement_from_seed"],
            energy=arrays["relative_energy"],
            funnel=left_over(summary["funnel"]),
            teacher_calls=summary["teacher_calls"],
        )


def left_over(outcomes: dict[str, int]) -> dict[str, int]:
    """Return how many proposals were left after each rule, from the number that each rule rejected."""
    left = {"proposed": outcomes["proposed"]}
    rules = {"too_close": "atoms apart", "duplicate": "not seen before", "force": "forces bounded"}
    rules |= {"failed": "teacher answered"} if outcomes.get("failed") else {}
    for rule, name in rules.items():
        left[name] = min(left.values()) - outcomes[rule]
    return left | {"accepted": outcomes["accepted"]}
