"""The loss curve of a run, thinned out."""

from collections.abc import Mapping
from typing import Any


class LossCurve:
    """A point for every few values: the means of what was added since the previous point.

    Args:
        every: Number of values that make a point.
    """

    def __init__(self, every: int):
        self.every, self.step = max(1, every), 0
        self.points: list[dict[str, float]] = []
        self.pending: list[dict[str, float]] = []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values that were measured after a step, by name."""
        self.step = step
        self.pending.append(dict(values))
        if len(self.pending) >= self.every:
            self.flush()

    def flush(self) -> list[dict[str, float]]:
        """Make a point of the pending values; returns all points."""
        names = {name for values in self.pending for name in values}
        by_name = {name: [values[name] for values in self.pending if name in values] for name in sorted(names)}
        if by_name:
            means = {name: sum(values) / len(values) for name, values in by_name.items()}
            self.points.append({"step": self.step, **means})
        self.pending = []
        return self.points

    def state(self) -> dict[str, Any]:
        """The state that `load` restores, for JSON."""
        return {"step": self.step, "points": self.points, "pending": self.pending}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.step, self.points, self.pending = state["step"], list(state["points"]), list(state["pending"])
