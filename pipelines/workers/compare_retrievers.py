"""One rank that trains the compared retrievers, and the actor that scores them."""

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.train.torch import get_device

from m3l.config import Config
from m3l.data import storage
from m3l.data.examples import key_frames
from m3l.data.keyed_rows import open_rows
from m3l.data.records import MediaFrames, Post
from m3l.data.schemas import to_table
from m3l.evaluation.retrieval import FRAME_SCORES, RetrievalCase, mean_scores, uniform_indices
from m3l.prompts.render import metadata_prompt
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import top_k_indices
from m3l.retriever.training import TrainContext, pseudo_labels, train_student, train_teacher
from pipelines.workers.train_retriever import StepReporter, make_run, save

SCORES = pa.schema(
    [pa.field("key", pa.string(), nullable=False), ("seed", pa.int64()), ("found", pa.list_(FRAME_SCORES))]
)


def student_weights(weights: Sequence[tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The name of each student, and its weights of BCE and DFR."""
    return {f"bce{bce:g}-dfr{dfr:g}": (bce, dfr) for bce, dfr in weights}


def compare_loop_per_worker(loop_config: dict[str, Any]) -> None:
    """One rank of Ray Train: the samples are read once for all seeds, a teacher is trained once for all weights.

    Args:
        loop_config: `config`, the `Config`; `folder`, where the retrievers go; `retrievers`, pairs of a seed and a
            reference to the retriever that it starts from; `log`, the handle of the run's `RunLog`.
    """
    config: Config = loop_config["config"]
    report = StepReporter(loop_config["log"])
    run: TrainContext | None = None
    for seed, reference in loop_config["retrievers"]:
        retriever: Retriever = ray.get(reference).to(get_device())
        if run is None:
            run = make_run(retriever.preprocess, config.seed, int(config.ray.clip_cpus), report)
        _train_seed(config, f"{loop_config['folder']}/seed{seed}", retriever, run._replace(seed=seed), report)
    report.finish()


def _train_seed(config: Config, folder: str, retriever: Retriever, run: TrainContext, report: StepReporter) -> None:
    if report.is_first:
        save(retriever, f"{folder}/untrained")
    teacher = train_teacher(retriever, config.retriever, run)
    labels = pseudo_labels(teacher, config.retriever, run.samples)
    for name, (bce, dfr) in student_weights(config.compare.weights).items():
        weighted = config.retriever.model_copy(update={"bce_weight": bce, "dfr_weight": dfr})
        student = train_student(teacher, labels, weighted, run)
        if report.is_first:
            save(student, f"{folder}/{name}")
    if report.is_first:
        save(teacher, f"{folder}/teacher")
        storage.write_json(f"{folder}/done.json", {"steps": report.done})


class ScoreRetrievers:
    """A Ray Data actor that scores retrievers on held-out posts; holds one retriever at a time.

    Args:
        config: Folders, tasks and resources.
        folder: Where the retrievers are: `seed{seed}/{name}`.
        truth: Folder of the synthetic corpus' truth.
    """

    def __init__(self, config: Config, folder: str, truth: str):
        torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
        self.config, self.folder, self.truth = config, folder, truth

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.to_pylist()
        return to_table([{"key": r["key"], "seed": r["seed"], "found": self._scores(**r)} for r in rows], SCORES)

    def _scores(self, key: str, seed: int, name: str, post_id: str) -> list[dict[str, Any]]:
        """The scores of a retriever on a post, by the kind of query; empty where there is no choice of frames."""
        k, paths = self.config.retriever.top_k, self.config.paths
        post = Post.model_validate(open_rows(paths.of("posts"), "post_id")[post_id][0])
        files: list[MediaFrames] = list(key_frames(paths.of("keyframes"), post))
        images = [frame.image for file in files for frame in file.frames]
        truths = open_rows(self.truth, "post_id").get(post_id)
        if len(images) <= k or not truths:
            return []
        retriever = _loaded(f"{self.folder}/seed{seed}/{name}", bool(self.config.ray.clip_gpus))
        case = RetrievalCase.of(files, retriever.image_embeddings(images), truths[0])
        if not case.has_choice(k):
            return []
        queries = {name: [metadata_prompt(task, post) for task in self.config.tasks]}
        if name == "teacher":
            queries["teacher_caption"] = [post.caption or ""]
        frames = case.vectors.astype(np.float32)
        rankings = {
            by: [top_k_indices(query, frames, k) for query in retriever.query_embeddings(texts).astype(np.float32)]
            for by, texts in queries.items()
        }
        if name == "untrained":
            rankings["uniform"] = [uniform_indices(len(images), k)]
        return [
            {"by": by, **mean_scores([case.score(ranking, k) for ranking in each])} for by, each in rankings.items()
        ]


@lru_cache(maxsize=1)
def _loaded(folder: str, gpu: bool) -> Retriever:
    with tempfile.TemporaryDirectory() as local:
        return (
            Retriever.load(storage.local_copy(folder, Path(local))).to("cuda" if gpu else "cpu").freeze_for_inference()
        )
