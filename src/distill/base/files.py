"""Files that are either whole or not there, and the hashes that name their content."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from distill.base.errors import UserError
from distill.base.leftovers import passing_name

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What a JSON file can hold."""


LONGEST_NAME = 255
"""Bytes of the name of a file, on all usual file systems."""
LONGEST_PATH = 3000
"""Bytes of a path that a user writes; Linux knows 4096 with the folder that it is in."""
SHOWN = 60
"""Characters of a senseless path that are shown."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it to ``path``.

    The temporary name keeps the suffix, because many writers choose their format by it. Who may read the file is for
    the user's umask to say.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(passing_name("writing", path.suffix))
    try:
        temporary.touch(0o666, exist_ok=False)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.filename is None or error.filename == str(temporary):  # a full disk names none
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder to a place where there is none; it appears there whole or not at all."""
    temporary = target.with_name(passing_name("copying", f"-{target.name}"))
    shutil.copytree(source, temporary)
    for path in (*temporary.rglob("*"), temporary):
        sync(path)
    temporary.rename(target)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; not-a-number is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` as CSV under a line of ``columns`` to ``path`` atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return :func:`hash_file` of a file, which is read once in a process as long as it stays as it is."""
    status = path.stat()
    return _hash_once(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=4096)
def _hash_once(path: Path, *state: int) -> str:
    """Return the hash of a file in the given state, which changes with every writing, also one that keeps the times."""
    return hash_file(path)


def is_whole_zip(path: Path) -> bool:
    """Return whether a ZIP archive, such as NumPy and PyTorch write, is as its checksums say; torch does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError):
        return False


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def user_path(text: str, where: str) -> Path:
    """Return the path that a user wrote, who may write ``~``.

    Args:
        text: what was written.
        where: the file or key that it stands in, for messages.

    Raises:
        UserError: there is no such user, or no file can be called so.
    """
    if "\0" in text:
        raise UserError(f"{text[:SHOWN]!r} cannot be a path", where, "Leave out the character NUL (\\0)")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0].removeprefix("~")
        raise UserError(f"{text[:SHOWN]}: there is no user {user!r}", where, "Write the path in full") from None
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        what = f"{text[:SHOWN]}...: no file can have a name of {longest} bytes"
        raise UserError(what, where, f"Use at most {LONGEST_NAME}")
    if len(os.fsencode(path)) > LONGEST_PATH:
        what = f"{text[:SHOWN]}...: no path can have {len(os.fsencode(path))} bytes"
        raise UserError(what, where, f"Use at most {LONGEST_PATH}")
    return path


def cache_folder() -> Path:
    """Return ``$DISTILL_CACHE``, else ``$XDG_CACHE_HOME/distill``, else ``~/.cache/distill``."""
    if own := os.environ.get("DISTILL_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "distill"
    return Path.home() / ".cache" / "distill"
