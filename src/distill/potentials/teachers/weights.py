"""Published weights: where they are from, the folder that keeps them, and the check before they are used.

A file is fetched once, into ``$DISTILL_CACHE``, and compared with a recorded SHA-256 every time before it is read,
because most published weights are pickles, which run code when they are loaded. Those without a known SHA-256 (Orb,
MatterSim) are read as numbers alone, and trusted on first use. A file that the user put into the
folder by hand is as good as one that was downloaded.

The standard library does it, because pooch would not do with less: it replaces a file whose content is not the recorded
one by a download without a word, keeps a web page that comes instead of a file without a checksum, and counts blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from distill.base.errors import UserError, WorkError
from distill.base.files import cache_folder, hash_file, replacing, write_text
from distill.base.progress import Progress

TIMEOUT = 60
"""Seconds without a byte after which a download is given up."""
BLOCK = 1 << 18
"""Bytes read at a time."""
FIRST_USE = "trusted on first use"
"""What is said of a file whose authors publish no SHA-256: that of the first download is recorded and compared with."""


@dataclass(frozen=True)
class Weights:
    """One published file.

    Attributes:
        url: where it is downloaded from.
        licence: of the weights.
        level_of_theory: what they were fitted to.
        sha256: of its content, 64 hexadecimal digits; None where none is known.
        size: in bytes, None where unknown.
    """

    url: str
    licence: str
    level_of_theory: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The name of the file, as a browser would save it."""
        return unquote(Path(urlsplit(self.url).path).name)

    @property
    def path(self) -> Path:
        """Where it is kept on this machine, whether it is there or not."""
        return cache_folder() / self.name

    @property
    def state(self) -> str:
        """``"cached"``, or what using it costs: ``"downloads 44 MB"``."""
        if self.path.is_file():
            return "cached"
        return "downloads" if self.size is None else f"downloads {self.size / 1e6:.0f} MB"

    def origin(self) -> dict[str, str]:
        """Return what a potential says of its fetched weights: URL, SHA-256, how that was verified, licence."""
        known = self.sha256 is not None
        return {
            "weights": self.url,
            "sha256": self.sha256 or hash_file(self.path),
            "verified": "against a recorded SHA-256" if known else FIRST_USE,
            "licence": self.licence,
            "level_of_theory": self.level_of_theory,
        }


_PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Let every download inside the ``with`` block report to ``progress``, however deep it is called."""
    token = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def fetch(weights: Weights, progress: Progress | None = None) -> Path:
    """Return the file of published weights, downloaded if need be and checked in any case.

    An interrupted download leaves nothing behind and starts again; processes that download at the same time do not
    disturb each other. Where no checksum was published, the first one seen is recorded beside the file
    (``<file>.sha256``), and later uses are compared with it.

    Args:
        weights: what is wanted.
        progress: where to report the megabytes of a download; by default to that of :func:`reporting`.

    Raises:
        UserError: the file that is there is not what it should be, or the folder cannot be written.
        WorkError: the download failed; the message names the address, the file and the folder to put it into by hand.
    """
    path = weights.path
    if not path.is_file():
        _download(weights, path, progress or _PROGRESS.get() or Progress())
    _verify(weights, path)
    return path


def _download(weights: Weights, path: Path, progress: Progress) -> None:
    """Write the file to ``path``, whole and checked, or not at all."""
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                for block in _blocks(weights, progress):
                    file.write(block)
            found = hash_file(temporary)
            if weights.sha256 not in (None, found):
                raise _failed(weights, f"it has the SHA-256 {found}, expected is {weights.sha256}")
    except OSError as error:
        where, remedy = str(path.parent), "Make room or make it writable, or set DISTILL_CACHE to another folder"
        raise UserError(f"the weights cannot be stored ({error})", where, remedy) from error


def _blocks(weights: Weights, progress: Progress) -> Iterator[bytes]:
    """Yield the content piece by piece; raises :class:`WorkError` unless all of it arrives."""
    try:
        request = Request(weights.url, headers={"User-Agent": "mlip-distill", "Accept": "*/*"})
        with urlopen(request, timeout=TIMEOUT) as response:
            if response.headers.get_content_type() == "text/html":
                raise _failed(weights, "a web page came instead of the file")
            announced = response.headers.get("Content-Length")
            total, done = int(announced) if announced else weights.size, 0
            with progress.phase(f"downloading {weights.name}", _megabytes(total or 0), "megabyte") as phase:
                while block := response.read(BLOCK):
                    yield block
                    done += len(block)
                    phase.update(_megabytes(done))
            if total not in (None, done):
                raise _failed(weights, f"{done} of {total} bytes arrived")
    except HTTPError as error:
        raise _failed(weights, f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:  # an unknown host, a refused or lost connection, a time-out
        raise _failed(weights, str(getattr(error, "reason", "") or error or type(error).__name__)) from error


def _megabytes(size: int) -> float:
    return round(size / 1e6, 1)


def _failed(weights: Weights, why: str) -> WorkError:
    """Return the error of a failed download, which says how to do it by hand."""
    return WorkError(
        f"the download failed: {why}",
        where=weights.url,
        remedy=f"Try again, or put the file {weights.name} into {weights.path.parent} by hand",
    )


def _verify(weights: Weights, path: Path) -> None:
    """Refuse a file that is not the recorded one; record the checksum of a file that is seen for the first time."""
    record = path.with_name(f"{path.name}.sha256")
    found = hash_file(path)
    expected = weights.sha256
    if expected is None and record.is_file():
        expected = record.read_text(encoding="utf-8").strip()
    if expected is None:
        write_text(record, f"{found}\n")
    elif found != expected:
        known = "the recorded SHA-256" if re.fullmatch("[0-9a-f]{64}", expected) else "the damaged record"
        raise UserError(
            f"the file has the SHA-256 {found}, {known} is {expected}",
            where=str(path),
            remedy=f"Delete it{'' if weights.sha256 else f' and {record.name}'}, and it is fetched again from "
            f"{weights.url}",
        )
