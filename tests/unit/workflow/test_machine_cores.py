"""How many cores a process may use, read from the files of control groups as Linux lays them out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from distill.workflow import machine
from distill.workflow.machine import cpu_quotas, usable_cores

V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({}, []),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        (
            {
                "proc/self/cgroup": "0::/slurm/job 7/step:0\n",
                "sys/fs/cgroup/slurm/job 7/step:0/cpu.max": "max 100000\n",
                "sys/fs/cgroup/slurm/job 7/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/slurm/cpu.max": "50000 10000\n",
                "sys/fs/cpu.max": "1 1\n",
            },
            [4.0, 5.0],
        ),
        ({"proc/self/cgroup": "0::/../elsewhere\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, []),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [2.5],
        ),
        (  # inside a container the group's own path is that of the machine outside
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [3.0],
        ),
    ],
)
def test_quotas_are_read_from_all_groups_of_the_process(
    tmp_path: Path, files: Mapping[str, str], quotas: list[float]
) -> None:
    assert list(cpu_quotas(tree(tmp_path, files))) == quotas


@pytest.mark.parametrize(
    ("quotas", "cores"), [([], 8), ([16.0], 8), ([5.0, 3.0], 3), ([1.5], 2), ([0.25], 1), ([8.0], 8)]
)
def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch, quotas: list[float], cores: int) -> None:
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cpu_quotas", lambda: iter(quotas))
    assert usable_cores() == cores


@pytest.mark.parametrize(("asked", "cores"), [("3", 3), ("12", 12), ("default", 8), ("0", 8), ("", 8)])
def test_pythons_own_variable_overrides(monkeypatch: pytest.MonkeyPatch, asked: str, cores: int) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cpu_quotas", lambda: iter([]))
    assert usable_cores() == cores
