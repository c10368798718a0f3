"""Downloads from a server on this machine that fails in every way that servers do."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.base.errors import DistillError, UserError, WorkError
from distill.base.progress import Progress, Record
from distill.potentials.teachers.weights import BLOCK, Weights, cache_folder, fetch, reporting

CONTENT = random.Random(0).randbytes(3 * BLOCK + 17)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHANGED = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the content under several names, each with its own misbehaviour."""

    requests: list[str] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/missing.model":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/page.model" else "application/octet-stream")
        if self.path != "/unsized.model":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: BLOCK + 5] if self.path == "/truncated.model" else CONTENT)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of the server."""
    Handler.requests.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; proxies of the environment are not asked."""
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


def weights(url: str, sha256: str | None = SHA256, size: int | None = None) -> Weights:
    return Weights(url, "MIT", "PBE", sha256, size)


def by_hand(error: DistillError, url: str, folder: Path) -> bool:
    """Whether the message says from where, under which name and into which folder the file has to be put."""
    name = url.rpartition("/")[2]
    return url in str(error) and f"put the file {name} into {folder} by hand" in str(error)


def test_a_download_is_whole_and_counted(server: str, folder: Path) -> None:
    records: list[Record] = []

    class Shown(Progress):
        def publish(self, record: Record, force: bool = False) -> None:
            records.append(Record(**vars(record)))

    path = fetch(weights(f"{server}/good.model"), Shown())
    assert path == folder / "good.model" and path.read_bytes() == CONTENT
    assert records[0].total == round(len(CONTENT) / 1e6, 1) and records[-1].done == records[-1].total
    assert [r.done for r in records] == sorted(r.done for r in records) and len(records) >= 4
    assert records[-1].text().startswith("downloading good.model 0.8/0.8 megabytes")
    assert [p.name for p in folder.iterdir()] == ["good.model"]
    path.unlink()
    records.clear()
    with reporting(Shown()):
        fetch(weights(f"{server}/good.model"))
    assert len(records) >= 4


def test_the_second_use_needs_no_network(server: str) -> None:
    for _ in range(2):
        fetch(weights(f"{server}/good.model"))
    assert Handler.requests == ["/good.model"]


def test_a_file_put_there_by_hand_is_used(server: str, folder: Path) -> None:
    wanted = weights(f"{server}/good%20one.model?raw=true")
    assert wanted.state == "downloads" and wanted.path == folder / "good one.model"
    folder.mkdir()
    wanted.path.write_bytes(CONTENT)
    assert fetch(wanted).read_bytes() == CONTENT
    assert wanted.state == "cached" and Handler.requests == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "404"),
        ("truncated", f"{BLOCK + 5} of {len(CONTENT)} bytes"),
        ("page", "a web page"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(server: str, folder: Path, name: str, why: str) -> None:
    url = f"{server}/{name}.model"
    for sha256 in (SHA256, None):
        with pytest.raises(WorkError, match=why) as caught:
            fetch(weights(url, sha256))
        assert by_hand(caught.value, url, folder)
        assert list(folder.iterdir()) == []


def test_a_known_size_shows_that_an_unannounced_end_is_early(server: str) -> None:
    assert fetch(weights(f"{server}/unsized.model", size=len(CONTENT))).read_bytes() == CONTENT
    cache_folder().joinpath("unsized.model").unlink()
    with pytest.raises(WorkError, match="bytes arrived"):
        fetch(weights(f"{server}/unsized.model", size=len(CONTENT) + 1))


def test_other_content_is_refused(server: str, folder: Path) -> None:
    url = f"{server}/good.model"
    with pytest.raises(WorkError) as caught:
        fetch(weights(url, "0" * 64))
    assert SHA256 in str(caught.value) and "0" * 64 in str(caught.value) and by_hand(caught.value, url, folder)
    assert list(folder.iterdir()) == []


def test_a_cached_file_is_checked_at_every_use(server: str) -> None:
    wanted = weights(f"{server}/good.model")
    path = fetch(wanted)
    path.write_bytes(CHANGED)
    with pytest.raises(UserError) as caught:
        fetch(wanted)
    found = hashlib.sha256(CHANGED).hexdigest()
    assert found in str(caught.value) and SHA256 in str(caught.value) and str(path) in str(caught.value)


def test_without_a_published_checksum_the_first_one_counts(server: str, folder: Path) -> None:
    wanted = weights(f"{server}/good.model", sha256=None)
    path = fetch(wanted)
    assert (folder / "good.model.sha256").read_text().strip() == SHA256
    origin = wanted.origin()
    assert origin["sha256"] == SHA256 and origin["verified"] == "trusted on first use"
    assert weights(wanted.url).origin()["verified"] == "against a recorded SHA-256"
    fetch(wanted)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=r"good\.model\.sha256"):
        fetch(wanted)


def test_no_network_is_one_sentence(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/good.model"
    with pytest.raises(WorkError, match="refused") as caught:
        fetch(weights(url))
    assert by_hand(caught.value, url, folder)


def test_an_interrupted_download_starts_again(server: str, folder: Path) -> None:
    class Interrupting(Progress):
        def publish(self, record: Record, force: bool = False) -> None:
            if record.done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(weights(f"{server}/good.model"), Interrupting())
    assert list(folder.iterdir()) == []
    assert fetch(weights(f"{server}/good.model")).read_bytes() == CONTENT


def test_processes_do_not_disturb_each_other(server: str, folder: Path) -> None:
    """Four processes begin at once; each ends with the whole file."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        paths = pool.map(fetch, [weights(f"{server}/good.model", sha256=None)] * 4)
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert sorted(path.name for path in folder.iterdir()) == ["good.model", "good.model.sha256"]


def test_a_folder_that_cannot_be_written_is_named(server: str, folder: Path) -> None:
    folder.write_text("a file stands where the folder should be")
    with pytest.raises(UserError, match="DISTILL_CACHE"):
        fetch(weights(f"{server}/good.model"))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DISTILL_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "distill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "distill"


def test_state_tells_the_cost() -> None:
    assert weights("http://localhost/x", size=44_422_970).state == "downloads 44 MB"
