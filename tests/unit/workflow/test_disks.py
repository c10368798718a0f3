"""Disks that are full or can only be read, and places that are none: one sentence with place and remedy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_folder import TOY_CLI, Toy

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
"""Lets anybody mount a small disk that nobody else sees."""


def can_mount(folder: Path) -> bool:
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(folder)]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


def on_a_small_disk(toy: Toy, *steps: str) -> list[tuple[int, str]]:
    """Return exit status and text of shell commands on a disk of 400 KiB with the toy recipe, and the toys' distill."""
    disk = toy.folder / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("no disk can be mounted here")
    head = [f"mount -t tmpfs -o size=400k none {disk}", f"cp {toy.path} {toy.folder}/numbers.txt {disk}", f"cd {disk}"]
    head.append(f'distill() {{ {sys.executable} {TOY_CLI} "$@"; }}')
    ends = [f"({step}) 2>&1; echo '=== '$?" for step in steps]
    script = "\n".join([*head, "set +e", *ends])
    done = subprocess.run([*NAMESPACE, "sh", "-ec", script], capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return [(int(status), text) for text, status in re.findall(r"(.*?)=== (\d+)\n", done.stdout, re.DOTALL)]


FILL = "dd if=/dev/zero of=filler bs=1k count=400 2>/dev/null; truncate -s -{free}k filler"


@pytest.mark.slow
@pytest.mark.parametrize("free", [0, 24, 60])
def test_a_full_disk_is_named_and_the_run_continues_once_there_is_space(toy: Toy, free: int) -> None:
    _, full, _, again = on_a_small_disk(
        toy, FILL.format(free=free), "distill run toy.yaml --quiet", "rm filler", "distill run toy.yaml --quiet"
    )
    assert full[0] == 1 and "the disk is full. Free space there: the same command continues" in full[1]
    assert len(full[1].splitlines()) == 1 and "runs/" in full[1]
    assert again == (0, "")


@pytest.mark.slow
def test_a_finished_recipe_on_a_disk_that_can_only_be_read_has_nothing_to_do(toy: Toy) -> None:
    done, _, again, plan, status, more, force = on_a_small_disk(
        toy,
        "distill run toy.yaml --quiet",
        "mount -o remount,ro .",
        "distill run toy.yaml",
        "distill plan toy.yaml",
        "distill status toy",
        "distill run toy.yaml --set count.steps=9",
        "distill run toy.yaml --force read",
    )
    assert done == (0, "") and again[0] == plan[0] == status[0] == 0
    assert "Nothing to do: all 12 tasks are finished." in again[1] and "12 of 12 tasks are done." in status[1]
    for code, said in (more, force):
        assert code == 2 and "this disk can only be read. Mount it for writing, or name another place" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--store", "loop"), "loop/.runs: symbolic links lead round in a circle. Remove one of them"),
        (("--runs", "loop"), "loop/.store/.runs: symbolic links lead round in a circle. Remove one of them"),
        (("--store", "numbers.txt"), "numbers.txt/.runs: a file stands where a folder belongs. Move it away"),
        (("--runs", "taken"), "taken/toy: a folder belongs here, and something else is here. Move it away"),
        (("--runs", "n" * 300), "the name is longer than names may be here. Choose a shorter one"),
    ],
)
def test_places_that_are_none_are_named(toy: Toy, options: tuple[str, ...], said: str) -> None:
    (toy.folder / "loop").symlink_to("pool")
    (toy.folder / "pool").symlink_to("loop")
    (toy.folder / "taken").mkdir()
    (toy.folder / "taken" / "toy").touch()
    status, text = toy.call("run", "toy.yaml", *options)
    assert status == 2 and said in text and len(text.splitlines()) == 1
