"""Gather what the other stages left behind into one page that a person can read and judge by.

It reads finished artifacts and their manifests and computes nothing new.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from distill.base.files import read_json
from distill.stages.base import Job, Paths, Source, Stage, StageSettings, Summary


class Report(Stage):
    """One self-contained page, and the same figures as PNG."""

    class Settings(StageSettings):
        """The report has no settings."""

    inputs: ClassVar[dict[str, Any]] = {
        "check": "check",
        "finetune": "finetune",
        "generate": "generate",
        "label": "label",
        "train": "train",
        "predict": "predict",
        "evaluate": "evaluate",
        "simulate": "simulate",
        "benchmark": "benchmark",
        "test": "check.test",
    }
    outputs: ClassVar[dict[str, str]] = {"page": "report.html", "figures": "figures"}
    publish: ClassVar[dict[str, str]] = {"page": "report.html", "figures": "figures"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``report.html`` and ``figures/``."""
        from distill.analysis.errors import Difference
        from distill.reporting.data import ReportData
        from distill.reporting.page import build

        tasks = list(artifacts(inputs))
        manifests = [(name, read_json(folder / "manifest.json")) for name, folder in tasks]
        summaries = {name: manifest["summary"] for name, manifest in manifests}
        data = ReportData(
            name=title(manifests),
            recipe_text=settings_text(manifests),
            metrics=read_table(inputs["evaluate"] / "metrics.csv"),
            gains={name: Difference(**gain) for name, gain in summaries["evaluate"]["gains"].items()},
            parity=list(parity(inputs)),
            curves=list(curves(inputs)),
            energy_volume=list(energy_volume(inputs["simulate"])),
            dynamics=list(dynamics(inputs["simulate"])),
            speed=speeds(inputs["benchmark"], summaries["benchmark"]),
            tuning=tuning(inputs["finetune"], summaries["finetune"]),
            growth=growth(inputs["generate"]),
            stages=list(costs(manifests)),
            findings=[*speed_sentences(summaries["benchmark"]), *phase_sentences(inputs["train"])],
            warnings=[f"{name}: {text}" for name, m in manifests for text in m["warnings"]],
            versions={"Python": manifests[-1][1]["python"]} | manifests[-1][1]["versions"],
            hashes={name: manifest["hash"][:16] for name, manifest in manifests},
            counts=counts(summaries),
            created=manifests[-1][1]["finished"].replace("T", " ").replace("+00:00", " UTC"),
        )
        build(data, job.out)
        return {"headline": "report.html"}


def artifacts(inputs: Paths) -> Iterator[tuple[str, Path]]:
    """Yield a readable name and the folder of every task, in the order of the pipeline."""
    for name, value in inputs.items():
        if isinstance(value, list):
            for source in value:
                yield f"{name} {' '.join(str(label) for label in source.labels.values())}", source.path
        elif value.is_dir():
            yield name, value


def title(manifests: Iterable[tuple[str, Any]]) -> str:
    """Return what the run is about, e.g. ``Si: painn from chgnet-0.3``."""
    found = dict(manifests)
    students = dict.fromkeys(m["labels"]["student"] for name, m in found.items() if name.startswith("train "))
    elements = "".join(found["check"]["summary"]["elements"])
    return f"{elements}: {', '.join(students)} from {found['finetune']['settings']['model']}"


