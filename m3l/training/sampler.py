"""The order in which a run visits its rows: a function of (seed, epoch) alone, whatever the number of ranks.

A run visits one endless line of places, epoch after epoch. Step `s` trains the places from `s * batch` on, cut into
cells. A cell, not a rank, is what is computed at once: the same cells give the same step on one rank or on many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """`rows` in a new order for each epoch; a step has `cells` cells of `cell` places each."""

    rows: int
    seed: int
    cell: int
    cells: int

    @property
    def batch(self) -> int:
        """The places of one step, over all ranks."""
        return self.cell * self.cells

    def steps(self, epochs: int) -> int:
        """Steps until every row was visited `epochs` times; the last one is filled up from the epoch after."""
        return -(-self.rows * epochs // self.batch)

    def row(self, place: int) -> int:
        """The row that stands at a place; each epoch holds every row once."""
        epoch, at = divmod(place, self.rows)
        return int(_permutation(self.rows, self.seed, epoch)[at])

    def numbers(self, rank: int, ranks: int) -> range:
        """The cells of every step that a rank computes."""
        return range(rank, self.cells, ranks)

    def first(self, step: int, number: int) -> int:
        """The first place of a cell."""
        return step * self.batch + number * self.cell

    def place(self, index: int, start: int, rank: int, ranks: int) -> int:
        """The place of the `index`th row that a rank visits from the step `start` on."""
        numbers = self.numbers(rank, ranks)
        steps, within = divmod(index, len(numbers) * self.cell)
        cell, at = divmod(within, self.cell)
        return self.first(start + steps, numbers[cell]) + at

    def pick(self, rows: Sequence[T], step: int, rank: int, ranks: int) -> list[list[T]]:
        """The cells of a step that a rank computes, from all rows in memory."""
        firsts = [self.first(step, number) for number in self.numbers(rank, ranks)]
        return [[rows[self.row(first + i)] for i in range(self.cell)] for first in firsts]


@lru_cache(maxsize=2)
def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(rows)
