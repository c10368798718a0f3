"""Sealed files: no bit of one changes without being noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.base.sealed import DamagedError, read_sealed, write_sealed

VALUE = {"name": "Å", "numbers": [1, -0.5, 1e-05, None, True], "nested": {"empty": {}, "text": 'a "seal": ""'}}


def test_it_is_json_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_sealed(path, VALUE)
    assert read_sealed(path) == VALUE
    assert list(json.loads(path.read_text())) == [*VALUE, "seal"]


def test_every_bit_counts(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_sealed(path, VALUE)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedError):
            read_sealed(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"null\n", b'{"a": 1, "seal": ""}\n', b"\xff" * 300, b'"seal": "'])
def test_what_was_never_sealed_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"value\.json is not as it was written"):
        read_sealed(path)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_sealed(path, VALUE)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_sealed(path)
