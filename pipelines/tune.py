"""context/ -> tune/: a sweep over fields of the configuration; each trial is a `train`, shorter."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import RunConfig, TuneConfig, Tuner
from ray.tune.logger import TBXLoggerCallback

from m3l import storage
from m3l.config import Config, ConfigError, override
from pipelines.session import connect
from pipelines.stage import claim, console
from pipelines.train import fit

DRIVER_CPUS = 0.1  # a trial's driver only waits for its workers
OBJECTIVE = "objective"


def main(config: Config) -> list[dict[str, Any]]:
    """Run the trials; write trials.json, best.yaml (a preset that `m3l train` takes) and TensorBoard events."""
    folder = config.paths.of("tune")
    claim(
        folder,
        {
            "seed": config.seed,
            "tune": config.tune.model_dump(mode="json"),
            "train": config.train.model_dump(mode="json"),
        },
    )
    known = storage.read_json(f"{folder}/trials.json")
    if known:
        console.print(f"[bold]tune[/]: done before -> {folder}")
        return list(known)
    if not any(split == "validation" for split in storage.read_column(config.paths.of("posts"), "split")):
        raise ConfigError(
            f"tune: {config.paths.of('posts')} has no posts of the split 'validation' to compare trials on"
        )
    chosen = draw_trials(config)
    foreign = [field for field in config.tune.space if field.split(".")[0] not in {"train", "model"}]
    if foreign:
        raise ConfigError(f"tune.space: {foreign[0]} changes nothing in a trial, which reads context/ as it is")
    for params in chosen:  # a mistyped field ends here, before any work
        override(config, params)
    connect(config.ray)
    at_once = _at_once(config)
    console.print(f"[bold]tune[/]: {len(chosen)} trials of {', '.join(config.tune.space)}, {at_once} at a time")
    results = Tuner(
        tune.with_resources(_trial, {"CPU": DRIVER_CPUS}),
        param_space={"params": tune.grid_search([json.dumps(p) for p in chosen]), "config": config.to_yaml()},
        tune_config=TuneConfig(metric=OBJECTIVE, mode="min", max_concurrent_trials=at_once),
        run_config=RunConfig(
            name="sweep",
            storage_path=folder if "://" in folder else str(Path(folder).absolute()),
            callbacks=[TBXLoggerCallback()],
            verbose=0,
        ),
    ).fit()
    trials = [_told(result) for result in results]
    trials.sort(key=lambda t: (t["objective"] is None, t["objective"]))
    if trials[0]["objective"] is None:
        raise ConfigError(f"tune: every trial failed, the first with: {trials[0]['error']}")
    best = override(config, trials[0]["params"])
    storage.write_text(f"{folder}/best.yaml", best.to_yaml())
    storage.write_json(f"{folder}/trials.json", trials)
    for trial in trials:
        console.print(f"  {trial['objective'] or float('nan'):.4f}  {trial['params']}", highlight=False)
    console.print(f"[bold]tune[/]: best -> {folder}/best.yaml; curves: tensorboard --logdir {folder}/sweep")
    return trials


def draw_trials(config: Config) -> list[dict[str, Any]]:
    """The parameters of each trial: the whole grid, or `trials` of its points drawn from the seed."""
    names = list(config.tune.space)
    grid = [dict(zip(names, values, strict=True)) for values in itertools.product(*config.tune.space.values())]
    if config.tune.search == "grid" or len(grid) <= config.tune.trials:
        return grid
    return random.Random(config.seed).sample(grid, config.tune.trials)


def _trial(space: dict[str, Any]) -> None:
    from m3l.config import parse

    base = parse(space["config"])
    params = json.loads(space["params"])
    quick = {
        "train.workers": base.tune.trial_workers,
        "train.epochs": base.tune.epochs,
        "train.warmup_epochs": min(base.train.warmup_epochs, base.tune.epochs),
    }
    folder = f"{base.paths.of('tune')}/trials/{tune.get_context().get_trial_id()}"
    metrics = fit(override(base, {**quick, **params}), folder, base.tune.posts, "trial")
    told = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    # Both heads count alike, whatever weights a trial trains with.
    tune.report({**told, OBJECTIVE: metrics["validation_nll"] + metrics["validation_mse"]})


def _told(result: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    return {
        "params": json.loads(metrics["config"]["params"]) if "config" in metrics else {},
        "objective": metrics.get(OBJECTIVE),
        "metrics": {k: v for k, v in metrics.items() if k.startswith("validation")},
        "error": str(result.error).strip().split("\n")[-1] if result.error else None,
    }


def _at_once(config: Config) -> int:
    """Trials that fit the cluster together; ConfigError if not even one does."""
    cpus = ray.cluster_resources().get("CPU", 0)
    need = DRIVER_CPUS + config.tune.trial_workers * config.ray.model_cpus + 0.5  # 0.5: a trial's reader
    if need > cpus:
        raise ConfigError(f"tune.trial_workers: a trial needs {need} CPUs, the cluster has {cpus}")
    return max(1, int(cpus // need))


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
