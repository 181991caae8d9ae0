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
from m3l.data.storage import claim
from m3l.report.sweep import build_page
from m3l.tuning import search_space
from m3l.tuning.search_space import OBJECTIVE, Point
from m3l.tuning.trial_records import records
from pipelines import retrieve, train_retriever
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.workers.search import Halving, Optuna, name_of
from pipelines.workers.train_data import needed
from pipelines.workers.trial import Trial, retrieved, settings

DRIVER_CPUS = 0.1  # a trial's driver only waits for its workers


def main(config: Config) -> list[dict[str, Any]]:
    """Run the trials; write trials.json, index.html, best.yaml (a preset that `m3l train` takes), TensorBoard events.

    A sweep that was cut off goes on: what has ended is not run again, and what was begun goes on from its checkpoints.
    """
    folder = config.paths.of("tune")
    made = config.model_dump(mode="json")
    claim(folder, {part: made[part] for part in ("seed", "tasks", "tune", "train", "model", "retriever")})
    known = storage.read_json(f"{folder}/trials.json")
    if known:
        console.print(f"[bold]tune[/]: done before -> {folder}")
        return list(known)
    if not any(split == "validation" for split in storage.read_column(config.paths.of("posts"), "split")):
        raise ConfigError(
            f"tune: {config.paths.of('posts')} has no posts of the split 'validation' to compare trials on"
        )
    chosen = search_space.space(config)
    points = search_space.points(config, chosen)
    connect(config.ray)
    at_once = _at_once(config)
    count = config.tune.trials if config.tune.search == "optuna" else len(points)
    seeds = f", {config.tune.seeds} seeds each" if config.tune.seeds > 1 else ""
    console.print(f"[bold]tune[/]: {count} trials of {', '.join(chosen)}, {at_once} at a time{seeds}")
    _retrieve(config, search_space.retrievers(config, chosen, points))
    failure = _run(config, chosen, points, count, at_once)
    trials = search_space.ranked([search_space.told(record) for record in records(config)])
    if not trials or trials[0]["end"] != "finished" or trials[0][OBJECTIVE] is None:
        raise ConfigError(f"tune: every trial failed, the first with: {failure}")
    best = trials[0]["params"]
    preset = override(config, {**retrieved(config, best, config.seed), **best})
    storage.write_text(f"{folder}/best.yaml", preset.to_yaml())
    build_page(trials, points[0], folder)
    storage.write_json(f"{folder}/trials.json", trials)  # last: its presence says that the sweep is done
    for trial in trials:
        console.print(f"  {_line(trial)}", highlight=False)
    console.print(
        f"[bold]tune[/]: {folder}/index.html; best -> {folder}/best.yaml; curves: tensorboard --logdir {folder}/sweep"
    )
    return trials


def _run(config: Config, chosen: search_space.Space, points: list[Point], count: int, at_once: int) -> str | None:
    """The trials that are left, through Ray Tune; each keeps its own record. Returns the first failure's line."""
    scheduler = Halving(config, records(config)) if config.tune.scheduler == "asha" else FIFOScheduler()
    before = records(config)
    ended = [record["point"] for record in before if record["end"]]
    left = [point for point in points if point not in ended]
    search: dict[str, Any] = {}
    if config.tune.search == "optuna":
        search = {"search_alg": Optuna(config, chosen, points, before), "num_samples": max(0, count - len(ended))}
    if not left and not search.get("num_samples"):
        return None
    if ended:
        console.print(f"[bold]tune[/]: {len(ended)} trials ended before", highlight=False)
    folder = config.paths.of("tune")
    results = Tuner(
        tune.with_resources(tune.with_parameters(Trial, base=config.to_yaml()), {"CPU": DRIVER_CPUS}),
        param_space={} if search else {"point": tune.grid_search(left)},
        tune_config=TuneConfig(
            max_concurrent_trials=at_once,
            scheduler=scheduler,
            trial_dirname_creator=name_of,
            **search,
        ),
        run_config=RunConfig(
            name="sweep",
            storage_path=folder if "://" in folder else str(Path(folder).absolute()),
            callbacks=[TBXLoggerCallback(), Shown()],
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # a trial keeps its own record
            verbose=0,
        ),
    ).fit()
    return str(results.errors[0]).strip().split("\n")[-1] if results.errors else None


class Shown(Callback):
    """A line for each trial that has ended."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        heard = trial.last_result or {}
        note = "" if "end" in heard else f", behind after {heard.get('evaluation')} evaluations"
        told = f"{heard.get(OBJECTIVE, float('nan')):.4f}  {trial.config['point']}{note}"
        console.print(f"  tune: {told}", highlight=False)


def _retrieve(config: Config, wanted: list[Point]) -> None:
    """A retriever for each of these settings and each seed, and what it keeps of all media: by the same verbs."""
    if wanted:
        console.print(f"[bold]tune[/]: {len(wanted) * config.tune.seeds} retrievers are trained first")
    for own, seed in itertools.product(wanted, range(config.seed, config.seed + config.tune.seeds)):
        train_retriever.main(settings(config, own, seed))
        retrieve.main(settings(config, own, seed))


def _at_once(config: Config) -> int:
    """Trials that fit the cluster together; ConfigError if not even one does."""
    workers, there = config.tune.trial_workers, ray.cluster_resources()
    needs = needed(config, workers)
    needs["CPU"] += DRIVER_CPUS
    for kind, need in needs.items():
        if need > there.get(kind, 0):
            raise ConfigError(
                f"tune.trial_workers: a trial needs {need:g} {kind}s, the cluster has {there.get(kind, 0):g}"
            )
    return min(int(there[kind] // need) for kind, need in needs.items() if need)


def _line(trial: dict[str, Any]) -> str:
    objective = float("nan") if trial[OBJECTIVE] is None else trial[OBJECTIVE]
    spread = "" if trial["sd"] is None else f" +- {trial['sd']:.4f}"
    note = "" if trial["end"] == "finished" else f"  ({trial['error'] or trial['end']})"
    return f"{objective:.4f}{spread}  {trial['params']}{note}"


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
