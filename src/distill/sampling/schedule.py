"""In which order the proposals of a tree begin and count, so that a tree may have several walkers at once.

Proposals are numbered and counted in their order, whenever they end. How many may be under way at once grows with the
tree (:func:`window`). Proposal ``p`` sees the members that the tree had when the window first reached ``p``, which
depends on earlier proposals alone. So a tree becomes the same whether its proposals run one by one or all at once, in
any company, on any machine, and after any interruption.
"""

from __future__ import annotations

from typing import Generic, TypeVar

LARGEST_WINDOW = 32
STRUCTURES_PER_WALKER = 8
"""Proposals lag behind by about an eighth of the tree: over 1100 structures the mean generation falls from 8 to 7."""

Ended = TypeVar("Ended")


def window(grown: int) -> int:
    """Return how many proposals may be under way in a tree of ``grown`` structures, the seed not counted.

    One at first: a young tree would lose depth if its proposals did not see each other. Later a fraction of the tree.
    """
    return min(1 + grown // STRUCTURES_PER_WALKER, LARGEST_WINDOW)


class Schedule(Generic[Ended]):
    """The proposals of one tree: which have begun, which have ended, which count.

    Attributes:
        counted: proposals that count: also the number of the next one to count.
    """

    def __init__(self) -> None:
        self.counted = 0
        self._sees: list[int] = [0] * window(0)  # structures seen by each proposal within the window
        self._running: set[int] = set()
        self._ended: dict[int, Ended] = {}

    def open(self) -> int | None:
        """Return the number of the first proposal that may begin, or None while the window is full."""
        numbers = range(self.counted, self.counted + len(self._sees))
        return next((k for k in numbers if k not in self._running and k not in self._ended), None)

    def sees(self, number: int) -> int:
        """Return how many structures a proposal within the window sees, the seed not counted."""
        return self._sees[number - self.counted]

    def begin(self, number: int) -> None:
        """Mark a proposal as under way."""
        self._running.add(number)

    def end(self, number: int, ended: Ended) -> None:
        """Keep what became of a proposal until its turn to count."""
        self._running.discard(number)
        if number >= self.counted:
            self._ended[number] = ended

    def next(self) -> Ended | None:
        """Return what became of the next proposal to count, or None where it has not ended."""
        return self._ended.get(self.counted)

    def count(self, grown: int) -> None:
        """Count the next proposal; the tree has ``grown`` structures after it."""
        del self._ended[self.counted]
        self.counted += 1
        del self._sees[0]
        self._sees += [grown] * (window(grown) - len(self._sees))

    def waiting(self) -> list[Ended]:
        """Return what became of the proposals that have ended and do not count yet."""
        return list(self._ended.values())

    @property
    def running(self) -> int:
        """How many proposals are under way."""
        return len(self._running)
