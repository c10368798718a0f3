"""A folder with the toy recipe and its data, and the command line over the toy stages as a subprocess."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import toy_stages

from distill.workflow.recipe import Recipe, load_recipe

TOY_CLI = str(Path(__file__).with_name("toy_cli.py"))


class Toy:
    """The toy recipe in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "toy.yaml"
        self.runs = folder / "runs"
        self.started: list[subprocess.Popen[str]] = []
        self.path.write_text(toy_stages.RECIPE)
        (folder / "numbers.txt").write_text("1 2 3")

    def load(self, *overrides: str) -> Recipe:
        """The recipe with values replaced, under the same name."""
        return load_recipe(self.path, ["name=toy", *overrides] if overrides else [], toy_stages.toy_stages())

    def trace(self) -> list[str]:
        """The pieces of work that were begun since the last look."""
        path = self.folder / "trace.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    @contextmanager
    def held(self, step: int) -> Iterator[None]:
        """Runs stand still within this step of their counting until the block is left."""
        hold = self.folder / "hold"
        part = hold.with_suffix(".part")
        part.write_text(str(step))
        part.rename(hold)
        yield
        hold.unlink()

    def steps_begun(self) -> int:
        """How many steps of counting were begun since the last look."""
        path = self.folder / "trace.txt"
        return path.read_text().count("step") if path.exists() else 0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line in the recipe's folder."""
        process = subprocess.Popen(
            [sys.executable, TOY_CLI, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run the command line to its end and return its status and everything it said."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 120.0) -> None:
        """Wait until something has happened."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.02)
