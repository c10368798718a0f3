"""The store: finished artifacts by content hash. An artifact is there whole, with its manifest, or not at all.

``<store>/<stage>/<hash>/`` is made aside, in ``.<hash>.work/``, flushed to disk and renamed when complete. The work
folder outlives a kill, so that the next attempt continues from what the stage left there. A lock, held by the process
that works, keeps two runs from doing the same task at once; it ends with that process.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from distill.base.artifact import Manifest
from distill.base.errors import WorkError
from distill.base.files import Json, hash_file, read_json, sync, write_json
from distill.base.locks import Attempt, foreign_holder, soft_file, try_lock

MANIFEST = "manifest.json"
LOG = "log.txt"
ORIGIN = "origin.json"
"""In a work folder: versions of the packages that work there, and the key by which a task is resumed."""
DIGITS = 16
"""Digits of the hash in a folder's name; the manifest holds all 64."""


class Keyed(Protocol):
    """Whatever names an artifact: a task or a submission."""

    @property
    def stage(self) -> str:
        """The stage's name."""

    @property
    def hash(self) -> str:
        """The task's hash."""


class Store:
    """Artifacts below one folder.

    Args:
        root: the folder; made when the first artifact is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def artifact(self, key: Keyed) -> Path:
        """Return the folder of a finished artifact, whether or not it is there."""
        return self.root / key.stage / key.hash[:DIGITS]

    def work(self, key: Keyed) -> Path:
        """Return the work folder: ``out/`` for the stage, ``log.txt``, ``progress.json``, ``failed.json``."""
        return self.root / key.stage / f".{key.hash[:DIGITS]}.work"

    def manifest(self, key: Keyed) -> Manifest | None:
        """Return an artifact's manifest, or None unless the artifact is whole."""
        folder = self.artifact(key)
        try:
            manifest: Manifest = read_json(folder / MANIFEST)
            sizes = {name: (folder / name).stat().st_size for name in manifest["files"]}
        except (OSError, json.JSONDecodeError, KeyError, TypeError):
            return None
        whole = manifest.get("hash") == key.hash
        whole = whole and all(size == manifest["files"][name]["bytes"] for name, size in sizes.items())
        return manifest if whole else None

    def has(self, key: Keyed) -> bool:
        """Return whether the artifact exists and is whole."""
        return self.manifest(key) is not None

    def is_interrupted(self, key: Keyed) -> bool:
        """Return whether an unfinished attempt left something to continue from."""
        return (self.work(key) / "out").is_dir()

    def is_running(self, key: Keyed) -> bool:
        """Return whether some process works on the artifact now."""
        path = self._lock_file(key)
        if not path.exists() and not soft_file(path).exists():
            return False
        with self._try_lock(key) as attempt:
            return not attempt.locked

    def foreign_holder(self, key: Keyed) -> str:
        """Return which other run works on the artifact, and since when; empty where none does."""
        return foreign_holder(self._lock_file(key))

    def resumable_from(self, key: Keyed, origin: Mapping[str, Any]) -> tuple[Path, ...]:
        """Return the output folders of other tasks with the same resume key and versions, finished or interrupted."""
        if not origin["kin"]:
            return ()
        own = {self.artifact(key), self.work(key)}
        found = []
        for folder in sorted(self.root.glob(f"{key.stage}/[0-9a-f]*")) + sorted(self.root.glob(f"{key.stage}/.*.work")):
            working = folder.suffix == ".work"
            try:
                theirs = read_json(folder / (ORIGIN if working else MANIFEST))
            except (OSError, json.JSONDecodeError):
                continue
            if folder not in own and all(theirs.get(name) == value for name, value in origin.items()):
                found.append(folder / "out" if working else folder)
        return tuple(found)

    @contextmanager
    def lock(self, key: Keyed, poll_s: float = 0.2) -> Iterator[Attempt]:
        """Hold the artifact's lock, waiting for whoever has it."""
        while True:
            with self._try_lock(key) as attempt:
                if attempt.locked:
                    yield attempt
                    return
            time.sleep(poll_s)

    def _try_lock(self, key: Keyed) -> AbstractContextManager[Attempt]:
        return try_lock(self._lock_file(key))

    def _lock_file(self, key: Keyed) -> Path:
        return self.root / key.stage / f".{key.hash[:DIGITS]}.lock"

    def promote(self, key: Keyed, manifest: Manifest) -> Manifest:
        """Turn the work folder's ``out/`` into the artifact, and return the manifest as it was written.

        Every file is hashed and flushed; the manifest is written last and the folder renamed after it. Numbers of the
        manifest that are not finite become null.
        """
        work, final = self.work(key), self.artifact(key)
        out = work / "out"
        if (work / LOG).exists():
            (work / LOG).replace(out / LOG)
        files = {}
        for path in sorted(p for p in out.rglob("*") if p.is_file()):
            files[str(path.relative_to(out))] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
            sync(path)
        for folder in [p for p in out.rglob("*") if p.is_dir()]:
            sync(folder)
        written = cast(Manifest, plain({**manifest, "hash": key.hash, "files": files}))
        write_json(out / MANIFEST, written)
        sync(out)
        self._remove(final)
        out.rename(final)
        sync(final.parent)
        self._remove(work)
        return written

    def discard(self, key: Keyed) -> None:
        """Remove an artifact and what an unfinished attempt left; raises :class:`WorkError` while it is worked on."""
        with self._try_lock(key) as attempt:
            if not attempt.locked:
                remedy = " ".join(filter(None, ["Wait for it, or stop it", self.foreign_holder(key)]))
                raise WorkError(f"another run is working on {key.stage}", remedy=remedy)
            self._remove(self.artifact(key))
            self._remove(self.work(key))

    @staticmethod
    def _remove(folder: Path) -> None:
        """Delete a folder; it is renamed first, so that nobody sees half of it."""
        trash = folder.with_name(f".trash-{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)


def plain(value: object) -> Json:
    """Return ``value`` as JSON has it: arrays become lists, and numbers that are not finite become null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
