"""posts/ + keyframes/ + truth -> comparison/: which loss finds the frames that matter, on several seeds."""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.examples import post_ids
from m3l.data.folder_settings import check_settings
from m3l.evaluation.retrieval import mean_scores
from m3l.retriever.clip import Retriever
from m3l.retriever.training import num_steps
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import Resources, Stage
from pipelines.workers.compare_retrievers import SCORES, ScoreRetrievers, compare_loop_per_worker, student_weights
from pipelines.workers.retriever_samples import captioned_posts, samples
from pipelines.workers.train_retriever import train_retrievers


def main(config: Config) -> dict[str, Any]:
    """Train a teacher for each seed and its students for each pair of weights; score all on held-out posts.

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError: The posts have no ground truth, there are too few, or the folder was written with other settings.
    """
    folder, truth = config.paths.of("comparison"), f"{config.paths.of('corpus')}/truth"
    if not storage.parts(truth):
        raise ConfigError(f"{truth} holds no truth to compare by: only a corpus of `m3l corpus` has one")
    ids = captioned_posts(config.paths.of("posts"), config.paths.of("keyframes"), config.train.workers)
    check_settings(folder, config.model_dump(mode="json", include={"seed", "media", "tasks", "retriever", "compare"}))
    started = time.monotonic()
    connect(config.ray)
    seeds = [config.seed + i for i in range(config.compare.seeds)]
    _train(config, folder, ids, [s for s in seeds if storage.read_json(f"{folder}/seed{s}/done.json") is None])
    _score_stage(config, folder, truth, seeds).run(config.ray)
    metrics = summarise(storage.read_rows(f"{folder}/found")) | {"seconds": round(time.monotonic() - started, 1)}
    storage.write_json(f"{folder}/metrics.json", metrics)
    for name, recall in metrics["recall_at_10"].items():
        console.print(f"  recall@10 {recall['mean']:.3f} +- {recall['sd']:.3f}  {name}", highlight=False)
    return metrics


def _train(config: Config, folder: str, ids: list[str], seeds: list[int]) -> None:
    if not seeds:
        return
    posts, keyframes = config.paths.of("posts"), config.paths.of("keyframes")
    retrievers = _initial_retrievers(config, seeds)
    references = {id(retriever): ray.put(retriever) for retriever in retrievers}
    loop_config = {
        "config": config,
        "folder": folder,
        "retrievers": [(seed, references[id(r)]) for seed, r in zip(seeds, retrievers, strict=True)],
    }
    settings = config.retriever
    epochs = settings.epochs * len(config.compare.weights)
    steps = num_steps(settings.model_copy(update={"epochs": epochs}), len(ids))
    data = samples(posts, keyframes, ids, config.tasks, retrievers[0].preprocess, config.seed, config.ray.block_rows)
    title = "compare-retrievers"
    train_retrievers(title, steps * len(seeds), compare_loop_per_worker, loop_config, config, data)


def _initial_retrievers(config: Config, seeds: list[int]) -> list[Retriever]:
    """The retriever that each seed starts from; one for all where its weights are pretrained."""
    clip, similarity = config.retriever.clip, config.retriever.similarity
    first = Retriever.build(clip, seeds[0], similarity)
    if not clip.tiny and clip.pretrained is not None:
        return [first] * len(seeds)
    return [first, *(Retriever.build(clip, seed, similarity) for seed in seeds[1:])]


def _score_stage(config: Config, folder: str, truth: str, seeds: list[int]) -> Stage:
    """Every retriever on every held-out post, one retriever after another."""
    ids = [i for split in config.evaluate.splits for i in post_ids(config.paths.of("posts"), split, ("caption",))]
    names = ("untrained", "teacher", *student_weights(config.compare.weights))
    cases = [
        {"key": f"{seed}/{name}/{post_id}", "seed": seed, "name": name, "post_id": post_id}
        for seed in seeds
        for name in names
        for post_id in ids
    ]
    blocks = max(1, -(-len(cases) // config.ray.block_rows))
    return Stage(
        name="compare",
        input=lambda: ray.data.from_items(cases, override_num_blocks=blocks),
        rows=len(cases),
        key="key",
        worker=ScoreRetrievers,
        arguments=(config, folder, truth),
        output=f"{folder}/found",
        schema=SCORES,
        resources=Resources(config.ray.clip_cpus, config.ray.clip_gpus, pool=config.ray.clip_workers),
        block_rows=config.ray.block_rows,
    )


def summarise(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Metric -> who chose the frames -> its mean over seeds, their deviation, and each seed's mean over posts.

    Args:
        rows: Rows of SCORES.
    """
    scores: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for score in row["found"]:
            scores[score.pop("by")][row["seed"]].append(score)
    means = {by: [mean_scores(of_seed) for _, of_seed in sorted(seeds.items())] for by, seeds in scores.items()}

    def over_seeds(metric: str) -> dict[str, Any]:
        values = {by: [v for seed in seeds if (v := seed[metric]) is not None] for by, seeds in means.items()}
        return {by: {"mean": float(np.mean(v)), "sd": float(np.std(v)), "seeds": v} for by, v in values.items() if v}

    return {
        "recall_at_10": over_seeds("recall"),
        "mrr": over_seeds("reciprocal_rank"),
        "shows_both": over_seeds("shows_both"),
        "posts": len(next(iter(scores["uniform"].values()), [])),
        "seeds": sorted(scores["uniform"]),
    }


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
