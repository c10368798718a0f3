"""Decay towards the weights that a fit starts from, instead of towards zero: a fine-tuned model stays near its base.

It is the L2-SP penalty (X. Li et al., ICML 2018, arXiv:1802.01483) in the decoupled form that AdamW gives to weight
decay (I. Loshchilov and F. Hutter, ICLR 2019): after every step with learning rate η, each weight w goes the share η λ
of its way back to its start w₀, w ← w − η λ (w − w₀), whatever the size of its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def pull_to_start(
    optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], start: Sequence[Tensor], strength: float
) -> None:
    """Let every step of ``optimiser`` end with a pull of the parameters towards where they started.

    Args:
        optimiser: changed in place; all groups have the same schedule of learning rates.
        parameters: what it fits.
        start: their values before the fit, which need not be those at present: an interrupted fit continues.
        strength: λ, the pull per step in units of the learning rate of the parameter's group.
    """
    home = {id(p): value for p, value in zip(parameters, start, strict=True)}

    @torch.no_grad()
    def pull(stepped: torch.optim.Optimizer, *_: Any) -> None:
        for group in stepped.param_groups:
            share = min(1.0, float(group["lr"]) * strength)
            for p in group["params"]:
                home[id(p)] = home[id(p)].to(p.device)
                p.lerp_(home[id(p)], share)

    optimiser.register_step_post_hook(pull)
