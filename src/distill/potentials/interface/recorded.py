"""A function of tensors that is recorded as a CUDA graph and replayed.

A step of a small system takes a GPU less time than the processor needs to start its kernels; replayed, they start at
once. On a processor the function is called.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from distill.base.errors import WorkError

WARM_UP = 3
"""Calls before a graph is recorded: kernels are chosen, compiled code is made."""

ALIKE = 1e-3
"""Largest difference from what was not recorded, relative to the largest value: rounding gives 1e-5."""


class Recorded:
    """A function whose calls are replayed.

    Args:
        function: of tensors whose shapes never change. What it reads besides stays where it is in memory, and it never
            waits for the device.

    Attributes:
        recordings: how many graphs were recorded so far.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self.recordings = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()

    def forget(self) -> None:
        """Record anew at the next call: what the function reads besides its arguments is elsewhere now."""
        self._graph = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the function does, as new tensors.

        Raises:
            WorkError: the recorded function does not give what the function does.
        """
        if not inputs[0].is_cuda:
            return self.function(*inputs)
        graph = self._graph or self._record(inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        graph.replay()
        return tuple(one.clone() for one in self._outputs)

    def _record(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        """Record the function, and compare what the graph gives with it."""
        self.recordings += 1
        self._inputs = tuple(one.clone() for one in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                expected = self.function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self.function(*self._inputs)
        self._graph.replay()
        for found, one in zip(self._outputs, expected, strict=True):
            if bool((found - one).abs().max() > ALIKE * one.abs().max()):
                raise WorkError(
                    "a step recorded for the GPU is not the step", remedy="Run on the processor, and tell us"
                )
        return self._graph
