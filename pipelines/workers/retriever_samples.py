"""The samples of the retriever's training, read by Ray Data.

Nothing here imports PyTorch before the first sample is made: Ray unpickles the data set in processes that make none.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import ray
from ray.data import Dataset

from m3l.config import ConfigError, TaskConfig
from m3l.data import storage
from m3l.data.examples import post_ids
from m3l.data.keyed_rows import open_rows
from m3l.data.records import MediaFrames, Post

if TYPE_CHECKING:
    from m3l.retriever.preprocess import Preprocess

SAMPLES = pa.schema(
    [
        ("post_id", pa.string()),
        ("caption", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("frames", pa.int32()),
        ("pixels", pa.binary()),  # frames x 3 x height x width bytes: what the towers read, and no more, travels
    ]
)


def captioned_posts(posts: str, keyframes: str, workers: int) -> list[str]:
    """Ids of the captioned posts of the split `train`.

    Args:
        posts: Folder of the posts.
        keyframes: Folder of their key frames.
        workers: Number of ranks, each of which needs at least one post.

    Raises:
        ConfigError: There are no key frames, or too few posts.
    """
    if not storage.parts(keyframes):
        raise ConfigError(f"{keyframes} holds no key frames: run `m3l frames` first")
    ids = post_ids(posts, "train", ("caption",))
    if len(ids) < workers:
        raise ConfigError(f"{posts} has {len(ids)} captioned posts of the split 'train' for {workers} workers")
    return ids


def samples(
    posts: str,
    keyframes: str,
    ids: Sequence[str],
    tasks: Sequence[TaskConfig],
    preprocess: "Preprocess",
    seed: int,
    block_rows: int,
) -> Dataset:
    """The SAMPLES of posts in a random order; posts without readable frames are left out.

    Args:
        posts: Folder of the posts.
        keyframes: Folder of their key frames.
        ids: The posts.
        tasks: The tasks, of which each has a metadata prompt.
        preprocess: The retriever's way from images to pixels.
        seed: Seed of the order.
        block_rows: Posts that a worker reads at a time.
    """
    shuffled_ids = ray.put(np.random.default_rng(seed).permutation(ids))
    shared_preprocess = ray.put(preprocess)

    def load(block: pa.Table) -> pa.Table:
        from m3l.retriever.dataset import make_sample

        all_posts, media = open_rows(posts, "post_id"), open_rows(keyframes, "media_id")
        rows = []
        for post_id in ray.get(shuffled_ids)[block["id"].to_numpy()]:
            post = Post.model_validate(all_posts[post_id][0])
            files = [MediaFrames.model_validate(row) for m in post.media for row in media.get(m.media_id)[:1]]
            if sample := make_sample(post, files, tasks, ray.get(shared_preprocess)):
                pixels = sample.pixels.contiguous().numpy()
                rows.append(vars(sample) | {"frames": len(pixels), "pixels": pixels.tobytes()})
        return pa.Table.from_pylist(rows, schema=SAMPLES)

    numbers = ray.data.range(len(ids), override_num_blocks=-(-len(ids) // block_rows))
    return numbers.map_batches(load, batch_format="pyarrow", batch_size=None, num_cpus=1)
