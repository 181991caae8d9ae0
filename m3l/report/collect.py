"""What the report shows beside the figures: posts as pictures, curves, the sweep, the model card."""

from typing import Any

from m3l.config import Config
from m3l.corpus.truth import on_screen
from m3l.data import storage
from m3l.data.examples import example, history_of, load_examples
from m3l.data.keyed_rows import open_store
from m3l.data.records import Effect
from m3l.evaluation.held_out import truth_of
from m3l.inference.model_card import limits
from m3l.report.schema import Evaluation, Frame, Shown, Span, Trial


def evaluation(
    config: Config, rows: str, metrics: dict[str, Any], points: list[tuple[float, float, str]]
) -> Evaluation:
    """What one report tells of a run."""
    paths = config.paths
    curves = {stage: storage.read_json(f"{paths.of(name)}/curve.json") for stage, name in
              (("train", "bundle"), ("retriever", "retriever"))}  # fmt: skip
    trials = storage.read_json(f"{paths.of('tune')}/trials.json") or []
    return Evaluation(
        metrics=metrics,
        points=tuple(points),
        noise_sd=config.corpus.noise if truth_of(config) else None,
        curves={name: tuple(curve) for name, curve in curves.items() if curve},
        gallery=tuple(_shown(config, rows, post_id) for post_id in _chosen(rows, config.evaluate.gallery)),
        comparison=storage.read_json(f"{paths.of('comparison')}/metrics.json") or {},
        tune=tuple(Trial.model_validate(trial) for trial in trials),
        card=_card(config, metrics),
    )


def _chosen(rows: str, most: int) -> list[str]:
    """Posts that can be shown with their reasons, those with videos first."""
    videos: list[str] = []
    others: list[str] = []
    for row in storage.read_rows(rows, ["post_id", "seen", "kind", "why"]):
        chosen = videos if row["kind"] == "video" else others
        if row["seen"] and row["why"] is not None and len(chosen) < most:
            chosen.append(row["post_id"])
    return (videos + others)[:most]


def _card(config: Config, metrics: dict[str, Any]) -> dict[str, str]:
    bundle = storage.read_json(f"{config.paths.of('bundle')}/bundle.json")
    posts, run = config.paths.of("posts"), metrics["run"]
    return {
        "Trained on": f"{run['train_posts']:,} posts of {len(bundle['accounts']):,} accounts in {posts}",
        "Trained when": f"{bundle['written']}, preset {config.name}, seed {config.seed}",
        "Measured on": f"{metrics['posts']:,} posts of the splits {', '.join(config.evaluate.splits)}",
        "Pictures": "synthetic posts drawn with OpenMoji (CC BY-SA 4.0)" if truth_of(config) else "the posts' own",
        "Reasons": "leaving one part out tells what the model goes by, not what would happen if the part were changed.",
        "What it cannot do": "\n".join(limits(config)),
    }


def _shown(config: Config, rows: str, post_id: str) -> Shown:
    row = open_store(rows, "post_id")[post_id][0]
    paths, folder = config.paths, truth_of(config)
    examples = load_examples(paths.of("posts"), paths.of("context"), [post_id], history_of(config)).to_pylist()[0]
    told = example(examples, next((t.name for t in config.tasks if t.head == "likes"), config.tasks[0].name))
    truth = open_store(folder, "post_id")[post_id][0] if folder else None
    effects = [Effect.model_validate(effect) for effect in row["why"] or ()]
    of_frame = {(e.media_id, e.time_s): e.effect for e in effects if e.part == "frame"}
    frames = [
        Frame(
            image=frame.image,
            time_s=frame.time_s,
            score=frame.score,
            effect=of_frame.get((frame.media_id, frame.time_s)),
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
        likes=row["likes.model"],
        likes_low=row["low"],
        likes_high=row["high"],
        cold_account=row["cold_account"],
        duration_s=told.post.media[0].duration_s if told.post.media else None,
        frames=tuple(frames),
        spans=tuple(spans) if spans is not None else None,
        why=tuple(e for e in effects if e.part != "frame"),
    )
