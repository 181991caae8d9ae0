"""Every row once per epoch, in the same steps on any number of ranks, from any step on."""

from collections import Counter

import pytest

from m3l.training.sampler import Order

ORDER = Order(rows=23, seed=7, cell=3, cells=4)


def visited(order: Order, start: int, steps: int, ranks: int) -> list[list[int]]:
    """The places that each step visits, those of one rank after those of the other."""
    each = [len(order.numbers(rank, ranks)) * order.cell for rank in range(ranks)]
    return [
        [order.place(s * each[rank] + i, start, rank, ranks) for rank in range(ranks) for i in range(each[rank])]
        for s in range(steps)
    ]


def flat(steps: list[list[int]]) -> list[int]:
    return [place for step in steps for place in step]


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own() -> None:
    epochs = [[ORDER.row(place) for place in range(23 * e, 23 * e + 23)] for e in range(3)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[1] == [Order(23, 7, 5, 1).row(place) for place in range(23, 46)]
    assert epochs[1] != [Order(23, 8, 3, 4).row(place) for place in range(23, 46)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_a_step_holds_the_same_places_on_any_number_of_ranks(ranks: int) -> None:
    steps = visited(ORDER, 0, 5, ranks)
    assert [sorted(step) for step in steps] == [list(range(12 * s, 12 * s + 12)) for s in range(5)]


def test_all_steps_visit_every_row_as_often_as_there_are_epochs() -> None:
    places = flat(visited(ORDER, 0, ORDER.steps(3), 2))
    counts = Counter(ORDER.row(place) for place in places if place < 3 * 23)
    assert set(counts.values()) == {3} and len(counts) == 23
    assert 0 <= len(places) - 3 * 23 < ORDER.batch


def test_a_run_that_goes_on_with_fewer_ranks_neither_repeats_nor_skips() -> None:
    before, after = flat(visited(ORDER, 0, 4, 2)), flat(visited(ORDER, 4, 3, 1))
    assert sorted(before + after) == list(range(7 * ORDER.batch))
