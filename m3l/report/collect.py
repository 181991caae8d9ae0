"""Collects the data of a report: metrics, example predictions, training curves, the sweep, facts about the model."""

from typing import Any

from m3l.config import Config
from m3l.corpus.truth import subjects_on_screen
from m3l.data import storage
from m3l.data.examples import example, history_folder, load_examples
from m3l.data.keyed_rows import open_rows
from m3l.data.records import Effect, Example
from m3l.evaluation.held_out import truth_folder
from m3l.inference.model_card import limitations
from m3l.report.schema import Frame, GalleryPost, ReportData, Span, Trial


def collect_report(
    config: Config, predictions: str, metrics: dict[str, Any], points: list[tuple[float, float, str]]
) -> ReportData:
    """The data of the report of one run.

    Args:
        config: Its configuration.
        predictions: Folder of SCORES.
        metrics: The content of metrics.json.
        points: (actual likes, predicted likes, split) of a sample of posts.
    """
    paths, truth = config.paths, truth_folder(config.paths.of("corpus"))
    curves = {
        stage: storage.read_json(f"{paths.of(folder)}/curve.json")
        for stage, folder in (("train", "bundle"), ("retriever", "retriever"))
    }
    trials = storage.read_json(f"{paths.of('tune')}/trials.json") or []
    gallery = [
        _gallery_post(open_rows(predictions, "post_id")[post_id][0], _example(config, post_id), truth)
        for post_id in _choose_posts(predictions, config.evaluate.gallery)
    ]
    return ReportData(
        metrics=metrics,
        points=tuple(points),
        noise_sd=config.corpus.noise if truth else None,
        curves={name: tuple(curve) for name, curve in curves.items() if curve},
        gallery=tuple(gallery),
        comparison=storage.read_json(f"{paths.of('comparison')}/metrics.json") or {},
        tune=tuple(Trial.model_validate(trial) for trial in trials),
        card=_card(config, metrics, synthetic=truth is not None),
    )


def _choose_posts(predictions: str, count: int) -> list[str]:
    """The ids of posts with frames whose predictions are explained, those with videos first."""
    videos: list[str] = []
    others: list[str] = []
    for row in storage.read_rows(predictions, ["post_id", "seen", "kind", "why"]):
        ids = videos if row["kind"] == "video" else others
        if row["seen"] and row["why"] is not None and len(ids) < count:
            ids.append(row["post_id"])
    return (videos + others)[:count]


def _card(config: Config, metrics: dict[str, Any], synthetic: bool) -> dict[str, str]:
    bundle = storage.read_json(f"{config.paths.of('bundle')}/bundle.json")
    posts, run = config.paths.of("posts"), metrics["run"]
    return {
        "Training data": f"{run['train_posts']:,} posts from {len(bundle['accounts']):,} accounts in {posts}",
        "Trained": f"{bundle['written']}, preset {config.name}, seed {config.seed}",
        "Evaluated on": f"{metrics['posts']:,} held-out posts of the splits {', '.join(config.evaluate.splits)}",
        "Media": "Synthetic posts drawn with OpenMoji (CC BY-SA 4.0)" if synthetic else "The posts' own media",
        "Explanations": "An effect shows what the model relies on, not what would happen if the post were changed.",
        "Limitations": "\n".join(limitations(config.model.new_accounts)),
    }


def _example(config: Config, post_id: str) -> Example:
    """The post as the likes task reads it, else as the first task does."""
    paths, tasks = config.paths, config.tasks
    task = next((task.name for task in tasks if task.head == "likes"), tasks[0].name)
    history = history_folder(config.model.history, paths.of("history"), config.history)
    table = load_examples(paths.of("posts"), paths.of("context"), [post_id], history)
    return example(table.to_pylist()[0], task)


def _gallery_post(row: dict[str, Any], shown: Example, truth_folder: str | None) -> GalleryPost:
    """A post for the gallery.

    Args:
        row: Its row of SCORES.
        shown: The post and the frames that were retrieved for it.
        truth_folder: Folder of the truth about a synthetic corpus.
    """
    post = shown.post
    truth = open_rows(truth_folder, "post_id")[post.post_id][0] if truth_folder else None
    effects = [Effect.model_validate(effect) for effect in row["why"] or ()]
    frame_effects = {(e.media_id, e.time_s): e.effect for e in effects if e.part == "frame"}
    frames = [
        Frame(
            image=frame.image,
            time_s=frame.time_s,
            score=frame.score,
            effect=frame_effects.get((frame.media_id, frame.time_s)),
            shows=tuple(sorted(subjects_on_screen(truth["media"], frame.media_id, frame.time_s))) if truth else None,
        )
        for frame in shown.context.frames
    ]
    spans = tuple(Span.model_validate(s) for file in truth["media"] for s in file["spans"]) if truth else None
    return GalleryPost(
        post_id=post.post_id,
        username=post.username,
        posted_at=post.posted_at,
        actual_caption=row["caption"],
        caption=row["told_caption"],
        actual_likes=row["likes"],
        likes=row["likes.model"],
        likes_low=row["low"],
        likes_high=row["high"],
        cold_account=row["cold_account"],
        duration_s=post.media[0].duration_s if post.media else None,
        frames=tuple(frames),
        spans=spans,
        why=tuple(e for e in effects if e.part != "frame"),
    )
