"""One self-contained page of a sweep: what decides, what is best, and what the configuration as it stands gives."""

import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from m3l.data.storage import write_text
from m3l.tuning.search_space import OBJECTIVE, Point

WORTH_A_LOG = 30.0  # times the smallest value that the largest is


def build_page(trials: Sequence[dict[str, Any]], own: Point, folder: str) -> str:
    """Write `folder`/index.html (local or `s3://`) of summarised trials, the best first."""
    path = f"{folder}/index.html"
    write_text(path, render(trials, own))
    return path


def render(trials: Sequence[dict[str, Any]], own: Point) -> str:
    """The page as HTML text; `own` is the point that the configuration stands at."""
    environment = Environment(
        loader=PackageLoader("m3l.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    seeds = max((len(trial["seeds"]) for trial in trials), default=0)
    return environment.get_template("sweep.html").render(
        trials=trials,
        own=next((trial for trial in trials if trial["params"] == own), None),
        best=trials[0],
        fields=list(own),
        seeds=seeds,
        heads=sorted({key for trial in trials for seed in trial["seeds"] for key in seed} - {"seed", OBJECTIVE}),
        mean=_mean,
        figures=figures(trials),
    )


def figures(trials: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(title, markup) of Optuna's pictures of a study, whoever searched; a picture needs two values of something."""
    import optuna
    from optuna import visualization as pictures

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = study_of(trials)
    whole = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    varied = [field for field in _fields(trials) if len({json.dumps(t.params[field]) for t in whole}) > 1]
    made = {}
    if varied:
        lines = pictures.plot_parallel_coordinate(study, varied, target_name=OBJECTIVE)
        lines.update_layout(plot_bgcolor="#d8d8d2")  # on which the worst trial's line, nearly white, can be seen
        made["Each line is a trial"] = lines.update_traces(opacity=1, selector={"mode": "lines"})
        made["What decides"] = pictures.plot_param_importances(study, params=varied, target_name=OBJECTIVE)
    if whole:
        made["Objective, trial by trial"] = pictures.plot_optimization_history(study, target_name=OBJECTIVE)
    if any(trial.intermediate_values for trial in study.trials):
        made["Objective, evaluation by evaluation"] = pictures.plot_intermediate_values(study)
    for figure in made.values():
        figure.update_layout(title=None, margin={"l": 60, "r": 40, "t": 40, "b": 60}, template="plotly_white")
    # The library itself comes with the first picture: the page needs nothing from elsewhere.
    return [
        (title, figure.to_html(full_html=False, include_plotlyjs=i == 0, config={"displaylogo": False}))
        for i, (title, figure) in enumerate(made.items())
    ]


def study_of(trials: Sequence[dict[str, Any]]) -> Any:
    """An Optuna study of trials, in the order in which they were run."""
    import optuna

    state = {"finished": optuna.trial.TrialState.COMPLETE, "stopped": optuna.trial.TrialState.PRUNED}
    distributions = {field: _distribution([t["params"][field] for t in trials]) for field in _fields(trials)}
    study = optuna.create_study()
    for trial in sorted(trials, key=lambda t: t["evaluations"][0]["at"] if t["evaluations"] else 0.0):
        if trial["end"] in state and trial[OBJECTIVE] is not None:
            study.add_trial(
                optuna.trial.create_trial(
                    state=state[trial["end"]],
                    params=trial["params"],
                    distributions=distributions,
                    value=trial[OBJECTIVE],
                    intermediate_values={i: told[OBJECTIVE] for i, told in enumerate(trial["evaluations"], 1)},
                )
            )
    return study


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return FloatDistribution(low, high, log=low > 0 and high / low > WORTH_A_LOG)
    return CategoricalDistribution(list({json.dumps(value): value for value in values}.values()))


def _fields(trials: Sequence[dict[str, Any]]) -> list[str]:
    return list(trials[0]["params"]) if trials else []


def _mean(trial: dict[str, Any], head: str) -> float | None:
    """A validation loss, over the seeds."""
    values = [seed[head] for seed in trial["seeds"] if head in seed]
    return sum(values) / len(values) if values else None
