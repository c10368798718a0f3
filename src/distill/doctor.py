"""What this machine offers, what is installed, and what is missing and how to get it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distill.potentials import POTENTIALS
from distill.potentials.teachers.weights import Weights
from distill.potentials.workers.environments import commands, environment_folder, environments, is_whole
from distill.workflow.machine import PACKAGES, has_nvidia_driver, usable_cores, versions

MODEL_COLUMNS = ["name", "role", "elements", "level of theory", "licence", "size", "weights"]
FEW = 10
"""Up to so many elements are named, more are counted."""


def model_rows() -> list[list[str]]:
    """Return one row per potential, by :data:`MODEL_COLUMNS`.

    Size is the number of parameters. The last column says where weights are or what they cost, and in place of that the
    command to run where a package is missing. What theory and licence say in parentheses is left out.
    """
    return [
        [
            row.arch or name,
            row.role,
            _elements(row.elements),
            row.level_of_theory.partition(" (")[0] or "-",
            row.licence.partition(" (")[0],
            f"{row.parameters / 1e6:.2g} M" if row.parameters else "-",
            f"not installed: {row.install}" if missing_packages(row) else _weights(row),
        ]
        for name, row in POTENTIALS.items()
    ]


def _elements(numbers: tuple[int, ...] | None) -> str:
    """Return the symbols of a few elements, the number of many."""
    if numbers is None:
        return "all"
    if len(numbers) > FEW:
        return str(len(numbers))
    from ase.data import chemical_symbols

    return "".join(chemical_symbols[z] for z in numbers)


def _weights(row: Any) -> str:
    """Return where a teacher's weights are, or what using them costs."""
    if row.argument:
        return f"your {row.argument}"
    if row.own_environment:
        return "own environment"
    weights = row.weights
    if isinstance(weights, Weights):
        return weights.state
    return "in its package" if row.role == "teacher" else "untrained"


def missing_packages(row: Any) -> list[str]:
    """Return the distributions that a potential needs and that are not installed."""
    missing = []
    for name in row.requires:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def diagnose() -> list[list[str]]:
    """Return facts as pairs of a name and a text."""
    found = versions()
    rows = [
        ["python", f"{sys.version.split()[0]} ({sys.executable})"],
        ["system", platform.platform()],
        ["cores", f"{usable_cores()} usable"],
        ["memory", _memory()],
        *[[name, found.get(name, "missing: pip install mlip-distill")] for name in PACKAGES],
        ["devices", _devices()],
    ]
    for name, row in POTENTIALS.items():
        if row.own_environment:
            continue
        missing = missing_packages(row)
        rows.append([f"potential {name}", f"missing {', '.join(missing)}: {row.install}" if missing else "ready"])
    for name, row in environments().items():
        rows += [[f"environment {name}" * (line == 0), text] for line, text in enumerate(_environment(row))]
    store = Path("runs", ".store").absolute()
    rows.append(["store", str(store) if store.is_dir() else f"{store} (made by the first run)"])
    return rows


def _environment(row: Any) -> list[str]:
    """Return what to write into a recipe where the environment of a row has been made, else how to make it."""
    folder = environment_folder(row)
    if is_whole(folder.expanduser(), row):
        return [f"made: teacher: {{model: {row.name}, environment: {folder}}}"]
    licence, _, access = row.licence.partition(" (")
    condition = [f"{licence}: {access.rstrip(')')}"] if "log in" in access else []
    made = f"not made; distill doctor --make {folder.name} makes it, or two commands:"
    return [made, *commands(row), *condition]


def _memory() -> str:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    except OSError:
        return "unknown"
    total, free = (int(lines[key].split()[0]) / 1024**2 for key in ("MemTotal", "MemAvailable"))
    return f"{total:.1f} GiB, {free:.1f} GiB free"


def _devices() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    if torch.cuda.is_available():
        return ", ".join(["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))])
    if has_nvidia_driver():
        return "cpu; there is an NVIDIA driver, but this torch cannot use it: install a CUDA build of torch"
    return "cpu"
