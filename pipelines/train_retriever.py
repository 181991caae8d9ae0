"""posts/ + keyframes/ -> retriever/: CLIP learns on Ray Train workers to find frames from metadata prompts."""

import time
from typing import Any

import ray

from m3l.config import Config
from m3l.data import storage
from m3l.retriever.clip import Retriever
from m3l.retriever.training import num_steps
from pipelines.runtime.console import console, done_before
from pipelines.runtime.session import connect
from pipelines.workers.retriever_samples import captioned_posts, samples
from pipelines.workers.train_retriever import train_loop_per_worker, train_retrievers


def main(config: Config) -> dict[str, Any]:
    """Train on the captioned posts of the split `train`; write the student, teacher/ below it, and the curve.

    Returns:
        The content of metrics.json: number of posts and steps, seconds, last losses.

    Raises:
        ConfigError: There are no key frames, or too few posts.
    """
    folder, posts, keyframes = (config.paths.of(name) for name in ("retriever", "posts", "keyframes"))
    settings = config.model_dump(mode="json", include={"seed", "tasks", "retriever"})
    if metrics := done_before("train-retriever", folder, settings, "metrics.json"):
        return dict(metrics)
    ids = captioned_posts(posts, keyframes, config.train.workers)
    started = time.monotonic()
    retriever = Retriever.build(config.retriever.clip, config.seed, config.retriever.similarity)
    connect(config.ray)
    data = samples(posts, keyframes, ids, config.tasks, retriever.preprocess, config.seed, config.ray.block_rows)
    loop_config = {"config": config, "retriever": ray.put(retriever), "folder": folder}
    steps = num_steps(config.retriever, len(ids))  # a little fewer where media are broken
    final, curve = train_retrievers("train-retriever", steps, train_loop_per_worker, loop_config, config, data)
    metrics = {"posts": len(ids), "seconds": round(time.monotonic() - started, 1), **final}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", metrics)  # last: its presence says that the folder is complete
    losses = ", ".join(f"{name} {value:.3f}" for name, value in final.items() if name != "steps")
    done = f"{len(ids):,} posts, {final['steps']:,.0f} steps, {metrics['seconds']} s"
    console.print(f"[bold]train-retriever[/]: {done}, {losses} -> {folder}")
    return metrics


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
