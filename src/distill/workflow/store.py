"""The store: finished artifacts by content hash. An artifact is there whole, with its manifest, or not at all.

``<store>/<stage>/<hash>/`` is made aside, in ``.<hash>.work/``, flushed to disk and renamed when complete. The work
folder outlives a kill, so that the next attempt continues from what the stage left there. A lock, held by the process
that works, keeps two runs from doing the same task at once; it ends with that process.

The manifest has the SHA-256 of every file and a seal of its own: who reads an artifact can tell whether it is as it was
written, and a damaged one counts as absent.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from distill.base.artifact import Manifest
from distill.base.errors import WorkError
from distill.base.files import Json, hash_file, sync
from distill.base.leftovers import remove, remove_at_once, sweep
from distill.base.locks import Attempt, foreign_holder, is_held, sweep_signatures, try_lock
from distill.base.sealed import DamagedError, read_sealed, write_sealed
from distill.workflow.manifest import MANIFEST, Keyed, changed_files, has_origin, read_manifest

LOG = "log.txt"
ORIGIN = "origin.json"
"""In a work folder: versions of the packages that work there, and the key by which a task is resumed."""
DAMAGED = "damaged"
"""In a work folder: what is left of an artifact of which a part was damaged."""
DIGITS = 16
"""Digits of the hash in a folder's name; the manifest holds all 64."""


class Store:
    """Artifacts below one folder.

    Args:
        root: the folder; made when the first artifact is.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))  # also where links lead round in a circle

    def artifact(self, key: Keyed) -> Path:
        """Return the folder of a finished artifact, whether or not it is there."""
        return self.root / key.stage / key.hash[:DIGITS]

    def work(self, key: Keyed) -> Path:
        """Return the work folder: ``out/`` for the stage, ``log.txt``, ``progress.json``, ``failed.json``."""
        return self.root / key.stage / f".{key.hash[:DIGITS]}.work"

    def manifest(self, key: Keyed) -> Manifest | None:
        """Return an artifact's manifest, or None unless the artifact is whole; the content of files is not read."""
        return read_manifest(self.artifact(key), key)

    def has(self, key: Keyed) -> bool:
        """Return whether the artifact exists and is whole."""
        return self.manifest(key) is not None

    def damaged(self, key: Keyed) -> tuple[str, ...]:
        """Return what of an artifact that is there is not as it was written: names of files, by their content too."""
        folder = self.artifact(key)
        manifest = read_manifest(folder, key)
        if manifest is None:
            return (MANIFEST,) if folder.exists() else ()
        return changed_files(folder, manifest["files"])

    def damaged_below(self, path: Path) -> tuple[Path, ...]:
        """Return the files at or below ``path``, a part of an artifact or all of it, that are not as they were written.

        A path that is in no artifact has none.
        """
        if not path.is_relative_to(self.root):
            return ()
        stage, digits, *parts = path.relative_to(self.root).parts
        folder, within = self.root / stage / digits, Path(*parts)
        try:
            files = read_sealed(folder / MANIFEST)["files"]
        except (OSError, DamagedError):
            return (folder / MANIFEST,)
        wanted = {name: said for name, said in files.items() if Path(name).is_relative_to(within) and name != LOG}
        return tuple(folder / name for name in changed_files(folder, wanted))

    def sound(self, key: Keyed) -> Manifest | None:
        """Return an artifact's manifest if every file that anybody reads is as it was written, else None."""
        return self.looked_through(key)[0]

    def looked_through(self, key: Keyed) -> tuple[Manifest | None, tuple[str, ...]]:
        """Return what :meth:`sound` and :meth:`damaged` do, of one look at the artifact."""
        damaged = self.damaged(key)
        return None if set(damaged) - {LOG} else self.manifest(key), damaged

    def is_interrupted(self, key: Keyed) -> bool:
        """Return whether an unfinished attempt left something to continue from."""
        return (self.work(key) / "out").is_dir()

    def is_running(self, key: Keyed) -> bool:
        """Return whether some process works on the artifact now, as far as can be told without a lock."""
        return is_held(self._lock_file(key))

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
            if folder not in own and has_origin(folder / (ORIGIN if working else MANIFEST), origin):
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
        work = self.work(key)
        out = work / "out"
        sweep(out, alone=True)
        (out / MANIFEST).unlink(missing_ok=True)
        if (work / LOG).exists():
            (work / LOG).replace(out / LOG)
        files = {}
        for path in sorted(p for p in out.rglob("*") if p.is_file()):
            files[str(path.relative_to(out))] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
            sync(path)
        for folder in [p for p in out.rglob("*") if p.is_dir()]:
            sync(folder)
        written = cast(Manifest, plain({**manifest, "hash": key.hash, "files": files}))
        write_sealed(out / MANIFEST, written)
        self._take_over(key)
        return written

    def finish(self, key: Keyed) -> Manifest | None:
        """Make the artifact of a work folder to which only the last step is missing, as after a kill; None otherwise.

        A manifest is written when all else is there, so one that describes its folder says that the work is done.
        """
        out = self.work(key) / "out"
        manifest = read_manifest(out, key)
        if manifest is None or changed_files(out, manifest["files"]):
            with suppress(FileNotFoundError):
                (out / MANIFEST).unlink()
            return None
        self._take_over(key)
        return manifest

    def _take_over(self, key: Keyed) -> None:
        """Rename a finished ``out/``; what else is in the work folder disappears at once."""
        final = self.artifact(key)
        out = self.work(key) / "out"
        sync(out)
        remove_at_once(final)
        out.rename(final)
        sync(final.parent)
        self.clear(key)

    def clear(self, key: Keyed) -> None:
        """Remove what an attempt left to continue from."""
        remove_at_once(self.work(key))

    def set_aside(self, key: Keyed, origin: Mapping[str, Any]) -> tuple[Path, ...]:
        """Take a damaged artifact away; return the folder of its other files where the work can be continued from them.

        It is used as those of :meth:`resumable_from` are: a damaged table does not cost all that has been grown. Of a
        folder in it nothing is left where one file is damaged.
        """
        folder, kept = self.artifact(key), self.work(key) / DAMAGED
        if origin["kin"] and has_origin(folder / MANIFEST, origin):
            for name in changed_files(folder, read_sealed(folder / MANIFEST)["files"]):
                remove(folder / Path(name).parts[0])
            remove_at_once(kept)
            kept.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(kept)
        remove_at_once(folder)
        return (kept,) if kept.exists() else ()

    def discard(self, key: Keyed) -> None:
        """Remove an artifact and what an unfinished attempt left; raises :class:`WorkError` while it is worked on."""
        with self._try_lock(key) as attempt:
            if not attempt.locked:
                remedy = " ".join(filter(None, ["Wait for it, or stop it", self.foreign_holder(key)]))
                raise WorkError(f"another run is working on {key.stage}", remedy=remedy)
            remove_at_once(self.artifact(key))
            self.clear(key)

    def sweep(self) -> None:
        """Remove what killed runs left for good: half-deleted folders, and work folders whose artifact is there."""
        with suppress(OSError):
            for stage in [path for path in self.root.iterdir() if path.is_dir()]:
                sweep(stage)
                sweep_signatures(stage)
                for work in stage.glob(".*.work"):
                    self._clear_finished(stage, work.name[1:].removesuffix(".work"))

    def _clear_finished(self, stage: Path, digits: str) -> None:
        if not (stage / digits / MANIFEST).exists():
            return
        with try_lock(stage / f".{digits}.lock") as attempt:
            if attempt.locked:
                remove_at_once(stage / f".{digits}.work")


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
