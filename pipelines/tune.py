"""context/ -> tune/: a sweep over fields of the configuration; each trial is a `train`, shorter."""

import itertools
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.logger import TBXLoggerCallback
from ray.tune.schedulers import FIFOScheduler

from m3l.config import Config, ConfigError, override
from m3l.data import storage
from m3l.report.sweep import build_page
from m3l.tuning.search_space import Point, Space, build_space, initial_points, retriever_points
from m3l.tuning.suggest import OptunaSuggester
from m3l.tuning.trial_records import OBJECTIVE, rank_trials, read_records, summarise_trial
from pipelines import retrieve, train_retriever
from pipelines.runtime.console import console, done_before
from pipelines.runtime.ray_output import ray_output
from pipelines.runtime.session import connect
from pipelines.workers.search import OptunaSearch, ResumableASHA, trial_name
from pipelines.workers.train_data import required_resources
from pipelines.workers.trial import Trial, retriever_paths, trial_config

DRIVER_CPUS = 0.1  # a trial's driver only waits for its workers


def main(config: Config) -> list[dict[str, Any]]:
    """Run the trials; write trials.json, index.html, best.yaml (a preset that `m3l train` takes), TensorBoard events.

    A sweep that was cut off goes on: trials that have ended are not run again, others go on from their checkpoints.

    Returns:
        The trials, the best first.

    Raises:
        ConfigError: There are no validation posts, a trial does not fit the cluster, or every trial failed.
    """
    folder, posts = config.paths.of("tune"), config.paths.of("posts")
    sections = config.model_dump(mode="json", include={"seed", "tasks", "tune", "train", "model", "retriever"})
    if done := done_before("tune", folder, sections, "trials.json"):
        return list(done)
    if not any(split == "validation" for split in storage.read_column(posts, "split")):
        raise ConfigError(f"tune: {posts} has no posts of the split 'validation' to compare trials on")
    space = build_space(config)
    points = initial_points(config, space)
    with ray_output(config.paths.run):
        connect(config.ray)
        at_once = _at_once(config)
        count = config.tune.trials if config.tune.search == "optuna" else len(points)
        seeds = f", {config.tune.seeds} seeds each" if config.tune.seeds > 1 else ""
        console.print(f"[bold]tune[/]: {count} trials of {', '.join(space)}, {at_once} at a time{seeds}")
        _train_retrievers(config, retriever_points(space, points, config.tune.search))
        failure = _run_trials(config, space, points, count, at_once)
    trials = rank_trials([summarise_trial(record) for record in read_records(folder)])
    if not trials or trials[0]["end"] != "finished" or trials[0][OBJECTIVE] is None:
        raise ConfigError(f"tune: every trial failed, the first with: {failure}")
    _write_results(config, trials, points[0])
    return trials


def _write_results(config: Config, trials: list[dict[str, Any]], configured: Point) -> None:
    folder, best = config.paths.of("tune"), trials[0]["params"]
    preset = override(config, {**retriever_paths(config, best, config.seed), **best})
    storage.write_text(f"{folder}/best.yaml", preset.to_yaml())
    build_page(trials, configured, folder)
    storage.write_json(f"{folder}/trials.json", trials)  # last: its presence says that the sweep is done
    for trial in trials:
        console.print(f"  {_line(trial)}", highlight=False)
    console.print(
        f"[bold]tune[/]: {folder}/index.html; best -> {folder}/best.yaml; curves: tensorboard --logdir {folder}/sweep"
    )


def _run_trials(config: Config, space: Space, points: list[Point], count: int, at_once: int) -> str | None:
    """Run the pending trials through Ray Tune; each keeps its own record. Returns the first failure's line."""
    folder = config.paths.of("tune")
    saved = read_records(folder)
    scheduler = FIFOScheduler()
    if config.tune.scheduler == "asha":
        scheduler = ResumableASHA(folder, config.tune.seeds * config.train.evaluations, saved)
    ended = [record["point"] for record in saved if record["end"]]
    pending = [point for point in points if point not in ended]
    search: dict[str, Any] = {}
    if config.tune.search == "optuna":
        suggester = OptunaSuggester(space, config.seed, config.tune.trials)
        search = {"search_alg": OptunaSearch(suggester, points, saved), "num_samples": max(0, count - len(ended))}
    if not pending and not search.get("num_samples"):
        return None
    if ended:
        console.print(f"[bold]tune[/]: {len(ended)} trials ended before", highlight=False)
    results = Tuner(
        tune.with_resources(tune.with_parameters(Trial, base=config.to_yaml()), {"CPU": DRIVER_CPUS}),
        param_space={} if search else {"point": tune.grid_search(pending)},
        tune_config=TuneConfig(
            max_concurrent_trials=at_once,
            scheduler=scheduler,
            trial_dirname_creator=trial_name,
            **search,
        ),
        run_config=RunConfig(
            name="sweep",
            storage_path=folder if "://" in folder else str(Path(folder).absolute()),
            callbacks=[TBXLoggerCallback(), TrialLines()],
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # a trial keeps its own record
            verbose=0,
        ),
    ).fit()
    return str(results.errors[0]).strip().split("\n")[-1] if results.errors else None


class TrialLines(Callback):
    """Prints a line for each trial that has ended."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        note = "" if "end" in result else f", behind after {result.get('evaluation')} evaluations"
        line = f"{result.get(OBJECTIVE, float('nan')):.4f}  {trial.config['point']}{note}"
        console.print(f"  tune: {line}", highlight=False)


def _train_retrievers(config: Config, points: list[Point]) -> None:
    """For each of these settings and each seed a retriever, and the frames that it retrieves, by the same verbs."""
    if points:
        console.print(f"[bold]tune[/]: {len(points) * config.tune.seeds} retrievers are trained first")
    for point, seed in itertools.product(points, range(config.seed, config.seed + config.tune.seeds)):
        train_retriever.main(trial_config(config, point, seed))
        retrieve.main(trial_config(config, point, seed))


def _at_once(config: Config) -> int:
    """Trials that fit the cluster together; ConfigError if not even one does."""
    available = ray.cluster_resources()
    required = required_resources(config.ray, config.tune.trial_workers)
    required["CPU"] += DRIVER_CPUS
    for kind, amount in required.items():
        if amount > available.get(kind, 0):
            raise ConfigError(
                f"tune.trial_workers: a trial needs {amount:g} {kind}s, the cluster has {available.get(kind, 0):g}"
            )
    return min(int(available[kind] // amount) for kind, amount in required.items() if amount)


def _line(trial: dict[str, Any]) -> str:
    objective = float("nan") if trial[OBJECTIVE] is None else trial[OBJECTIVE]
    spread = "" if trial["sd"] is None else f" +- {trial['sd']:.4f}"
    note = "" if trial["end"] == "finished" else f"  ({trial['error'] or trial['end']})"
    return f"{objective:.4f}{spread}  {trial['params']}{note}"


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
