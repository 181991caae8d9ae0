"""Points that Optuna suggests from the results so far."""

from collections.abc import Sequence
from typing import Any

from m3l.config import Range
from m3l.tuning.search_space import MAX_DRAWS, Point, Space


class OptunaSuggester:
    """Suggests points by Optuna's TPE sampler. The same results give the same point, so that a sweep can be resumed.

    Args:
        space: The search space.
        seed: Seed of the sampler.
        trials: Number of trials of the sweep; the first quarter of them, but at least three, are drawn at random.
    """

    def __init__(self, space: Space, seed: int, trials: int):
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

        self.seed, self.random_trials = seed, max(3, trials // 4)
        self.distributions: dict[str, BaseDistribution] = {
            field: FloatDistribution(values.low, values.high, log=values.log)
            if isinstance(values, Range)
            else CategoricalDistribution(values)
            for field, values in space.items()
        }

    def suggest(self, suggested: Sequence[Point], results: Sequence[tuple[Point, float]]) -> Point | None:
        """A new point.

        Args:
            suggested: Every point so far, finished or not.
            results: The finished points with their objectives; those outside of the space are not used.

        Returns:
            A point that is not in `suggested`; None if none was found.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.seed + len(suggested), n_startup_trials=self.random_trials)
        study = optuna.create_study(sampler=sampler)
        for point, value in results:
            if all(self._contains(field, point[field]) for field in self.distributions):
                study.add_trial(optuna.trial.create_trial(params=point, distributions=self.distributions, value=value))
        for _ in range(MAX_DRAWS):
            point = study.ask(self.distributions).params
            if point not in suggested:
                return point
        return None

    def _contains(self, field: str, value: Any) -> bool:
        distribution: Any = self.distributions[field]
        if hasattr(distribution, "choices"):
            return value in distribution.choices
        return distribution.low <= value <= distribution.high
