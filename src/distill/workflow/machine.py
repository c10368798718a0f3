"""What the machine offers and what a task used of it: cores, threads, device, memory, versions.

torch is imported only to look for a CUDA device, and only where there is an NVIDIA driver.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from distill.base.errors import UserError
from distill.base.processor import processor

OWN = "mlip-distill"
"""The distribution of this package."""

PACKAGES = (
    OWN,
    "torch",
    "numpy",
    "scipy",
    "ase",
    "graph-pes",
    "chgnet",
    "diep",
    "lightning",
    "vesin",
    "pydantic",
    "safetensors",
)
"""Packages that every installation has; their versions are recorded with every artifact."""

OPTIONAL = ("mace-torch", "e3nn", "python-ace", "tensorpotential")
"""Further packages whose versions are recorded where they are installed."""

SILENT = (OWN, "pydantic", "safetensors")
"""Packages that change no number: of our own, the versions of the stages are part of what is hashed."""

_USERS_LIMIT = os.environ.get("OMP_NUM_THREADS", "")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity and by the CPU quotas of its control groups.

    ``PYTHON_CPU_COUNT`` overrides both, as it does for Python's own count from 3.13 on.
    """
    asked = os.environ.get("PYTHON_CPU_COUNT", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(affinity, max(1, math.ceil(min(cpu_quotas(), default=affinity))))


def cpu_quotas(root: Path = Path("/")) -> Iterator[float]:
    """Yield the cores that each control group of this process allows, its parents included (Linux, versions 1 and 2).

    A container or a batch system sets them; the affinity still names all cores of the machine then.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")  # version 2 has one hierarchy, without a name
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = _quota(folder, bool(controllers))
                if float(quota) > 0:  # -1 or "max" where there is none
                    yield float(quota) / float(period)
            if folder == top:
                break


def _quota(folder: Path, old: bool) -> list[str]:
    """Return microseconds of CPU and in how many microseconds, as texts, for one control group."""
    if old:
        return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
    return (folder / "cpu.max").read_text().split()


def has_nvidia_driver() -> bool:
    """Return whether there may be a CUDA device; costs nothing."""
    return any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/version"))


def resolve_device(wish: str) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: the device is unknown or not there.
    """
    if wish == "cpu" or (wish == "auto" and not has_nvidia_driver()):
        return "cpu"
    kind, _, index = wish.partition(":")
    if wish != "auto" and (kind != "cuda" or not (index.isdigit() or wish == "cuda")):
        raise UserError(f"unknown device {wish!r}", where="--device", remedy="Use auto, cpu, cuda or cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wish == "auto":
        return "cuda" if count else "cpu"
    if int(index or 0) >= count:
        what = f"{wish} was asked for, but torch finds {count} CUDA devices"
        raise UserError(what, where="--device", remedy="Use --device cpu, or install a CUDA build of torch")
    return wish


def described(wish: str) -> dict[str, str | int]:
    """Return what the speed of this machine depends on, for the device wished for; torch is not imported.

    Args:
        wish: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` counts as a GPU where there is an NVIDIA driver.
    """
    wish = "cuda" if wish == "cuda:0" or (wish == "auto" and has_nvidia_driver()) else wish
    found: dict[str, str | int] = {"processor": processor(), "cores": usable_cores()}
    if wish in ("cpu", "auto"):
        return found | {"device": "cpu"}
    return found | {"device": wish, "gpu": ", ".join(_gpus())}


def _gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs, as their driver tells them."""
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            names += [line.partition(":")[2].strip() for line in path.read_text().splitlines() if "Model:" in line]
    return names


def other_versions(made_with: Mapping[str, str]) -> str:
    """Return which packages that change numbers have other versions now, e.g. ``torch 2.12.0, now 2.13.0``."""
    now = versions()
    changed = [
        f"{name} {old}, now {now[name]}"
        for name, old in made_with.items()
        if name in now and now[name] != old and name not in SILENT
    ]
    return "; ".join(changed)


def use_threads(threads: int) -> None:
    """Let this process's numerical libraries use so many threads, loaded or still to be loaded.

    A smaller OMP_NUM_THREADS that the user set before is respected.
    """
    if _USERS_LIMIT.isdigit() and int(_USERS_LIMIT) > 0:
        threads = min(threads, int(_USERS_LIMIT))
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def reset_peak_memory() -> None:
    """Let the peaks of memory count from now, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class PeakMemory(TypedDict):
    """The most memory that was used, MiB."""

    peak_memory_mib: float | None
    peak_gpu_memory_mib: float | None


def peak_memory_mib() -> PeakMemory:
    """Return ``peak_memory_mib`` of this process and ``peak_gpu_memory_mib`` (None without a GPU).

    Child processes are left out. A worker does several tasks one after another. On Linux the peak is reset at the start
    of each, so that it is this task's, including what the worker had loaded; elsewhere it is the worker's so far.
    """
    unit = 1024**2 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    gpu = round(torch.cuda.max_memory_allocated() / 1024**2, 1) if torch is not None and on_gpu else None
    return {"peak_memory_mib": round(peak, 1), "peak_gpu_memory_mib": gpu}


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that results depend on.

    Without an installation of this package, as in a source tree on the path, its own version is not known.
    """
    return dict(_installed())


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """Return the versions; looking them up takes a tenth of a second, and a process keeps those that it has loaded."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in (*PACKAGES, *OPTIONAL):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if name == OWN:
                found[name] = "unknown (source tree)"
    return found
