"""context/ -> bundle/: Algorithm 1 on Ray Train workers."""

import hashlib
import json
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from m3l.config import Config, ConfigError
from m3l.cost.estimate import cache_line, plan
from m3l.data import storage
from m3l.data.examples import history_of, masked_fields, post_ids
from m3l.data.storage import claim
from m3l.training.sampler import Order
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.train_run import Judge, release, run_folder, watched
from pipelines.workers.train import facts_of, work
from pipelines.workers.train_data import InOrder, needed

VALIDATION_POSTS = 256  # held by every rank: bounded, whatever the corpus
RESTARTS = 2  # of the workers by Ray Train, and of Ray Train's controller by this program


def main(config: Config) -> dict[str, Any]:
    """Train on the posts of the split `train` that have both caption and likes; write the bundle."""
    folder = config.paths.of("bundle")
    if storage.read_json(f"{folder}/metrics.json") is not None:
        claim(folder, settings(config))
        console.print(f"[bold]train[/]: done before -> {folder}")
        return dict(storage.read_json(f"{folder}/metrics.json"))
    claim(folder, settings(config))
    connect(config.ray)
    metrics = fit(config, folder)
    console.print(f"[bold]train[/]: {_line(metrics)} -> {folder}")
    return metrics


def settings(config: Config) -> dict[str, Any]:
    """What a bundle is made of."""
    made = config.model_dump(mode="json")
    return {name: made[name] for name in ("seed", "tasks", "model", "train", "retriever")}


def fit(
    config: Config, folder: str, most_posts: int | None = None, title: str = "train", judge: Judge | None = None
) -> dict[str, Any]:
    """One training run into a bundle folder; returns its validation losses and writes the curve beside it.

    A run with a `judge` is a trial: it ends when `judge(step, losses)` says False of an evaluation; it keeps no bundle.
    """
    posts, context = config.paths.of("posts"), config.paths.of("context")
    past = history_of(config)
    fields = masked_fields(config)
    ids = post_ids(posts, "train", fields)[:most_posts]
    if not ids:
        raise ConfigError(f"{posts} has no post of the split 'train' with {' and '.join(fields)}: run ingest first")
    held_out = post_ids(posts, "validation", fields)[:VALIDATION_POSTS]
    if config.train.patience and not held_out:
        raise ConfigError(f"train.patience: {posts} has no post of the split 'validation' to stop by")
    facts = facts_of(config, ids, held_out)
    workers = config.train.workers
    order = Order(len(ids), config.seed, config.train.batch_size, workers * config.train.accumulate)
    if order.batch > len(ids):
        raise ConfigError(f"train.batch_size: a step of {order.batch} rows is more than the {len(ids)} posts")
    warmup = order.steps(config.train.warmup_epochs)
    steps = order.steps(config.train.warmup_epochs + config.train.epochs)
    kept = storage.size(context) <= config.train.cache_bytes
    if config.train.cache_vision:
        frames = len(ids) * len(config.tasks) * config.retriever.top_k // workers  # at most: tasks may share frames
        console.print(f"each worker's {cache_line(plan(config), frames, config.train.cache_vision)}", highlight=False)

    state = f"{run_folder(config.paths.run)}/{_name(config, folder, ids)}"
    checkpoints = f"{state}/checkpoints"
    task = {"config": config.to_yaml(), "facts": facts, "order": order, "warmup": warmup, "steps": steps, "kept": kept,
            "folder": folder, "checkpoints": checkpoints, "judged": judge is not None}  # fmt: skip
    feeds = InOrder(posts, context, ids, order, steps, checkpoints, kept, config.ray.block_rows, past)

    say_if_it_waits(config, kept)

    def run(log: Any) -> None:
        for left in reversed(range(RESTARTS + 1)):
            try:
                _trainer(config, task | {"log": log}, feeds, state).fit()
                return
            except ray.exceptions.RayActorError:  # the controller's, which runs beside this program: it is dead
                release(log)
                if not left:
                    raise

    metrics, curve = watched(title, steps, run, judge)
    result = {"train_posts": len(ids), **metrics}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", result)  # last: its presence says that the bundle is whole
    storage.remove(state)
    return result


def say_if_it_waits(config: Config, kept: bool) -> None:
    """Ray Train waits without a word for what a cluster does not have; an autoscaler may still bring it."""
    workers, there = config.train.min_workers or config.train.workers, ray.cluster_resources()
    for kind, need in needed(config, workers, kept).items():
        if need > there.get(kind, 0):
            console.print(
                f"[yellow]train: {workers} workers and what reads their rows need {need:g} {kind}s, the cluster has "
                f"{there.get(kind, 0):g}: training waits for more. Fewer: train.workers, ray.model_{kind.lower()}s[/]"
            )


def _name(config: Config, folder: str, ids: list[str]) -> str:
    """The run that makes this bundle from these posts with these settings: it goes on where it was cut off."""
    told = json.dumps([folder, settings(config), ids], sort_keys=True)
    return f"train-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _trainer(config: Config, task: dict[str, Any], feeds: InOrder, state: str) -> TorchTrainer:
    gpus, train = config.ray.model_gpus, config.train
    folder, _, name = state.rpartition("/")
    return TorchTrainer(
        work,
        train_loop_config=task,
        datasets={"train": ray.data.range(1)},  # in place of which every rank gets its own
        dataset_config=feeds,
        torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=300),
        scaling_config=ScalingConfig(
            num_workers=(train.min_workers, train.workers) if train.min_workers else train.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": config.ray.model_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(name=name, storage_path=folder, failure_config=FailureConfig(max_failures=RESTARTS)),
    )


def _line(metrics: dict[str, Any]) -> str:
    told = [f"{name} {value:.3f}" for name, value in metrics.items() if isinstance(value, float)]
    if metrics["skipped_steps"]:
        told.append(f"{metrics['skipped_steps']:,} steps skipped for gradients that were not finite")
    return f"{metrics['train_posts']:,} posts, {metrics['steps']:,} steps, " + ", ".join(told)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
