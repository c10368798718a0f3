"""Settings of all tests: one thread in each process, the longest files first, and what takes minutes is kept."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

LONGEST = (
    "unit/potentials/networks/test_compiled.py",
    "test_notebooks.py",
    "contracts/test_every_recipe.py",
    "unit/training/ace/test_ace_fit.py",
    "unit/stages/test_finetune_stage.py",
    "unit/potentials/teachers/test_external_sevennet.py",
    "contracts/test_every_potential.py",
    "unit/training/gradient/test_distributed.py",
    "unit/potentials/teachers/test_mace.py",
    "unit/potentials/teachers/test_external_recipe.py",
    "unit/potentials/workers/test_worker_processes.py",
)
"""Files that take longest; where several processes share the files they begin with these, and so end together."""


def kept_for(torch: str) -> Path:
    """Return the folder of what tests keep: of this version of PyTorch, of Python and of this kind of processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    kind = hashlib.sha256(processor.encode()).hexdigest()[:8]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "distill-tests" / f"torch-{torch}-python-{sys.version_info.major}.{sys.version_info.minor}-{kind}"


os.environ["OMP_NUM_THREADS"] = "1"  # small tensors gain nothing from more, and results stay comparable
# A job in the background of a shell ignores signals from the keyboard, one under nohup SIGHUP, as its children then do.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_DFL)
KEPT = kept_for(version("torch"))
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(KEPT))
os.environ.setdefault("DISTILL_CACHE", str(KEPT))  # the networks in C++ are compiled once for all tests


@pytest.fixture(scope="session")
def kept() -> Path:
    """The folder of what takes minutes to make and is kept from one run of the tests to the next."""
    return KEPT


@pytest.fixture(scope="module")
def one_worker() -> Iterator[None]:
    """Let runs of real stages have one worker, if they ask for no other number, for each takes seconds of the processor
    to import PyTorch and Lightning, and the tests share the cores out among themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON_CPU_COUNT", "1")
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others, and the tests of a file, stay in their order."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
