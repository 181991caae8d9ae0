"""posts/ + keyframes/ -> retriever/: CLIP learns, on Ray Train workers, to find frames from metadata."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
import torch
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from m3l import storage
from m3l.config import Config, ConfigError, parse
from m3l.parallel import spread
from m3l.prompts import metadata
from m3l.records import Post
from m3l.retriever.clip import Retriever
from m3l.retriever.samples import Sample, Shelf
from m3l.retriever.training import steps_of, train
from m3l.store import open_store
from pipelines.examples import key_frames, post_ids
from pipelines.session import connect
from pipelines.stage import claim, console
from pipelines.watch import run_folder, watched

SAMPLES = pa.schema(
    [
        ("post_id", pa.string()),
        ("caption", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("images", pa.list_(pa.binary())),
    ]
)
BLOCK_POSTS = 32


def main(config: Config) -> dict[str, Any]:
    """Train on the posts of the split `train` that have a caption and readable media; the teacher stands beside."""
    folder = config.paths.of("retriever")
    settings = config.model_dump(mode="json")
    claim(folder, {name: settings[name] for name in ("seed", "retriever", "tasks")})
    known = storage.read_json(f"{folder}/metrics.json")
    if known:
        console.print(f"[bold]train-retriever[/]: done before -> {folder}")
        return dict(known)
    connect(config.ray)
    posts, keyframes = config.paths.of("posts"), config.paths.of("keyframes")
    ids = _readable(posts, keyframes)
    workers, gpus = config.train.workers, config.ray.clip_gpus
    if len(ids) < workers:
        raise ConfigError(f"{keyframes} has no key frames of training posts with a caption: run `m3l frames` first")
    rows = ray.data.from_items([{"post_id": i} for i in ids], override_num_blocks=-(-len(ids) // BLOCK_POSTS))
    samples = rows.map_batches(
        lambda block: _samples(config, block), batch_format="pyarrow", batch_size=None, num_cpus=0.5
    )

    def run(log: Any) -> None:
        TorchTrainer(
            work,
            train_loop_config={"config": config.to_yaml(), "folder": folder, "log": log},
            datasets={"train": samples},
            dataset_config=DataConfig(datasets_to_split=["train"]),
            torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=300),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": config.ray.clip_cpus, **({"GPU": gpus} if gpus else {})},
            ),
            run_config=RunConfig(
                name=f"run-{os.urandom(6).hex()}",
                storage_path=run_folder(folder),
                failure_config=FailureConfig(max_failures=1),
            ),
        ).fit()

    final, curve = watched("train-retriever", steps_of(config.retriever, len(ids) // workers), run)
    metrics = {"train_posts": len(ids), **final}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", metrics)
    console.print(f"[bold]train-retriever[/]: {len(ids):,} posts, {len(curve)} points of its curve -> {folder}")
    return metrics


def work(task: dict[str, Any]) -> None:
    """One rank of Ray Train; rank 0 writes the student, and the teacher below it."""
    config, log = parse(task["config"]), task["log"]
    rank, device = ray.train.get_context().get_world_rank(), get_device()
    torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
    settings = config.retriever
    retriever = Retriever.build(settings.clip, config.seed, settings.similarity).to(device)
    shard, last, done = ray.train.get_dataset_shard("train"), {}, 0

    def samples() -> Iterator[Sample]:
        for batch in shard.iter_batches(batch_size=settings.batch_size, batch_format="pyarrow"):
            for row in batch.to_pylist():
                pixels = retriever.preprocess(row["images"])
                yield Sample(row["post_id"], row["caption"], tuple(row["prompts"]), pixels)

    def report(losses: dict[str, float]) -> None:
        nonlocal last, done
        last, done = losses, done + 1
        if rank == 0:
            log.add.remote(done, losses)

    trained = train(
        retriever,
        Shelf(samples),
        settings,
        config.seed,
        report,
        lambda module: spread(module, config.train.strategy, device),
    )
    if rank == 0:
        with tempfile.TemporaryDirectory() as temporary:
            trained.student.save(temporary)
            trained.teacher.save(Path(temporary) / "teacher")
            storage.upload(Path(temporary), task["folder"])
        ray.get(log.finish.remote(last))


def _readable(posts: str, keyframes: str) -> list[str]:
    """The training posts with a caption and at least one file that was read."""
    read = {r["media_id"] for r in storage.read_rows(keyframes, ["media_id", "error"], 65536) if r["error"] is None}
    wanted = set(post_ids(posts, "train", ("caption",)))
    rows = (Post.model_validate(row) for row in storage.read_rows(posts, batch_rows=4096) if row["post_id"] in wanted)
    return [post.post_id for post in rows if any(item.media_id in read for item in post.media)]


def _samples(config: Config, block: pa.Table) -> pa.Table:
    paths = config.paths
    store = open_store(paths.of("posts"), "post_id")
    posts = [Post.model_validate(store[i][0]) for i in block["post_id"].to_pylist()]
    rows = [
        {
            "post_id": post.post_id,
            "caption": post.caption,
            "prompts": [metadata(task, post) for task in config.tasks],
            "images": [frame.image for file in key_frames(paths.of("keyframes"), post) for frame in file.frames],
        }
        for post in posts
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
