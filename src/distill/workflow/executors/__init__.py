"""The executors: where tasks run. Adding an executor is one file and one line here."""

from __future__ import annotations

from distill.base.registry import Registry

EXECUTORS = Registry("executor", {"local": "distill.workflow.executors.local:Local"})
