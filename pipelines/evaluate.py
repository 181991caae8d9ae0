"""bundle/ + held-out posts -> report/: every figure beside its baseline, as JSON and as one HTML page."""

import time
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import ray
from ray.data import Dataset

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.folder_settings import check_settings, read_settings
from m3l.data.id_hash import hash_texts
from m3l.evaluation.aggregate import Aggregation, aggregate_metrics
from m3l.evaluation.baseline_predictions import predict_baselines
from m3l.evaluation.held_out import HELD_OUT_COLUMNS, HeldOutPosts, truth_folder
from m3l.evaluation.score_schema import SCORES
from m3l.evaluation.text_metrics import DocumentFrequencies
from m3l.report.build import build_report
from m3l.report.collect import collect_report
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import Resources, Stage, read_parts
from pipelines.workers.evaluate import EvaluateBundle

PACKAGES = ("ray", "torch", "transformers", "peft", "open_clip_torch", "katna", "av")


def main(config: Config, seconds: dict[str, float] | None = None) -> dict[str, Any]:
    """Measure the bundle on `config.evaluate.splits` beside baselines that have the same training rows; the report.

    The driver counts the words of the held-out captions and keeps 8 bytes a post. Rows and predictions stay with
    the workers, of which one fits the baselines and one holds the numbers of all held-out posts (1 KB a post).

    Args:
        config: The configuration.
        seconds: Durations of earlier stages, for the report.

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError: There is no finished bundle, no held-out post, or a folder was written with other settings.
    """
    folder, posts = config.paths.of("report"), config.paths.of("posts")
    _check(config, folder)
    connect(config.ray)
    started = time.monotonic()
    held_out = HeldOutPosts(posts, config.evaluate.splits, config.heads)
    frequencies = ray.put(DocumentFrequencies(row["caption"] or "" for row in held_out.rows(HELD_OUT_COLUMNS)))
    baselines = ray.remote(num_cpus=1)(predict_baselines).remote(
        held_out, _history(config), f"{folder}/baselines", frequencies
    )
    _evaluate_stage(config, held_out, f"{folder}/predictions", frequencies).run(config.ray)
    train_posts = ray.get(baselines)
    aggregation = Aggregation(
        predictions=f"{folder}/predictions",
        baselines=f"{folder}/baselines",
        bundle=config.paths.of("bundle"),
        replicates=config.evaluate.bootstrap,
        seed=config.seed,
        noise=config.corpus.noise if truth_folder(config.paths.of("corpus")) else None,
    )
    metrics, points = ray.get(ray.remote(num_cpus=1)(aggregate_metrics).remote(aggregation))
    metrics["run"] = {
        "seed": config.seed,
        "posts": storage.count_rows(posts),
        "train_posts": train_posts,
        "seconds": {**(seconds or {}), "evaluate": round(time.monotonic() - started, 1)},
        "versions": {name: version(name) for name in PACKAGES},
    }
    storage.write_json(f"{folder}/metrics.json", metrics)
    build_report(collect_report(config, f"{folder}/predictions", metrics, points), folder)
    console.print(f"[bold]evaluate[/]: {folder}/index.html, {folder}/metrics.json")
    return metrics


def _check(config: Config, folder: str) -> None:
    """ConfigError where something is missing, or the report's folder was written with other settings."""
    bundle, embeddings = config.paths.of("bundle"), config.paths.of("embeddings")
    if storage.read_json(f"{bundle}/metrics.json") is None:
        raise ConfigError(f"{bundle} holds no finished bundle: run `m3l train` first")
    if truth_folder(config.paths.of("corpus")) and not storage.parts(embeddings):
        raise ConfigError(f"{embeddings} holds no embeddings: run `m3l retrieve` first")
    digest, splits = storage.digest(f"{bundle}/bundle.json", f"{bundle}/config.yaml"), list(config.evaluate.splits)
    check_settings(f"{folder}/predictions", {"bundle": digest, "why": config.evaluate.why, "splits": splits})
    history = _history(config)
    histories = read_settings(history) if history else None
    check_settings(f"{folder}/baselines", {"splits": splits, "tells": list(config.heads), "histories": histories})


def _history(config: Config) -> str | None:
    """The folder of histories; None where there are none."""
    history = config.paths.of("history")
    return history if storage.parts(history) else None


def _evaluate_stage(
    config: Config, held_out: HeldOutPosts, folder: str, frequencies: "ray.ObjectRef[DocumentFrequencies]"
) -> Stage:
    """Every held-out post through the bundle; ConfigError if there is none."""
    ids = hash_texts(row["post_id"] for row in held_out.rows(HELD_OUT_COLUMNS))
    if not len(ids):
        raise ConfigError(f"evaluate.splits: {held_out.folder} has no post in {', '.join(config.evaluate.splits)}")
    explained = config.evaluate.why
    explained_up_to = int(np.sort(ids)[:explained][-1]) if explained else np.iinfo(np.int64).min
    return Stage(
        name="evaluate",
        input=partial(_held_out_ids, held_out, blocks=-(-len(ids) // config.evaluate.batch_size)),
        rows=len(ids),
        key="post_id",
        worker=EvaluateBundle,
        arguments=(config, frequencies, explained_up_to),
        output=folder,
        schema=SCORES,
        resources=Resources(config.ray.model_cpus, config.ray.model_gpus, pool=config.ray.predict_workers),
        block_rows=config.evaluate.batch_size,
    )


def _held_out_ids(held_out: HeldOutPosts, blocks: int) -> Dataset:
    """The ids of the held-out posts, about as many in each block."""
    return read_parts(held_out.folder, HELD_OUT_COLUMNS, blocks).map_batches(
        held_out.filter_ids, batch_format="pyarrow", batch_size=None
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
