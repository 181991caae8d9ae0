"""bundle/ + held-out posts -> report/: every figure beside its baseline, as JSON and as one HTML page."""

import time
from datetime import date
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import ray

from m3l import storage
from m3l.baselines import AccountMedian, MetadataTrees
from m3l.config import Config, ConfigError
from m3l.corpus import World, on_screen
from m3l.measure import MEASURED, measure
from m3l.records import Post, to_table
from m3l.report import Evaluation, build_report
from m3l.report.evaluation import Frame, Shown, Span, Trial
from m3l.retriever.stored import Embeddings
from m3l.simulate import Simulator
from m3l.store import open_store
from m3l.summarise import summarise
from pipelines.examples import example, key_frames, load_examples, rows
from pipelines.session import connect
from pipelines.stage import Summary, console, todo, write

POINTS = 2000  # in the report's scatter
PACKAGES = ("ray", "torch", "transformers", "peft", "open_clip_torch", "katna", "av")


def main(config: Config, seconds: dict[str, float] | None = None) -> dict[str, Any]:
    """Measure the bundle on `config.evaluate.splits`, fit the baselines on the same training rows, write the report."""
    folder, posts = config.paths.of("report"), config.paths.of("posts")
    if storage.read_json(f"{config.paths.of('bundle')}/metrics.json") is None:
        raise ConfigError(f"{config.paths.of('bundle')} holds no finished bundle: run `m3l train` first")
    if _truth(config) and not storage.parts(config.paths.of("embeddings")):
        raise ConfigError(f"{config.paths.of('embeddings')} holds no embeddings: run `m3l retrieve` first")
    connect(config.ray)
    started = time.monotonic()
    predictions = f"{folder}/predictions"
    _measure(config, posts, predictions).show()
    train, held_out = _posts(posts, ("train",)), _posts(posts, config.evaluate.splits)
    baselines = {
        "trees_metadata": MetadataTrees(config.seed).fit(train).predict(held_out),
        "account_median": AccountMedian().fit(train).predict(held_out),
    }
    told = {name: dict(zip([p.post_id for p in held_out], v, strict=True)) for name, v in baselines.items()}
    subjects = list(World.build(config.corpus, config.seed).subjects) if _truth(config) else []
    metrics = summarise(storage.read_rows(predictions), told, subjects, config.evaluate.bootstrap, config.seed)
    took = {**(seconds or {}), "evaluate": round(time.monotonic() - started, 1)}
    metrics["run"] = {
        "seed": config.seed,
        "posts": storage.count_rows(posts),
        "train_posts": len(train),
        "seconds": took,
        "versions": {name: version(name) for name in PACKAGES},
    }
    storage.write_json(f"{folder}/metrics.json", metrics)
    build_report(_evaluation(config, predictions, metrics, len(train)), folder)
    console.print(f"[bold]evaluate[/]: {folder}/index.html, {folder}/metrics.json")
    return metrics


class Measure:
    """A Ray Data actor that holds the bundle."""

    def __init__(self, config: Config, truth: str | None):
        self.config, self.truth = config, truth
        self.simulator = Simulator.load(config.paths.of("bundle"))
        self.embeddings = Embeddings(config.paths.of("embeddings")) if truth else None

    def __call__(self, block: pa.Table) -> pa.Table:
        paths, ids = self.config.paths, block["post_id"].to_pylist()
        posts = list(rows(load_examples(paths.of("posts"), paths.of("context"), ids), self.config.tasks))
        truths = [_one(self.truth, i) for i in ids]
        media = [list(key_frames(paths.of("keyframes"), next(iter(row.values())).post)) for row in posts]
        return to_table(measure(self.simulator, posts, truths, media, self.embeddings), MEASURED)


