"""posts/ + keyframes/ -> retriever/: CLIP learns on Ray Train workers to find frames from metadata prompts."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train
import torch
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from m3l.config import Config, ConfigError, parse
from m3l.data import storage
from m3l.data.examples import post_ids
from m3l.data.keyed_rows import open_store
from m3l.data.records import MediaFrames, Post
from m3l.data.storage import claim
from m3l.distributed.parallelize import spread
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, Shelf, make_sample
from m3l.retriever.preprocess import Preprocess
from m3l.retriever.training import Run, steps_of, train
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.train_run import run_folder, watched

SAMPLES = pa.schema(
    [
        ("post_id", pa.string()),
        ("caption", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("frames", pa.int32()),
        ("pixels", pa.binary()),  # frames x 3 x height x width bytes: what the towers read, and no more, travels
    ]
)


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


def samples(config: Config, ids: list[str], preprocess: Preprocess) -> Dataset:
    """The SAMPLES of posts, in the order that the seed gives; posts without readable frames are left out."""
    posts, keyframes = config.paths.of("posts"), config.paths.of("keyframes")
    shared = ray.put(np.random.default_rng(config.seed).permutation(ids))

    def load(block: pa.Table) -> pa.Table:
        known, media = open_store(posts, "post_id"), open_store(keyframes, "media_id")
        rows = []
        for post_id in ray.get(shared)[block["id"].to_numpy()]:
            post = Post.model_validate(known[post_id][0])
            files = [MediaFrames.model_validate(row) for m in post.media for row in media.get(m.media_id)[:1]]
            if sample := make_sample(post, files, config.tasks, preprocess):
                pixels = sample.pixels.contiguous().numpy()
                rows.append(vars(sample) | {"frames": len(pixels), "pixels": pixels.tobytes()})
        return pa.Table.from_pylist(rows, schema=SAMPLES)

    blocks = -(-len(ids) // config.ray.block_rows)
    numbers = ray.data.range(len(ids), override_num_blocks=blocks)
    return numbers.map_batches(load, batch_format="pyarrow", batch_size=None, num_cpus=1)


class Told:
    """What a rank reports of its steps; rank 0 passes it on to the log."""

    def __init__(self, log: Any):
        self.log, self.done = log, 0
        self.last: dict[str, float] = {}
        self.first = ray.train.get_context().get_world_rank() == 0

    def __call__(self, losses: dict[str, float]) -> None:
        self.done += 1
        self.last.update(losses)
        if self.first:
            self.log.add.remote(self.done, losses)

    def finish(self) -> None:
        if self.first:
            ray.get(self.log.finish.remote({"steps": self.done, **self.last}))


def begin(config: Config, preprocess: Preprocess, told: Told) -> Run:
    """This rank's part in a run of Ray Train, with its threads and its shard of the SAMPLES."""
    device, shard = get_device(), ray.train.get_dataset_shard("train")
    torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
    torch.manual_seed(config.seed)

    def stream() -> Iterator[Sample]:
        for block in shard.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in block.to_pylist():
                pixels = torch.frombuffer(bytearray(row["pixels"]), dtype=torch.uint8)
                pixels = pixels.view(-1, 3, preprocess.height, preprocess.width)
                yield Sample(row["post_id"], row["caption"], tuple(row["prompts"]), pixels)

    return Run(Shelf(stream), config.seed, told, lambda module: spread(module, "ddp", device))


def work(task: dict[str, Any]) -> None:
    """One rank of Ray Train."""
    config = parse(task["config"])
    retriever: Retriever = ray.get(task["retriever"]).to(get_device())
    told = Told(task["log"])
    trained = train(retriever, config.retriever, begin(config, retriever.preprocess, told))
    if told.first:
        save(trained.student, task["folder"])
        save(trained.teacher, f"{task['folder']}/teacher")
    told.finish()


def save(retriever: Retriever, folder: str) -> None:
    """Write a retriever into a folder, local or `s3://`."""
    with tempfile.TemporaryDirectory() as made:
        retriever.save(made)
        storage.upload(Path(made), folder)


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
