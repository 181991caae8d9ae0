"""The sampler visits every row once per epoch, in the same steps on any number of ranks, from any step on."""

from collections import Counter

import pytest

from m3l.training.sampler import ResumableSampler

SAMPLER = ResumableSampler(rows=23, seed=7, microbatch_size=3, microbatches=4)


def visited(sampler: ResumableSampler, first_step: int, steps: int, world_size: int) -> list[list[int]]:
    """The positions that each step visits, rank after rank."""
    per_rank = [len(sampler.microbatches_of(rank, world_size)) * sampler.microbatch_size for rank in range(world_size)]
    return [
        [
            sampler.position(step * count + i, first_step, rank, world_size)
            for rank, count in enumerate(per_rank)
            for i in range(count)
        ]
        for step in range(steps)
    ]


def flat(steps: list[list[int]]) -> list[int]:
    return [position for step in steps for position in step]


def test_each_epoch_holds_every_row_once_in_a_new_order() -> None:
    epochs = [[SAMPLER.row_at(position) for position in range(23 * e, 23 * e + 23)] for e in range(3)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[1] == [ResumableSampler(23, 7, 5, 1).row_at(position) for position in range(23, 46)]
    assert epochs[1] != [ResumableSampler(23, 8, 3, 4).row_at(position) for position in range(23, 46)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_a_step_has_the_same_positions_on_any_number_of_ranks(world_size: int) -> None:
    steps = visited(SAMPLER, 0, 5, world_size)
    assert [sorted(step) for step in steps] == [list(range(12 * s, 12 * s + 12)) for s in range(5)]


def test_all_steps_together_visit_every_row_once_per_epoch() -> None:
    positions = flat(visited(SAMPLER, 0, SAMPLER.num_steps(3), 2))
    counts = Counter(SAMPLER.row_at(position) for position in positions if position < 3 * 23)
    assert set(counts.values()) == {3} and len(counts) == 23
    assert 0 <= len(positions) - 3 * 23 < SAMPLER.rows_per_step


def test_a_run_resumed_on_fewer_ranks_neither_repeats_nor_skips_a_position() -> None:
    before, after = flat(visited(SAMPLER, 0, 4, 2)), flat(visited(SAMPLER, 4, 3, 1))
    assert sorted(before + after) == list(range(7 * SAMPLER.rows_per_step))
