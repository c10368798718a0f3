"""What this machine offers, what is installed, and what is missing and how to get it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distill.potentials import POTENTIALS
from distill.workflow.machine import PACKAGES, has_nvidia_driver, usable_cores, versions


def model_rows() -> list[list[str]]:
    """Return one row per potential: name, role, elements, level of theory, licence, and whether it is installed."""
    return [
        [
            name,
            row.role,
            f"{len(row.elements)}" if row.elements else "all",
            row.level_of_theory or "-",
            row.licence,
            f"no: {row.install}" if missing_packages(row) else "yes",
        ]
        for name, row in POTENTIALS.items()
    ]


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
        missing = missing_packages(row)
        rows.append([f"potential {name}", f"missing {', '.join(missing)}: {row.install}" if missing else "ready"])
    store = Path("runs", ".store").absolute()
    rows.append(["store", str(store) if store.is_dir() else f"{store} (made by the first run)"])
    return rows


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
