"""Points that Optuna suggests."""

from m3l.config import Range
from m3l.tuning.search_space import Point, Space
from m3l.tuning.suggest import OptunaSuggester

SPACE: Space = {"a": Range(low=0, high=10), "b": ["x", "y"]}


def search(resumed_at: int | None = None) -> list[tuple[Point, float]]:
    """24 points and their objectives, after one outside of the space; a new suggester resumes at one of them."""
    results: list[tuple[Point, float]] = [({"a": 9.0, "b": "z"}, 50.0)]
    suggester = OptunaSuggester(SPACE, 0, 16)
    for number in range(24):
        if number == resumed_at:
            suggester = OptunaSuggester(SPACE, 0, 16)
        point = suggester.suggest([point for point, _ in results], results)
        assert point is not None
        results.append((point, (point["a"] - 3) ** 2 + (point["b"] == "y")))
    return results


def test_optuna_finds_the_minimum_and_suggests_the_same_for_the_same_results() -> None:
    results = search()
    assert search(resumed_at=11) == results
    assert min(value for _, value in results) < 0.1  # about 1 for random points


def test_nothing_is_suggested_twice() -> None:
    suggester = OptunaSuggester({"b": ["x", "y"]}, 0, 4)
    assert suggester.suggest([{"b": "x"}, {"b": "y"}], []) is None
