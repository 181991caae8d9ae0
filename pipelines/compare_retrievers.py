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
from m3l.data.storage import claim
from m3l.evaluation.retrieval import average
from m3l.retriever.clip import Retriever
from m3l.retriever.training import steps_of
from pipelines.runtime.console import Summary, console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write
from pipelines.runtime.train_run import watched
from pipelines.train_retriever import trained_on, trainer
from pipelines.workers.compare_retrievers import FOUND, Judge, students, work
from pipelines.workers.train_retriever import samples


def main(config: Config) -> dict[str, Any]:
    """Train a teacher for each seed and its students for each pair of weights; judge all on held-out posts."""
    folder, truth = config.paths.of("comparison"), f"{config.paths.of('corpus')}/truth"
    if not storage.parts(truth):
        raise ConfigError(f"{truth} holds no truth to compare by: it is known of a corpus made by `m3l corpus`")
    ids = trained_on(config)
    made = config.model_dump(mode="json")
    claim(folder, {name: made[name] for name in ("seed", "media", "tasks", "retriever", "compare")})
    started = time.monotonic()
    connect(config.ray)
    seeds = [config.seed + i for i in range(config.compare.seeds)]
    _train(config, folder, ids, [s for s in seeds if storage.read_json(f"{folder}/seed{s}/done.json") is None])
    _judge(config, folder, truth, seeds).show()
    metrics = summarised(storage.read_rows(f"{folder}/found")) | {"seconds": round(time.monotonic() - started, 1)}
    storage.write_json(f"{folder}/metrics.json", metrics)
    for name, told in metrics["recall_at_10"].items():
        console.print(f"  recall@10 {told['mean']:.3f} +- {told['sd']:.3f}  {name}", highlight=False)
    return metrics


def _train(config: Config, folder: str, ids: list[str], seeds: list[int]) -> None:
    if not seeds:
        return
    clip, similarity = config.retriever.clip, config.retriever.similarity
    drawn = clip.tiny or clip.pretrained is None  # else every seed begins with the same weights
    first = Retriever.build(clip, seeds[0], similarity)
    given = [first, *(Retriever.build(clip, seed, similarity) if drawn else first for seed in seeds[1:])]
    held = {id(retriever): ray.put(retriever) for retriever in given}
    task = {
        "config": config.to_yaml(),
        "folder": folder,
        "given": [(seed, held[id(r)]) for seed, r in zip(seeds, given, strict=True)],
    }
    settings = config.retriever
    steps = steps_of(settings.model_copy(update={"epochs": settings.epochs * len(config.compare.weights)}), len(ids))
    data = samples(config, ids, first.preprocess)
    watched(
        "compare-retrievers",
        steps * len(seeds),
        lambda log: trainer(work, config, task | {"log": log}, data).fit(),
    )


def _judge(config: Config, folder: str, truth: str, seeds: list[int]) -> Summary:
    """Every retriever on every held-out post, one retriever after another."""
    ids = [i for split in config.evaluate.splits for i in post_ids(config.paths.of("posts"), split, ("caption",))]
    models = [(seed, name) for seed in seeds for name in ("untrained", "teacher", *students(config))]
    asked = [
        {"key": f"{seed}/{name}/{post_id}", "seed": seed, "name": name, "post_id": post_id}
        for seed, name in models
        for post_id in ids
    ]
    found = f"{folder}/found"
    summary = Summary("compare", found, len(asked), rows_before=storage.count_rows(found))
    if summary.rows_before < len(asked):
        blocks = -(-len(asked) // config.ray.block_rows)
        judged = todo(
            ray.data.from_items(asked, override_num_blocks=blocks), "key", storage.read_column(found, "key")
        ).map_batches(
            Judge,
            fn_constructor_args=(config, folder, truth),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=config.ray.clip_cpus,
            num_gpus=config.ray.clip_gpus or None,
            compute=ray.data.ActorPoolStrategy(size=config.ray.clip_workers),
        )
        write(judged, found, FOUND, "key", summary)
    return summary


def summarised(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Metric -> who chose the frames -> its mean over seeds, their deviation, and each seed's mean over posts."""
    judged: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for found in row["found"]:
            judged[found.pop("by")][row["seed"]].append(found)
    means = {by: [average(found) for _, found in sorted(seeds.items())] for by, seeds in judged.items()}

    def told(metric: str) -> dict[str, Any]:
        values = {by: [v for seed in seeds if (v := seed[metric]) is not None] for by, seeds in means.items()}
        return {by: {"mean": float(np.mean(v)), "sd": float(np.std(v)), "seeds": v} for by, v in values.items() if v}

    return {
        "recall_at_10": told("recall"),
        "mrr": told("reciprocal_rank"),
        "shows_both": told("shows_both"),
        "posts": len(next(iter(judged["uniform"].values()), [])),
        "seeds": sorted(judged["uniform"]),
    }


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