def _measure(config: Config, posts: str, folder: str) -> Summary:
    ids = [p.post_id for p in _posts(posts, config.evaluate.splits) if p.likes is not None and p.caption]
    if not ids:
        raise ConfigError(f"evaluate.splits: {posts} has no post in {', '.join(config.evaluate.splits)}")
    summary = Summary("evaluate", folder, len(ids))
    done = list(storage.read_column(folder, "post_id"))
    summary.rows_before = len(done)
    batch = config.evaluate.batch_size
    numbers = ray.data.from_items([{"post_id": i} for i in ids], override_num_blocks=-(-len(ids) // batch))
    measured = todo(numbers, "post_id", done).map_batches(
        Measure,
        fn_constructor_args=(
            config,
            _truth(config),
        ),
        batch_format="pyarrow",
        batch_size=None,
        num_cpus=config.ray.model_cpus,
        num_gpus=config.ray.model_gpus or None,
        compute=ray.data.ActorPoolStrategy(size=config.ray.predict_workers),
    )
    return write(measured, folder, MEASURED, "post_id", summary)


def _posts(folder: str, splits: tuple[str, ...]) -> list[Post]:
    return [Post.model_validate(row) for row in storage.read_rows(folder, batch_rows=4096) if row["split"] in splits]


def _truth(config: Config) -> str | None:
    folder = f"{config.paths.of('corpus')}/truth"
    return folder if storage.parts(folder) else None


def _one(folder: str | None, post_id: str) -> dict[str, Any] | None:
    if folder is None or post_id not in open_store(folder, "post_id"):
        return None
    return open_store(folder, "post_id")[post_id][0]


def _evaluation(config: Config, rows: str, metrics: dict[str, Any], train_posts: int) -> Evaluation:
    paths = config.paths
    measured = list(storage.read_rows(rows, ["post_id", "likes", "told_likes", "split", "kind", "seen"]))
    step = max(1, len(measured) // POINTS)
    shown = [r for r in measured if r["seen"] and r["kind"] == "video"] + [r for r in measured if r["seen"]]
    chosen = list(dict.fromkeys(r["post_id"] for r in shown))[: config.evaluate.gallery]
    curves = {"train": storage.read_json(f"{paths.of('bundle')}/curve.json")}
    curves["retriever"] = storage.read_json(f"{paths.of('retriever')}/curve.json")
    trials = storage.read_json(f"{paths.of('tune')}/trials.json") or []
    return Evaluation(
        metrics=metrics,
        points=tuple((r["likes"], r["told_likes"], r["split"]) for r in measured[::step]),
        noise_sd=config.corpus.noise if _truth(config) else None,
        curves={name: tuple(curve) for name, curve in curves.items() if curve},
        gallery=tuple(_shown(config, rows, post_id) for post_id in chosen),
        comparison=storage.read_json(f"{paths.of('comparison')}/metrics.json") or {},
        tune=tuple(Trial(params=t["params"], objective=t["objective"]) for t in trials),
        card={
            "Made from": f"{train_posts:,} training posts, seed {config.seed}, preset {config.name}, {date.today()}",
            "Pictures": "synthetic posts drawn with OpenMoji (CC BY-SA 4.0)" if _truth(config) else "the posts' own",
            "Cannot": "tell why a post did well; answer for accounts unlike those that it was trained on.",
        },
    )


def _shown(config: Config, rows: str, post_id: str) -> Shown:
    row = open_store(rows, "post_id")[post_id][0]
    paths = config.paths
    examples = load_examples(paths.of("posts"), paths.of("context"), [post_id]).to_pylist()[0]
    told = example(examples, next(t.name for t in config.tasks if t.head == "caption"))
    truth = _one(_truth(config), post_id)
    frames = [
        Frame(
            image=frame.image,
            time_s=frame.time_s,
            score=frame.score,
            shows=tuple(sorted(on_screen(truth["media"], frame.media_id, frame.time_s))) if truth else None,
        )
        for frame in told.context.frames
    ]
    spans = [Span.model_validate(s) for file in truth["media"] for s in file["spans"]] if truth else None
    return Shown(
        post_id=post_id,
        username=told.post.username,
        posted_at=told.post.posted_at,
        true_caption=row["caption"],
        caption=row["told_caption"],
        true_likes=row["likes"],
        likes=row["told_likes"],
        likes_low=row["low"],
        likes_high=row["high"],
        duration_s=told.post.media[0].duration_s if told.post.media else None,
        frames=tuple(frames),
        spans=tuple(spans) if spans is not None else None,
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
