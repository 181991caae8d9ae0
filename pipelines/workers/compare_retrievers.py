"""One rank that trains the compared retrievers, and the actor that scores them."""

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.train.torch import get_device

from m3l.config import Config, parse
from m3l.data import storage
from m3l.data.examples import key_frames
from m3l.data.keyed_rows import open_store
from m3l.data.records import MediaFrames, Post
from m3l.data.schemas import to_table
from m3l.evaluation.retrieval import JUDGED, Album, average, evenly
from m3l.prompts.render import metadata
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import best_first
from m3l.retriever.training import Run, found_by, make_student, make_teacher
from pipelines.workers.train_retriever import Told, begin, save

FOUND = pa.schema([pa.field("key", pa.string(), nullable=False), ("seed", pa.int64()), ("found", pa.list_(JUDGED))])


def students(config: Config) -> dict[str, tuple[float, float]]:
    """What each student is called, and its weights of BCE and DFR."""
    return {f"bce{bce:g}-dfr{dfr:g}": (bce, dfr) for bce, dfr in config.compare.weights}


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


@lru_cache(maxsize=1)
def _loaded(folder: str, gpu: bool) -> Retriever:
    with tempfile.TemporaryDirectory() as local:
        return Retriever.load(storage.download(folder, Path(local))).to("cuda" if gpu else "cpu").frozen()
