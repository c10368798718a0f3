"""What is recorded of the packages that results depend on."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import PackageNotFoundError

import pytest

from distill.workflow import machine
from distill.workflow.machine import OPTIONAL, OWN, PACKAGES, versions


def test_a_source_tree_that_is_not_installed_has_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name in (OWN, "chgnet"):
            raise PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(importlib.metadata, "version", installed)
    machine._installed.cache_clear()
    found = versions()
    machine._installed.cache_clear()
    assert found[OWN] == "unknown (source tree)"
    others = [p for p in (*PACKAGES[1:], *OPTIONAL) if p != "chgnet"]
    assert found == {OWN: "unknown (source tree)"} | dict.fromkeys(others, "1.2")
