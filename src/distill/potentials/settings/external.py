"""Which calculator or network of another package a potential asks, and where it runs."""

from __future__ import annotations

from distill.potentials.settings import PotentialSettings


class NetworkSettings(PotentialSettings):
    """A network in another interpreter, as its package has published it."""

    cutoff: float
    """Distance up to which its atoms see their neighbours, Å."""
    elements: list[int]
    """Atomic numbers that it knows."""
    parameters: dict[str, list[int]]
    """The shape of each of its parameters."""
    fixed: list[str]
    """Parameters that a fit does not change."""
    precision: str
    """Floating-point type that it was published in."""
    sha256: str
    """Of the file that its published weights are in."""


class ExternalSettings(PotentialSettings):
    """Where the calculator or the network is."""

    model: str = ""
    """Name of the model, as in a recipe; that of the row if empty."""
    file: str | None = None
    """File of weights or of Python code."""
    sha256: str = ""
    """Of that file."""
    function: str = ""
    """``module:function`` that returns the calculator, or the function alone where the file is a Python file."""
    environment: str | None = None
    """Python interpreter that it runs in; this one if null."""
    network: NetworkSettings | None = None
    """The network, where it is one that can be differentiated there; null for a calculator."""
