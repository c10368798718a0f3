"""What the machine offers: devices that are named are there or refused, threads respect the user's limit."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from distill.base.errors import UserError
from distill.workflow import machine


def test_the_processor_is_always_there() -> None:
    assert machine.resolve_device("cpu") == "cpu"


def test_auto_is_the_processor_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)
    assert machine.resolve_device("auto") == "cpu"


@pytest.mark.parametrize("wish", ["gpu", "cuda:", "cuda:one", "cuda:-1", "cpu:0", ""])
def test_a_device_that_is_none_is_refused(wish: str) -> None:
    with pytest.raises(UserError, match=r"unknown device") as refused:
        machine.resolve_device(wish)
    assert refused.value.where == "--device" and "cuda:N" in str(refused.value.remedy)


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is made up, since the machine of the tests may have none."""
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [machine.resolve_device(wish) for wish in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match="cuda:2 was asked for, but torch finds 2 CUDA devices"):
        machine.resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.resolve_device("auto") == "cpu"
    with pytest.raises(UserError, match="torch finds 0 CUDA devices"):
        machine.resolve_device("cuda")


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "wanted", "expected"), [("2", 5, 2), ("8", 5, 5), ("0", 5, 5), ("", 5, 5)])
def test_a_smaller_limit_of_the_user_is_respected(limit: str, wanted: int, expected: int) -> None:
    """In a process of its own, since the limit is read when the module is imported."""
    code = (
        "import os; from distill.workflow.machine import use_threads; "
        f"use_threads({wanted}); import torch; print(os.environ['MKL_NUM_THREADS'], torch.get_num_threads())"
    )
    environment = os.environ | {"OMP_NUM_THREADS": limit, "MKL_DYNAMIC": "FALSE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected)] * 2


def test_the_peak_of_memory_is_that_since_it_was_reset() -> None:
    machine.reset_peak_memory()
    before = machine.peak_memory_mib()["peak_memory_mib"]
    block = mmap.mmap(-1, 64 * 2**20)  # not from memory that was freed before
    block.write(b"1" * len(block))
    during = machine.peak_memory_mib()["peak_memory_mib"]
    assert during >= before + 60
    block.close()
    assert machine.peak_memory_mib()["peak_memory_mib"] >= during - 1, "a peak does not fall by itself"
    if not torch.cuda.is_initialized():
        assert machine.peak_memory_mib()["peak_gpu_memory_mib"] is None


def test_versions_are_those_that_are_installed() -> None:
    found = machine.versions()
    assert found["torch"] == torch.__version__ and found["numpy"] == np.__version__
    assert set(found) <= {*machine.PACKAGES, *machine.OPTIONAL}
