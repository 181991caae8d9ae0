"""posts/ + keyframes/ -> retriever/: CLIP learns on Ray Train workers to find frames from metadata prompts."""

import os
import time
from collections.abc import Callable
from typing import Any

import ray
import ray.train
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.examples import post_ids
from m3l.data.storage import claim
from m3l.retriever.clip import Retriever
from m3l.retriever.training import steps_of
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.train_run import run_folder, watched
from pipelines.workers.train_retriever import samples, work


def main(config: Config) -> dict[str, Any]:
    """Train on the captioned posts of the split `train`; writes the student, teacher/ below it, and the curve."""
    folder = config.paths.of("retriever")
    made = config.model_dump(mode="json")
    claim(folder, {name: made[name] for name in ("seed", "tasks", "retriever")})
    known = storage.read_json(f"{folder}/metrics.json")
    if known is not None:
        console.print(f"[bold]train-retriever[/]: done before -> {folder}")
        return dict(known)
    ids = trained_on(config)
    started = time.monotonic()
    retriever = Retriever.build(config.retriever.clip, config.seed, config.retriever.similarity)
    connect(config.ray)
    task = {"config": config.to_yaml(), "retriever": ray.put(retriever), "folder": folder}
    data = samples(config, ids, retriever.preprocess)
    steps = steps_of(config.retriever, len(ids))  # a little fewer where media are broken
    final, curve = watched("train-retriever", steps, lambda log: trainer(work, config, task | {"log": log}, data).fit())
    metrics = {"posts": len(ids), "seconds": round(time.monotonic() - started, 1), **final}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", metrics)  # last: its presence says that the folder is whole
    losses = ", ".join(f"{name} {value:.3f}" for name, value in final.items() if name != "steps")
    done = f"{len(ids):,} posts, {final['steps']:,.0f} steps, {metrics['seconds']} s"
    console.print(f"[bold]train-retriever[/]: {done}, {losses} -> {folder}")
    return metrics


def trained_on(config: Config) -> list[str]:
    """The captioned posts of the split `train`; ConfigError where there are no key frames or too few posts."""
    posts, keyframes, workers = config.paths.of("posts"), config.paths.of("keyframes"), config.train.workers
    if not storage.parts(keyframes):
        raise ConfigError(f"{keyframes} holds no key frames: run `m3l frames` first")
    ids = post_ids(posts, "train", ("caption",))
    if len(ids) < workers:
        raise ConfigError(f"{posts} has {len(ids)} captioned posts of the split 'train' for {workers} workers")
    return ids


def trainer(
    work: Callable[[dict[str, Any]], None], config: Config, task: dict[str, Any], data: Dataset
) -> TorchTrainer:
    """`work(task)` on `train.workers` ranks, each with its shard of the data."""
    gpus = config.ray.clip_gpus
    return TorchTrainer(
        work,
        train_loop_config=task,
        datasets={"train": data},
        # Else a rank gets the blocks that are read first, and no training repeats.
        dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=300),
        scaling_config=ScalingConfig(
            num_workers=config.train.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": config.ray.clip_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=f"run-{os.urandom(6).hex()}",  # a known name would resume another run
            storage_path=run_folder(config.paths.run),
        ),
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
