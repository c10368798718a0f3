"""Several processes that do one piece of work together, started by a process that waits for them and works itself not.

Each is ``python -m distill.training.gradient.distributed``, a plain subprocess, so that nothing of the caller is
imported or executed again: neither a script nor a worker's command line. The work travels by a file and its result
lies where the work says. If one process dies the others are ended, and all end when the one that started them is gone.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import distributed

from distill.base.errors import DistillError, UserError, WorkError
from distill.base.files import read_json, write_json
from distill.base.progress import FileProgress, Progress, read_record

WORK = "work.pt"
PROGRESS = "progress.json"
POLL_S = 0.1
"""Seconds between two looks at the processes."""


class Work(Protocol):
    """What processes can do together: it can be pickled, and every process calls it."""

    def run(self, progress: Progress) -> None:
        """Do this process's part; the first process's progress is shown."""


def check_devices(device: str, devices: int) -> None:
    """Refuse more processes than there are GPUs.

    Args:
        device: a torch device; ``cuda:N`` is the first of the GPUs that would be used.
        devices: how many processes.

    Raises:
        UserError: each would need a GPU of its own.
    """
    kind = torch.device(device)
    if kind.type == "cuda" and devices > 1:
        found = torch.cuda.device_count() - (kind.index or 0)
        if devices > found:
            what = f"{devices} devices are asked for, but there {'is one GPU' if found == 1 else f'are {found} GPUs'}"
            raise UserError(what, where="trainer.devices", remedy=f"Use at most {found}, or --device cpu")


def together(work: Work, processes: int, device: str, folder: Path, progress: Progress) -> None:
    """Let ``processes`` processes do a piece of work, and come back when all of them are done.

    Each has its rank in RANK and LOCAL_RANK, and their number in WORLD_SIZE; PyTorch's process group is ready when
    ``work`` is called, by NCCL on GPUs and by Gloo otherwise. The threads of this process are shared out among them.

    Args:
        work: what to do.
        processes: how many.
        device: ``cpu`` or ``cuda``.
        folder: for the files that pass between the processes; removed in the end.
        progress: where to report.

    Raises:
        UserError: a process refused the work.
        WorkError: a process failed or died.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        try:
            torch.save(work, folder / WORK)
        except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
            what = f"it cannot be passed on to other processes: {str(error).splitlines()[0]}"
            raise WorkError(what, where="trainer.devices", remedy="Use one device") from error
        with tempfile.TemporaryDirectory() as meeting, _started(processes, device, folder, Path(meeting)) as running:
            _wait(running, folder, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(processes: int, device: str, folder: Path, meeting: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield the running processes, none of which is left afterwards."""
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = os.environ | {
        "WORLD_SIZE": str(processes),
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    environment.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else each warns that all parameters were used
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name need not be known to itself
    command = [sys.executable, "-P", "-m", "distill.training.gradient.distributed", str(folder), str(meeting), device]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
            running.append(subprocess.Popen(command, env=own, stdin=subprocess.PIPE))
        yield running
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()


def _wait(running: list[subprocess.Popen[bytes]], folder: Path, progress: Progress) -> None:
    """Report until all processes are done; raise the error of the one that failed first."""
    shown = ""
    while True:
        codes = [process.poll() for process in running]
        record = read_record(folder / PROGRESS)
        if record is not None and record.text() != shown:
            shown = record.text()
            progress.publish(record, force=None not in codes)
        if any(codes):
            time.sleep(POLL_S)  # one that was killed may have been looked at just before
            raise _failure([process.poll() for process in running], folder)
        if None not in codes:
            return
        time.sleep(POLL_S)


def _failure(codes: list[int | None], folder: Path) -> DistillError:
    """Return what went wrong first: a process that was killed takes the others along, which then complain of it."""
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            what = f"training process {rank} of {len(codes)} was killed by {signal.Signals(-code).name}"
            hint = ", perhaps because memory ran out" if code == -signal.SIGKILL else ""
            return WorkError(what + hint, remedy="The same command continues where training stood")
    said = [read_json(path) for path in folder.glob("failed-*.json")]
    if not said:
        return WorkError(f"a training process ended with status {max(code or 0 for code in codes)}")
    first = min(said, key=lambda one: one["time"])
    kind = UserError if first["code"] == UserError.exit_code else WorkError
    return kind(first["what"], where=first["where"], remedy=first["remedy"])


def main() -> None:
    """Do one process's part of the work."""
    folder, meeting, device = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the business of who started it
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # DDP's advice for speed, from every process
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    try:
        kind = torch.device(device)
        if kind.type == "cuda":
            torch.cuda.set_device((kind.index or 0) + rank)
        backend = "nccl" if kind.type == "cuda" else "gloo"
        distributed.init_process_group(backend, f"file://{meeting / 'meeting'}", rank=rank, world_size=processes)
        work: Work = torch.load(folder / WORK, map_location="cpu", mmap=True, weights_only=False)  # by who started it
        work.run(FileProgress(folder / PROGRESS) if rank == 0 else Progress())
        distributed.destroy_process_group()
    except Exception as error:
        traceback.print_exc()
        _say(error, folder / f"failed-{rank}.json")
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the others


def _say(error: Exception, path: Path) -> None:
    """Write an error for the process that waits."""
    if not isinstance(error, DistillError):
        error = WorkError(traceback.format_exception_only(error)[-1].strip().splitlines()[0])
    told = {"what": error.what, "where": error.where, "remedy": error.remedy, "code": error.exit_code}
    write_json(path, told | {"time": time.time()})


def _end_with_the_starter() -> None:
    """Wait until the process that started this one is gone, and end at once."""
    os.read(0, 1)  # a read through sys.stdin would hold a lock that an orderly end wants
    os._exit(1)


if __name__ == "__main__":
    main()
