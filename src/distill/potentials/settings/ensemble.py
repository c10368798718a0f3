"""What is saved of an ensemble besides its members."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from distill.potentials.settings import PotentialSettings


class EnsembleSettings(PotentialSettings):
    """Names and weights of the members."""

    members: tuple[str, ...] = Field((), strict=False)
    """Names, which are those of the folders that they are saved in."""
    shares: tuple[float, ...] = Field((), strict=False)
    """The weight of each in the mean; they add up to 1."""

    @model_validator(mode="after")
    def _weights_of_a_mean(self) -> Self:
        if len(self.members) != len(self.shares) or any(share < 0 for share in self.shares):
            raise ValueError("every member has one weight, which is not negative")
        if self.shares and abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError("the weights add up to 1")
        return self
