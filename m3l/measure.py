"""What a bundle says of held-out posts beside what is true: the rows that every figure is made from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from m3l.corpus import on_screen
from m3l.metrics import reciprocal_rank
from m3l.records import Context, Example, MediaFrames
from m3l.simulate import Simulator

MEASURED = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        ("split", pa.string()),
        ("seen", pa.bool_()),  # the post had frames to read
        ("likes", pa.int64()),
        ("told_likes", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("without_media", pa.float64()),  # the likes told of the same post without its frames
        ("caption", pa.string()),
        ("told_caption", pa.string()),
        ("shuffled_caption", pa.string()),  # the caption told with another post's frames
        ("kind", pa.string()),
        ("subjects", pa.list_(pa.string())),  # from here on null where no truth is known
        ("expected_log1p", pa.float64()),
        ("recall", pa.float64()),  # recall@k of the frames that show a named subject, mean over the tasks
        ("recall_uniform", pa.float64()),
        ("reciprocal_rank", pa.float64()),
        ("error", pa.string()),
    ]
)


def measure(simulator: Simulator, posts: Sequence[dict[str, Example]], truths: Sequence[dict[str, Any] | None],
            media: Sequence[Sequence[MediaFrames]]) -> list[dict[str, Any]]:  # fmt: skip
    """The MEASURED rows of posts, each given as task name -> Example, with its truth (or None) and key frames."""
    likes_of = [examples[simulator.task("likes").name] for examples in posts]
    captions_of = [examples[simulator.task("caption").name] for examples in posts]
    likes, blind = simulator.likes(likes_of), simulator.likes([_blind(e) for e in likes_of])
    captions, shuffled = simulator.captions(captions_of), simulator.captions(_shuffled(captions_of))
    rows = []
    for i, (examples, truth) in enumerate(zip(posts, truths, strict=True)):
        post = likes_of[i].post
        low, middle, high = likes[i]
        row = {
            "post_id": post.post_id,
            "split": post.split,
            "seen": bool(captions_of[i].context.frames),
            "likes": post.likes,
            "told_likes": middle,
            "low": low,
            "high": high,
            "without_media": blind[i][1],
            "caption": post.caption,
            "told_caption": captions[i],
            "shuffled_caption": shuffled[i],
            "kind": post.media[0].kind if post.media else None,
            "error": likes_of[i].context.error,
        }
        if truth:
            contexts = [example.context for example in examples.values()]
            row |= {"subjects": truth["subjects"], "expected_log1p": truth["expected_log1p"]}
            row |= _retrieval(contexts, truth, media[i], simulator.config.retriever.top_k)
        rows.append(row)
    return rows


def _blind(example: Example) -> Example:
    return example.model_copy(update={"context": example.context.model_copy(update={"frames": ()})})


def _shuffled(examples: Sequence[Example]) -> list[Example]:
    """Each example that has frames with the next one's instead."""
    seen = [i for i, example in enumerate(examples) if example.context.frames]
    other = dict(zip(seen, seen[1:] + seen[:1], strict=True))
    return [e.model_copy(update={"context": examples[other.get(i, i)].context}) for i, e in enumerate(examples)]


def _retrieval(
    contexts: Sequence[Context], truth: dict[str, Any], media: Sequence[MediaFrames], k: int
) -> dict[str, float]:
    """Recall@k and MRR where there was something to choose: more key frames than k, some of them relevant."""
    known = [(file.media_id, frame.time_s) for file in media for frame in file.frames]
    relevant = {at for at in known if on_screen(truth["media"], *at)}
    if len(known) <= k or not relevant:
        return {}
    spread = {known[i] for i in np.linspace(0, len(known) - 1, k).round().astype(int)}
    most = min(k, len(relevant))
    recalls, ranks = [], []
    for context in contexts:
        best_first = sorted(context.frames, key=lambda frame: -frame.score)
        hits = np.array([(frame.media_id, frame.time_s) in relevant for frame in best_first], bool)
        recalls.append(hits.sum() / most)
        ranks.append(reciprocal_rank(hits))
    return {
        "recall": float(np.mean(recalls)),
        "recall_uniform": len(spread & relevant) / most,
        "reciprocal_rank": float(np.mean(ranks)),
    }
