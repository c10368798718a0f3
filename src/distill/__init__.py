"""Distil an atomistic foundation model into a small, fast, validated interatomic potential for one material.

The public names are imported when they are first used, so that ``import distill`` is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "load_recipe": "distill.workflow.recipe:load_recipe",
    "plan": "distill.api:plan",
    "explain": "distill.api:explain",
    "run": "distill.api:run",
    "check": "distill.api:check",
    "evaluate": "distill.api:evaluate",
    "status": "distill.api:status",
    "sweep": "distill.api:sweep",
    "export": "distill.exports:export",
    "certify": "distill.certifying:certify",
    "md": "distill.simulation:md",
    "md_replicas": "distill.simulation:md_replicas",
    "gate": "distill.gating:gate",
    "search": "distill.api:search",
    "open_run": "distill.opening:open_run",
    "studies": "distill.studies",
    "load_potential": "distill.potentials.interface.saving:load",
    "Frames": "distill.structures.frames:Frames",
    "POTENTIALS": "distill.potentials:POTENTIALS",
    "STAGES": "distill.stages:STAGES",
    "UserError": "distill.base.errors:UserError",
    "WorkError": "distill.base.errors:WorkError",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
