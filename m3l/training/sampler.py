"""The order in which a run visits its rows: a function of seed and epoch alone, whatever the number of ranks.

A run visits an endless sequence of positions, one epoch after the other. Each step trains the next `rows_per_step` of
them, cut into microbatches. A microbatch, not a rank, is what is computed at once: the same microbatches give the same
step on one rank or on several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class ResumableSampler:
    """Which row every position of a run holds, and which positions every rank computes.

    Attributes:
        rows: Number of rows in an epoch; each epoch has a new permutation of them.
        seed: Seed of the permutations.
        microbatch_size: Positions in a microbatch.
        microbatches: Microbatches in a step, over all ranks.
    """

    rows: int
    seed: int
    microbatch_size: int
    microbatches: int

    @property
    def rows_per_step(self) -> int:
        """Positions of a step, over all ranks."""
        return self.microbatch_size * self.microbatches

    def num_steps(self, epochs: int) -> int:
        """Steps until every row was visited `epochs` times; the last step is filled up from the next epoch."""
        return -(-self.rows * epochs // self.rows_per_step)

    def row_at(self, position: int) -> int:
        """The index of the row at a position."""
        epoch, index = divmod(position, self.rows)
        return int(_permutation(self.rows, self.seed, epoch)[index])

    def microbatches_of(self, rank: int, world_size: int) -> range:
        """The indices of the microbatches that a rank computes in every step."""
        return range(rank, self.microbatches, world_size)

    def first_position(self, step: int, microbatch: int) -> int:
        """The first position of a step's microbatch."""
        return step * self.rows_per_step + microbatch * self.microbatch_size

    def position(self, index: int, first_step: int, rank: int, world_size: int) -> int:
        """The position of the `index`-th row that a rank visits from the step `first_step` on."""
        microbatches = self.microbatches_of(rank, world_size)
        steps, within_step = divmod(index, len(microbatches) * self.microbatch_size)
        microbatch, offset = divmod(within_step, self.microbatch_size)
        return self.first_position(first_step + steps, microbatches[microbatch]) + offset

    def take(self, rows: Sequence[T], step: int, rank: int, world_size: int) -> list[list[T]]:
        """The microbatches of a step that a rank computes, out of all rows of the training in memory."""
        firsts = [self.first_position(step, microbatch) for microbatch in self.microbatches_of(rank, world_size)]
        return [[rows[self.row_at(first + i)] for i in range(self.microbatch_size)] for first in firsts]


@lru_cache(maxsize=2)
def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(rows)
