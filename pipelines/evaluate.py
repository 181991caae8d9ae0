"""bundle/ + held-out posts -> report/: every figure beside its baseline, as JSON and as one HTML page."""

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import ray

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.id_hash import hashes
from m3l.data.storage import SETTINGS, claim
from m3l.evaluation.aggregate import figures
from m3l.evaluation.baseline_predictions import tell_baselines
from m3l.evaluation.held_out import NEEDED, heads_of, held_out, only_held_out, truth_of
from m3l.evaluation.score_schema import MEASURED
from m3l.evaluation.text_metrics import Documents
from m3l.report.build import build_report
from m3l.report.collect import evaluation
from pipelines.runtime.console import Summary, console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write
from pipelines.workers.evaluate import Measure

PACKAGES = ("ray", "torch", "transformers", "peft", "open_clip_torch", "katna", "av")


def main(config: Config, seconds: dict[str, float] | None = None) -> dict[str, Any]:
    """Measure the bundle on `config.evaluate.splits` beside baselines that know the same training rows; the report.

    The driver counts the words of the held-out captions and keeps 8 bytes a post; rows and predictions stay with
    the workers, of which one fits the baselines and one holds the numbers of all held-out posts (1 KB a post).
    """
    folder, posts = config.paths.of("report"), config.paths.of("posts")
    if storage.read_json(f"{config.paths.of('bundle')}/metrics.json") is None:
        raise ConfigError(f"{config.paths.of('bundle')} holds no finished bundle: run `m3l train` first")
    if truth_of(config) and not storage.parts(config.paths.of("embeddings")):
        raise ConfigError(f"{config.paths.of('embeddings')} holds no embeddings: run `m3l retrieve` first")
    bundle = storage.digest(*(f"{config.paths.of('bundle')}/{name}" for name in ("bundle.json", "config.yaml")))
    splits = list(config.evaluate.splits)
    claim(f"{folder}/predictions", {"bundle": bundle, "why": config.evaluate.why, "splits": splits})
    past = config.paths.of("history")
    histories = storage.read_json(f"{past}/{SETTINGS}") if storage.parts(past) else None
    claim(f"{folder}/baselines", {"splits": splits, "tells": list(heads_of(config)), "histories": histories})
    connect(config.ray)
    started = time.monotonic()
    documents = ray.put(Documents(row["caption"] or "" for row in held_out(config, NEEDED)))
    baselines = ray.remote(num_cpus=1)(tell_baselines).remote(config, f"{folder}/baselines", documents)
    _measure(config, f"{folder}/predictions", documents).show()
    train_posts = ray.get(baselines)
    metrics, points = ray.get(
        ray.remote(num_cpus=1)(figures).remote(config, f"{folder}/predictions", f"{folder}/baselines")
    )
    took = {**(seconds or {}), "evaluate": round(time.monotonic() - started, 1)}
    metrics["run"] = {
        "seed": config.seed,
        "posts": storage.count_rows(posts),
        "train_posts": train_posts,
        "seconds": took,
        "versions": {name: version(name) for name in PACKAGES},
    }
    storage.write_json(f"{folder}/metrics.json", metrics)
    build_report(evaluation(config, f"{folder}/predictions", metrics, points), folder)
    console.print(f"[bold]evaluate[/]: {folder}/index.html, {folder}/metrics.json")
    return metrics


def _measure(config: Config, folder: str, documents: "ray.ObjectRef[Documents]") -> Summary:
    ids, posts = hashes(row["post_id"] for row in held_out(config, NEEDED)), config.paths.of("posts")
    if not len(ids):
        raise ConfigError(f"evaluate.splits: {posts} has no post in {', '.join(config.evaluate.splits)}")
    summary = Summary("evaluate", folder, len(ids))
    done = list(storage.read_column(folder, "post_id"))
    summary.rows_before = len(done)
    asked = int(np.sort(ids)[: config.evaluate.why][-1]) if config.evaluate.why else np.iinfo(np.int64).min
    rows = ray.data.read_parquet(
        storage.parts(posts),
        filesystem=storage.locate(posts)[0],
        columns=NEEDED,
        override_num_blocks=-(-len(ids) // config.evaluate.batch_size),  # about as many held-out posts in each
    )
    chosen = rows.map_batches(
        only_held_out,
        fn_kwargs={"splits": config.evaluate.splits, "heads": heads_of(config)},
        batch_format="pyarrow",
        batch_size=None,
    )
    measured = (
        todo(chosen, "post_id", done)
        .repartition(target_num_rows_per_block=config.evaluate.batch_size)
        .map_batches(
            Measure,
            fn_constructor_args=(config, documents, asked),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=config.ray.model_cpus,
            num_gpus=config.ray.model_gpus or None,
            compute=ray.data.ActorPoolStrategy(size=config.ray.predict_workers),
        )
    )
    return write(measured, folder, MEASURED, "post_id", summary)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
