"""The axes along which AdamW fits an expansion: what tells like functions apart is learnt as fast as the rest."""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array


class Axes:
    """The eigenvectors of the gradients' second moments, along which AdamW works.

    AdamW gives every coefficient a pace of its own. Functions of an expansion resemble each other, so that what is
    steep and what is flat are sums and differences of them; along the eigenvectors each has its own pace (SOAP, Vyas et
    al., arXiv:2409.11321, for a single vector). They are found again at the beginning of every epoch.

    Args:
        moments: running mean of the products of the gradient's components, ``[C, C]``.
        weight: of the gradients in it; 1 - weight is that of the zeros that it began with.

    Class attributes:
        MEMORY: decay of the running means.
        SMALLEST: size of the gradient, relative to the largest, along what counts as flat.
    """

    MEMORY = 0.99
    SMALLEST = 1e-4

    def __init__(self, moments: Array, weight: float) -> None:
        values, self.vectors = np.linalg.eigh(moments / weight)
        self.squares = np.maximum(values, 0.0)  # running mean of the squared gradient along each

    def step(self, gradient: Array, mean: Array) -> Array:
        """Return the step for a learning rate of 1, from the gradient and its running mean, ``[C]`` each.

        Along flat directions, where there is little but noise, a step is limited by a share of the steepest one's size.
        """
        along = self.vectors.T @ gradient
        self.squares = self.MEMORY * self.squares + (1 - self.MEMORY) * along**2
        sizes = np.sqrt(self.squares)
        smallest = self.SMALLEST * sizes.max() + np.finfo(float).tiny
        step: Array = self.vectors @ ((self.vectors.T @ mean) / (sizes + smallest))
        return step
