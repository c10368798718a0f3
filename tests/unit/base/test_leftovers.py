"""What is there for moments only: whose it is can be told, and what dead processes left goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from distill.base.files import write_text
from distill.base.leftovers import passing_name, remove_at_once, sweep

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from distill.base.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path / "table.csv")], check=False)
    (left,) = names(tmp_path)
    assert left.startswith(".writing-") and left.endswith(".csv")
    mine = tmp_path / passing_name("writing", ".csv")
    mine.write_text("being written")
    sweep(tmp_path)
    assert names(tmp_path) == [mine.name]


def test_what_another_machine_makes_stays_unless_nobody_else_is_there(tmp_path: Path) -> None:
    theirs = tmp_path / "below" / ".trash-00000000-1-0-work"
    theirs.mkdir(parents=True)
    (theirs / "state").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / ".writing-made-by-an-older-version.csv").touch()
    sweep(tmp_path / "below")
    assert theirs.exists()
    sweep(tmp_path, alone=True)
    assert names(tmp_path) == [".hidden", "below"] and not theirs.exists()


def test_a_folder_that_is_removed_is_never_seen_in_part(tmp_path: Path) -> None:
    """The first thing that happens to it is a new name, after which a kill may come at any file."""
    folder = tmp_path / "work"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "state").touch()
    remove_at_once(folder)
    remove_at_once(folder)
    assert names(tmp_path) == []


def test_the_users_umask_says_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        write_text(tmp_path / "shared", "")
        os.umask(0o077)
        write_text(tmp_path / "private", "")
    finally:
        os.umask(before)
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o664
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
