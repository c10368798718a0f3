"""Whether a folder is the artifact that its manifest describes: the right task's, whole, and as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, cast

from distill.base.artifact import Manifest
from distill.base.files import content_hash
from distill.base.sealed import DamagedError, read_sealed

MANIFEST = "manifest.json"


class Keyed(Protocol):
    """Whatever names an artifact: a task or a submission."""

    @property
    def stage(self) -> str:
        """The stage's name."""

    @property
    def hash(self) -> str:
        """The task's hash."""


def changed_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names among ``files``, as a manifest has them, of those in ``folder`` that are others or not there."""

    def changed(name: str) -> bool:
        try:
            return content_hash(folder / name) != files[name]["sha256"]
        except OSError:
            return True

    with ThreadPoolExecutor() as pool:
        return tuple(name for name, bad in zip(files, pool.map(changed, files), strict=True) if bad)


def read_manifest(folder: Path, key: Keyed) -> Manifest | None:
    """Return the manifest in ``folder`` if it is that of ``key`` and the files are there in full length, else None."""
    try:
        manifest = cast(Manifest, read_sealed(folder / MANIFEST))
        sizes = {name: (folder / name).stat().st_size for name in manifest["files"]}
    except (OSError, DamagedError):
        return None
    whole = manifest["hash"] == key.hash
    return manifest if whole and all(size == manifest["files"][name]["bytes"] for name, size in sizes.items()) else None


def has_origin(path: Path, origin: Mapping[str, Any]) -> bool:
    """Return whether a manifest, or what a work folder says of itself, names this origin."""
    try:
        said = read_sealed(path)
    except (OSError, DamagedError):
        return False
    return all(said.get(name) == value for name, value in origin.items())
