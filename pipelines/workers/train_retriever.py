"""One rank of the retriever's training, and the samples that it reads."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train
import torch
from ray.data import Dataset
from ray.train.torch import get_device

from m3l.config import Config, parse
from m3l.data import storage
from m3l.data.keyed_rows import open_store
from m3l.data.records import MediaFrames, Post
from m3l.distributed.parallelize import spread
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, Shelf, make_sample
from m3l.retriever.preprocess import Preprocess
from m3l.retriever.training import Run, train

SAMPLES = pa.schema(
    [
        ("post_id", pa.string()),
        ("caption", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("frames", pa.int32()),
        ("pixels", pa.binary()),  # frames x 3 x height x width bytes: what the towers read, and no more, travels
    ]
)


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
