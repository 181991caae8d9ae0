"""One training run, from its inputs to a bundle: for the verb `train`, and for each trial of a sweep."""

import hashlib
import json
from typing import Any

import ray

from m3l.config import Config, ConfigError, RayConfig
from m3l.cost.estimate import cache_line, estimate_cost
from m3l.data import storage
from m3l.data.examples import masked_fields, post_ids
from m3l.training.sampler import ResumableSampler
from pipelines.runtime.console import console
from pipelines.runtime.torch_trainer import torch_trainer
from pipelines.runtime.train_run import ShouldContinue, release_workers, run_with_progress, train_state_folder
from pipelines.workers.run_inputs import RunInputs
from pipelines.workers.train import train_loop_per_worker
from pipelines.workers.train_data import OrderedDataConfig, required_resources
from pipelines.workers.train_spec import TrainSpec
from pipelines.workers.training_stats import training_stats

RESTARTS = 2  # of the workers by Ray Train, and of Ray Train's controller by this program


def bundle_settings(config: Config) -> dict[str, Any]:
    """The settings that a bundle depends on."""
    return config.model_dump(mode="json", include={"seed", "tasks", "model", "train", "retriever"})


def run_training(
    config: Config,
    folder: str,
    max_posts: int | None = None,
    title: str = "train",
    should_continue: ShouldContinue | None = None,
) -> dict[str, Any]:
    """Train once. A run that was cut off goes on from its last checkpoint.

    Args:
        config: The configuration; the bundle keeps it.
        folder: Folder of the bundle, which also gets curve.json and metrics.json.
        max_posts: Number of training posts at most.
        title: Name of the progress bar.
        should_continue: Decides after each evaluation whether training goes on. The run is then a trial, which
            writes no bundle.

    Returns:
        The content of metrics.json: number of posts and steps, validation losses.

    Raises:
        ConfigError: The posts do not allow this training.
    """
    inputs = RunInputs.of(config)
    ids = _training_ids(config, inputs, max_posts)
    state = f"{train_state_folder(config.paths.run)}/{_run_name(config, folder, ids)}"
    spec = _train_spec(config, inputs, ids, folder, f"{state}/checkpoints", is_trial=should_continue is not None)
    data = OrderedDataConfig(inputs, ids, spec.sampler, spec.steps, spec.checkpoints, config.ray.block_rows)
    warn_if_too_small(config.ray, config.train.min_workers or config.train.workers, inputs.in_memory)
    metrics, curve = run_with_progress(
        title, spec.steps, config.train.workers, lambda log: _fit(spec, data, state, log), should_continue
    )
    result = {"train_posts": len(ids), **metrics}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", result)  # last: its presence says that the bundle is complete
    storage.remove(state)
    return result


def _train_spec(
    config: Config, inputs: RunInputs, ids: list[str], folder: str, checkpoints: str, *, is_trial: bool
) -> TrainSpec:
    """The run on these posts; ConfigError if they do not fill a step."""
    train = config.train
    sampler = ResumableSampler(len(ids), config.seed, train.batch_size, train.workers * train.accumulate)
    if sampler.rows_per_step > len(ids):
        raise ConfigError(f"train.batch_size: a step of {sampler.rows_per_step} rows is more than the {len(ids)} posts")
    if train.cache_vision:  # at most: tasks may share frames
        frames = len(ids) * len(config.tasks) * config.retriever.top_k // train.workers
        console.print(f"each worker's {cache_line(estimate_cost(config), frames, train.cache_vision)}", highlight=False)
    return TrainSpec(
        config=config,
        inputs=inputs,
        stats=training_stats(inputs.posts, inputs.history, ids, config.tasks, config.model),
        sampler=sampler,
        alignment_steps=sampler.num_steps(train.alignment_epochs),
        steps=sampler.num_steps(train.alignment_epochs + train.epochs),
        bundle=folder,
        checkpoints=checkpoints,
        is_trial=is_trial,
    )


def warn_if_too_small(config: RayConfig, workers: int, in_memory: bool) -> None:
    """Print what the cluster lacks: Ray Train waits silently for it, since an autoscaler may still bring it.

    Args:
        config: What each rank takes (`model_cpus`, `model_gpus`).
        workers: Ranks that the training can start with.
        in_memory: Whether the ranks share all rows in memory.
    """
    available = ray.cluster_resources()
    for kind, required in required_resources(config, workers, in_memory).items():
        if required > available.get(kind, 0):
            console.print(
                f"[yellow]train: {workers} workers and what reads their rows need {required:g} {kind}s, the cluster "
                f"has {available.get(kind, 0):g}: training waits for more. Fewer: train.workers, "
                f"ray.model_{kind.lower()}s[/]"
            )


def _training_ids(config: Config, inputs: RunInputs, max_posts: int | None) -> list[str]:
    fields = masked_fields(config.tasks)
    ids = post_ids(inputs.posts, "train", fields)[:max_posts]
    if not ids:
        raise ConfigError(
            f"{inputs.posts} has no post of the split 'train' with {' and '.join(fields)}: run ingest first"
        )
    if config.train.patience and not inputs.validation_ids:
        raise ConfigError(f"train.patience: {inputs.posts} has no post of the split 'validation' to stop by")
    return ids


def _run_name(config: Config, folder: str, ids: list[str]) -> str:
    """The name of the run that makes this bundle from these posts with these settings, the same when it is resumed."""
    settings = json.dumps([folder, bundle_settings(config), ids], sort_keys=True)
    return f"train-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"


def _fit(spec: TrainSpec, data: OrderedDataConfig, state: str, log: Any) -> None:
    """Ray Train restarts workers that die; a controller that dies is replaced here."""
    folder, _, name = state.rpartition("/")
    reference = ray.put(spec)  # so that the controller need not unpickle it, which would import the model
    for restarts_left in reversed(range(RESTARTS + 1)):
        trainer = torch_trainer(
            train_loop_per_worker,
            {"spec": reference, "log": log},
            ray.data.range(1),  # a placeholder: `OrderedDataConfig` gives each rank its own
            data,
            name=name,
            folder=folder,
            workers=spec.config.train.workers,
            min_workers=spec.config.train.min_workers,
            cpus=spec.config.ray.model_cpus,
            gpus=spec.config.ray.model_gpus,
            max_failures=RESTARTS,
        )
        try:
            trainer.fit()
            return
        except ray.exceptions.RayActorError:  # of the controller, which runs beside this program
            release_workers(log)
            if not restarts_left:
                raise
