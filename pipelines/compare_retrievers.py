"""posts/ + keyframes/ + truth -> comparison/: which loss finds the frames that matter, on several seeds."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.train.torch import get_device

from m3l.config import Config, ConfigError, parse
from m3l.data import storage
from m3l.data.examples import key_frames, post_ids
from m3l.data.keyed_rows import open_store
from m3l.data.records import MediaFrames, Post
from m3l.data.schemas import to_table
from m3l.data.storage import claim
from m3l.evaluation.retrieval import JUDGED, Album, average, evenly
from m3l.prompts.render import metadata
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import best_first
from m3l.retriever.training import Run, found_by, make_student, make_teacher, steps_of
from pipelines.runtime.console import Summary, console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write
from pipelines.runtime.train_run import watched
from pipelines.train_retriever import Told, begin, samples, save, trained_on, trainer

FOUND = pa.schema([pa.field("key", pa.string(), nullable=False), ("seed", pa.int64()), ("found", pa.list_(JUDGED))])


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


def students(config: Config) -> dict[str, tuple[float, float]]:
    """What each student is called, and its weights of BCE and DFR."""
    return {f"bce{bce:g}-dfr{dfr:g}": (bce, dfr) for bce, dfr in config.compare.weights}


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


def work(task: dict[str, Any]) -> None:
    """One rank of Ray Train: the samples are read once for all seeds, the teacher trained once for all weights."""
    config, folder, told = parse(task["config"]), task["folder"], Told(task["log"])
    run: Run | None = None
    for seed, given in task["given"]:
        retriever: Retriever = ray.get(given).to(get_device())
        run = (run or begin(config, retriever.preprocess, told))._replace(seed=seed)
        made = f"{folder}/seed{seed}"
        if told.first:
            save(retriever, f"{made}/untrained")
        teacher = make_teacher(retriever, config.retriever, run)
        known = found_by(teacher, config.retriever, run.shelf)
        for name, (bce, dfr) in students(config).items():
            weighted = config.retriever.model_copy(update={"bce_weight": bce, "dfr_weight": dfr})
            student = make_student(teacher, known, weighted, run)
            if told.first:
                save(student, f"{made}/{name}")
        if told.first:
            save(teacher, f"{made}/teacher")
            storage.write_json(f"{made}/done.json", {"steps": told.done})
    told.finish()


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


class Judge:
    """A Ray Data actor: holds one retriever at a time."""

    def __init__(self, config: Config, folder: str, truth: str):
        torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
        self.config, self.folder, self.truth = config, folder, truth

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.to_pylist()
        told = [{"key": r["key"], "seed": r["seed"], "found": self._found(**r)} for r in rows]
        return to_table(told, FOUND)

    def _found(self, key: str, seed: int, name: str, post_id: str) -> list[dict[str, Any]]:
        """What the retriever finds in the post, by what it was asked; empty where there is no choice."""
        k, paths = self.config.retriever.top_k, self.config.paths
        post = Post.model_validate(open_store(paths.of("posts"), "post_id")[post_id][0])
        files: list[MediaFrames] = list(key_frames(paths.of("keyframes"), post))
        images = [frame.image for file in files for frame in file.frames]
        truths = open_store(self.truth, "post_id").get(post_id)
        if len(images) <= k or not truths:
            return []
        retriever = _loaded(f"{self.folder}/seed{seed}/{name}", bool(self.config.ray.clip_gpus))
        album = Album.of(files, retriever.stored_images(images), truths[0])
        if not album.leaves_a_choice(k):
            return []
        asked = {name: [metadata(task, post) for task in self.config.tasks]}
        if name == "teacher":
            asked["teacher_caption"] = [post.caption or ""]
        frames = album.vectors.astype(np.float32)
        orders = {
            by: [best_first(query, frames, k) for query in retriever.stored_texts(texts).astype(np.float32)]
            for by, texts in asked.items()
        }
        if name == "untrained":
            orders["uniform"] = [evenly(len(images), k)]
        return [{"by": by, **average([album.judge(order, k) for order in made])} for by, made in orders.items()]


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


@lru_cache(maxsize=1)
def _loaded(folder: str, gpu: bool) -> Retriever:
    with tempfile.TemporaryDirectory() as local:
        return Retriever.load(storage.download(folder, Path(local))).to("cuda" if gpu else "cpu").frozen()


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
