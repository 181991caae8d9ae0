"""Builds the page of a hyperparameter sweep: which settings matter, the best trial, and the current configuration."""

import json
from collections.abc import Sequence
from typing import Any

from m3l.data.storage import write_text
from m3l.report.build import environment
from m3l.tuning.search_space import Point
from m3l.tuning.trial_records import OBJECTIVE

MIN_LOG_RATIO = 30.0  # of the largest to the smallest value of a field that is drawn on a log scale


def build_page(trials: Sequence[dict[str, Any]], configured: Point, folder: str) -> str:
    """Write `folder`/index.html and return its path.

    Args:
        trials: Summarised trials, the best first.
        configured: The values of the varied fields in the current configuration.
        folder: A local or `s3://` folder.
    """
    path = f"{folder}/index.html"
    write_text(path, render(trials, configured))
    return path


def render(trials: Sequence[dict[str, Any]], configured: Point) -> str:
    """The page as HTML, from summarised trials (the best first) and the values in the current configuration."""
    seeds = max((len(trial["seeds"]) for trial in trials), default=0)
    return (
        environment()
        .get_template("sweep.html")
        .render(
            trials=trials,
            configured=next((trial for trial in trials if trial["params"] == configured), None),
            best=trials[0],
            fields=list(configured),
            seeds=seeds,
            losses=sorted({key for trial in trials for seed in trial["seeds"] for key in seed} - {"seed", OBJECTIVE}),
            mean=_mean,
            charts=optuna_charts(trials),
        )
    )


def optuna_charts(trials: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(title, HTML) of Optuna's charts of the trials, whatever searched; those without enough data are left out."""
    import optuna
    from optuna import visualization

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = build_study(trials)
    complete = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    varied = [field for field in _fields(trials) if len({json.dumps(t.params[field]) for t in complete}) > 1]
    figures = {}
    if varied:
        lines = visualization.plot_parallel_coordinate(study, varied, target_name=OBJECTIVE)
        lines.update_layout(plot_bgcolor="#d8d8d2")  # the line of the worst trial is nearly white
        figures["All trials, one line each"] = lines.update_traces(opacity=1, selector={"mode": "lines"})
        figures["Importance of each setting"] = visualization.plot_param_importances(
            study, params=varied, target_name=OBJECTIVE
        )
    if complete:
        figures["Objective by trial"] = visualization.plot_optimization_history(study, target_name=OBJECTIVE)
    if any(trial.intermediate_values for trial in study.trials):
        figures["Objective during training"] = visualization.plot_intermediate_values(study)
    for figure in figures.values():
        figure.update_layout(title=None, margin={"l": 60, "r": 40, "t": 40, "b": 60}, template="plotly_white")
    # The first chart includes the plotly library, so that the page loads nothing from elsewhere.
    return [
        (title, figure.to_html(full_html=False, include_plotlyjs=i == 0, config={"displaylogo": False}))
        for i, (title, figure) in enumerate(figures.items())
    ]


def build_study(trials: Sequence[dict[str, Any]]) -> Any:
    """An Optuna study of the trials that finished or were stopped early, in the order in which they ran."""
    import optuna

    states = {"finished": optuna.trial.TrialState.COMPLETE, "stopped": optuna.trial.TrialState.PRUNED}
    distributions = {field: _distribution([t["params"][field] for t in trials]) for field in _fields(trials)}
    study = optuna.create_study()
    for trial in sorted(trials, key=lambda t: t["evaluations"][0]["at"] if t["evaluations"] else 0.0):
        if trial["end"] in states and trial[OBJECTIVE] is not None:
            study.add_trial(
                optuna.trial.create_trial(
                    state=states[trial["end"]],
                    params=trial["params"],
                    distributions=distributions,
                    value=trial[OBJECTIVE],
                    intermediate_values={i: each[OBJECTIVE] for i, each in enumerate(trial["evaluations"], 1)},
                )
            )
    return study


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return FloatDistribution(low, high, log=low > 0 and high / low > MIN_LOG_RATIO)
    return CategoricalDistribution(list({json.dumps(value): value for value in values}.values()))


def _fields(trials: Sequence[dict[str, Any]]) -> list[str]:
    return list(trials[0]["params"]) if trials else []


def _mean(trial: dict[str, Any], loss: str) -> float | None:
    """A validation loss of a trial, averaged over its seeds."""
    values = [seed[loss] for seed in trial["seeds"] if loss in seed]
    return sum(values) / len(values) if values else None