def settings_text(manifests: Iterable[tuple[str, Any]]) -> str:
    """Return the settings of every task, defaults included, as YAML."""
    import yaml

    text = {name: m["settings"] for name, m in manifests if m["settings"]}
    return yaml.safe_dump(text, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def counts(summaries: dict[str, Any]) -> dict[str, Any]:
    """Return what was counted on the way."""
    check, label, generate = (summaries[name] for name in ("check", "label", "generate"))
    return {
        "DFT structures: training": check["counts"]["train"],
        "DFT structures: validation": check["counts"]["valid"],
        "DFT structures: test": check["counts"]["test"],
        "synthetic structures: training": label["train"],
        "synthetic structures: validation, unseen families": label["valid"],
        "teacher calls per grown structure": round(generate["calls_per_structure"], 1),
    }


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def parity(inputs: Paths) -> Iterator[Any]:
    """Yield the predictions of each model (of several seeds the best by validation) beside the DFT labels."""
    from distill.reporting.data import Model, Parity
    from distill.structures.labels import read_labels
    from distill.structures.read import read_frames

    test = read_frames(inputs["test"])[0]
    students = read_json(inputs["evaluate"] / "manifest.json")["summary"]["students"]
    for source in inputs["predict"]:
        model, variant, seed = (source.labels[name] for name in ("student", "variant", "seed"))
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


def curves(inputs: Paths) -> Iterator[Any]:
    """Yield the learning curve of the fine-tuning and of each training."""
    from distill.reporting.data import Model

    finetune = read_json(inputs["finetune"] / "manifest.json")["summary"]
    if finetune["status"] != "not fine-tuned":
        yield curve(inputs["finetune"] / "curve.csv", finetune, Model("teacher", "finetuned"), 0)
    for source in inputs["train"]:
        summary = read_json(source.path / "manifest.json")["summary"]
        model = Model(source.labels["student"], source.labels["variant"])
        yield curve(source.path / "curve.csv", summary, model, source.labels["seed"])


def curve(path: Path, summary: dict[str, Any], model: Any, seed: int) -> Any:
    """Return one learning curve with how it ended."""
    import numpy as np

    from distill.reporting.data import Curve

    rows = read_table(path)
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


def results(sources: Iterable[Source], kind: str) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Yield the simulations of one kind."""
    for source in sources:
        result = read_json(source.path / "result.json")
        if result["kind"] == kind:
            yield source, result


def energy_volume(sources: Iterable[Source]) -> Iterator[Any]:
    """Yield the energy-volume curve of the teacher, once for each simulation, and of each student."""
    import numpy as np

    from distill.analysis.energy_volume import EnergyVolumeFit
    from distill.reporting.data import EnergyVolume, Model

    shown: set[int] = set()
    for source, result in results(sources, "energy_volume"):
        models = {"student": Model(source.labels["student"], source.labels["variant"])}
        if source.labels["run"] not in shown:
            models["teacher"] = Model("teacher", "finetuned")
            shown.add(source.labels["run"])
        for name, model in models.items():
            found = result["curves"][name]
            yield EnergyVolume(
                of=model,
                structure=result["structure"],
                volumes=np.array(result["volumes"]),
                energies=np.array(found["energies"]),
                fit=EnergyVolumeFit(**found["fit"]),
                atoms_per_cell=result["cubic_cell_atoms"],
                seed=source.labels["seed"] if name == "student" else 0,
            )


def dynamics(sources: Iterable[Source]) -> Iterator[Any]:
    """Yield every molecular-dynamics run."""
    import numpy as np

    from distill.analysis.stability import Verdict
    from distill.reporting.data import Dynamics, Model

    for source, result in results(sources, "langevin"):
        series = {
            name: np.array([math.nan if x is None else x for x in column]) for name, column in result["series"].items()
        }
        yield Dynamics(
            of=Model(source.labels["student"], source.labels["variant"]),
            name=f"{result['structure']}, {result['atoms']} atoms, {result['temperature']:g} K",
            time_fs=series["time_fs"],
            temperature=series["temperature"],
            min_distance=series["min_distance"],
            verdict=Verdict(**result["verdict"] | {"reasons": tuple(result["verdict"]["reasons"])}),
            seed=source.labels["seed"],
        )


def speeds(folder: Path, summary: dict[str, Any]) -> Any:
    """Return the timings of every model, and those of the user's table."""
    import numpy as np

    from distill.reporting.data import GivenSpeed, Model, Speed, Speeds

    def columns(rows: list[dict[str, str]]) -> tuple[Any, Any]:
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


def speed_sentences(summary: dict[str, Any]) -> Iterator[str]:
    """Yield for each student how much faster than its teacher it is."""
    for name, found in summary["students"].items():
        ratio = found["times_faster"]
        said = f"{ratio:.3g} times faster" if ratio >= 1 else f"{1 / ratio:.3g} times slower"
        steps = f"{found['ms_per_step']:.3g} instead of {found['teacher_ms_per_step']:.3g} ms a step"
        yield f"{name} is {said} than its teacher at {found['atoms']} atoms ({steps}; {summary['machine']})."


def phase_sentences(sources: Iterable[Source]) -> Iterator[str]:
    """Yield for each student that was fitted in phases the errors after each, on all structures it was given."""
    for source in sources:
        phases = read_json(source.path / "manifest.json")["summary"].get("phases", [])
        if phases:
            who = " ".join(map(str, source.labels.values()))
            yield f"{who} after each phase of its fit: {'; '.join(map(phase_errors, phases))}."


def phase_errors(phase: dict[str, Any]) -> str:
    """Return the errors after one phase, and whether it was undone."""
    names = ("forces_mae", "largest_force_error", "energy_mae", "largest_energy_error")
    forces, worst_force, energy, worst_energy = (1000 * phase[name] for name in names)
    text = f"{phase['phase']} {forces:.0f} meV/Å (largest {worst_force:.0f})"
    text += f", {energy:.1f} meV/atom (largest {worst_energy:.0f})"
    return text + (", undone" if phase["undone"] else "")


def tuning(folder: Path, summary: dict[str, Any]) -> Any:
    """Return the residuals of the reference energies and what fine-tuning did to other materials."""
    import numpy as np

    from distill.reporting.data import Tuning

    rows = read_table(folder / "reference.csv")
    forgotten = summary.get("forgetting") or {}
    return Tuning(
        residual=np.array([float(row["residual_eV_per_atom"]) for row in rows]),
        config_type=[row["config_type"] for row in rows],
        reference=summary["reference_text"],
        forgotten=forgotten.get("by_material", {}),
        change=forgotten.get("forces"),
        size=forgotten.get("size"),
    )


def growth(folder: Path) -> Any:
    """Return the statistics of the family trees."""
    import numpy as np

    from distill.reporting.data import Growth

    summary = read_json(folder / "manifest.json")["summary"]
    with np.load(folder / "statistics.npz", allow_pickle=False) as arrays:
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
    for rule, name in rules.items():
        left[name] = min(left.values()) - outcomes[rule]
    return left | {"accepted": outcomes["accepted"]}


def costs(manifests: Iterable[tuple[str, Any]]) -> Iterator[Any]:
    """Yield time and memory of each task."""
    from distill.reporting.data import StageCost

    for name, manifest in manifests:
        yield StageCost(
            task=name,
            wall_s=manifest["wall_s"],
            peak_memory_mib=manifest.get("peak_memory_mib"),
            device=manifest["device"],
        )
