"""The curve of a run: its losses, thinned to about a hundred points."""

from collections.abc import Mapping
from typing import Any


class Curve:
    """One point for every `every` steps: the means of what was added since the one before."""

    def __init__(self, every: int):
        self.every, self.step = max(1, every), 0
        self.points: list[dict[str, float]] = []
        self.pending: list[dict[str, float]] = []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.step = step
        self.pending.append(dict(values))
        if len(self.pending) >= self.every:
            self.flush()

    def flush(self) -> list[dict[str, float]]:
        """Make a point of what is pending; returns all points."""
        names = {name for values in self.pending for name in values}
        told = {n: [v[n] for v in self.pending if n in v] for n in sorted(names)}
        if told:
            self.points.append({"step": self.step, **{n: sum(v) / len(v) for n, v in told.items()}})
        self.pending = []
        return self.points

    def state(self) -> dict[str, Any]:
        """What `load` goes on from, as JSON takes it."""
        return {"step": self.step, "points": self.points, "pending": self.pending}

    def load(self, state: Mapping[str, Any]) -> None:
        self.step, self.points, self.pending = state["step"], list(state["points"]), list(state["pending"])
