"""Runs in a real kernel: one output that is drawn anew, one line for an interrupt, one sentence for an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from toy_folder import Toy

import distill

pytestmark = pytest.mark.slow

SOURCES = str(Path(distill.__file__).parents[1])
PREPARE = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {SOURCES!r}]
import distill
from toy_stages import toy_stages
from distill.workflow.recipe import load_recipe
assert "IPython" in sys.modules
"""
RUN = "distill.run(load_recipe('toy.yaml', [{overrides}], toy_stages()), device='cpu')"


@dataclass
class Answer:
    """What a cell answered.

    Attributes:
        shown: the outputs, by their ids, each as its last drawing has it.
        drawings: how many drawings there were.
        text: what was written to the standard streams.
        result: the text of the last expression.
        traceback: the lines of an error.
    """

    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    drawings: int = 0
    text: str = ""
    result: str = ""
    traceback: list[str] = field(default_factory=list)


class Kernel:
    """A kernel in a toy's folder."""

    def __init__(self, toy: Toy) -> None:
        self.manager = KernelManager(transport="ipc", ip=str(toy.folder / "socket"), kernel_name="python3")
        self.manager.start_kernel(cwd=str(toy.folder), env=dict(os.environ))
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def begin(self, code: str) -> str:
        """Send a cell and return its id."""
        return str(self.client.execute(code))

    def answer(self, cell: str) -> Answer:
        """Wait for the end of a cell."""
        answer = Answer()
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if kind in ("display_data", "update_display_data"):
                answer.shown[content["transient"]["display_id"]] = content["data"]
                answer.drawings += 1
            elif kind == "stream":
                answer.text += content["text"]
            elif kind == "execute_result":
                answer.result = content["data"]["text/plain"]
            elif kind == "error":
                answer.traceback = content["traceback"]
            elif kind == "status" and content["execution_state"] == "idle":
                return answer

    def run(self, *overrides: str) -> Answer:
        """Run the toy recipe in a cell."""
        return self.answer(self.begin(RUN.format(overrides=", ".join(map(repr, overrides)))))

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(toy: Toy) -> Iterator[Kernel]:
    kernel = Kernel(toy)
    assert kernel.answer(kernel.begin(PREPARE)).traceback == []
    yield kernel
    kernel.stop()


def test_a_run_has_one_output_and_writes_nothing_beside_it(kernel: Kernel) -> None:
    first = kernel.run()
    (shown,) = first.shown.values()
    assert first.text == "" and first.drawings >= 2 and first.result.startswith("Run(")
    text = shown["text/plain"]
    assert text.startswith("12 of 12 tasks are done") and "warning: read: only a toy" in text
    assert shown["text/html"].count("<br>") < 12, "a short summary"
    again = kernel.run()
    assert again.shown == {} and again.text == ""
    bad = kernel.run("count.stepz=3")
    assert len(bad.traceback) == 1 and bad.traceback[0].startswith("UserError: ")


def test_an_interrupted_cell_says_one_line_and_goes_on_when_it_is_run_again(kernel: Kernel, toy: Toy) -> None:
    with toy.held(2):
        cell = kernel.begin(RUN.format(overrides=""))
        toy.wait_for(lambda: toy.steps_begun() == 3)
        kernel.manager.interrupt_kernel()
        stopped = kernel.answer(cell)
    assert stopped.traceback == ["Interrupted. Nothing is lost: the same command continues where this one stood."]
    assert len(stopped.shown) == 1 and stopped.text == ""
    toy.trace()
    assert kernel.run().traceback == []
    steps = [line for line in toy.trace() if line.startswith("step")]
    assert steps == ["step 2", "step 3"], "what was done is not done again"
