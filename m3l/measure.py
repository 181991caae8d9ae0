"""What a bundle says of held-out posts beside what is true: the rows that every figure is made from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float16

from m3l.records import Context, Example, MediaFrames
from m3l.retriever.judging import JUDGED, Album, average, evenly
from m3l.retriever.ranking import best_first
from m3l.retriever.stored import Embeddings
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
        ("retrieval", pa.list_(JUDGED)),  # by the model, the plain top k, uniform sampling: means over the tasks
        ("error", pa.string()),
    ]
)


def measure(
    simulator: Simulator,
    posts: Sequence[dict[str, Example]],
    truths: Sequence[dict[str, Any] | None],
    media: Sequence[Sequence[MediaFrames]],
    embeddings: Embeddings | None,
) -> list[dict[str, Any]]:
    """The MEASURED rows of posts, each given as task name -> Example, with its truth (or None) and key frames.

    `embeddings` are those that the contexts were chosen by; without truth they are not needed.
    """
    likes_of = [examples[simulator.task("likes").name] for examples in posts]
    captions_of = [examples[simulator.task("caption").name] for examples in posts]
    likes, blind = simulator.likes(likes_of), simulator.likes([_blind(e) for e in likes_of])
    captions, shuffled = simulator.captions(captions_of), simulator.captions(_shuffled(captions_of))
    rows = []
    for i, (examples, truth) in enumerate(zip(posts, truths, strict=True)):
        post = likes_of[i].post
        low, middle, high = likes[i]
        row: dict[str, Any] = {
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
            row |= {"subjects": truth["subjects"], "expected_log1p": truth["expected_log1p"]}
        if truth and embeddings:
            album = Album.of(media[i], embeddings.frames(media[i]), truth)
            contexts = [example.context for example in examples.values()]
            row["retrieval"] = _retrieval(
                album, contexts, embeddings.prompts(post.post_id), simulator.config.retriever.top_k
            )
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
    album: Album, contexts: Sequence[Context], prompts: Float16[np.ndarray, "tasks dim"], k: int
) -> list[dict[str, Any]] | None:
    """What was read beside the plain top k and uniform sampling; None where there was nothing to choose."""
    if not album.leaves_a_choice(k):
        return None
    at = {place: i for i, place in enumerate(album.places)}
    read = [sorted(context.frames, key=lambda frame: -frame.score) for context in contexts]
    vectors = album.vectors.astype(np.float32)
    orders = {
        "model": [[at[frame.media_id, frame.time_s] for frame in frames] for frames in read],
        "plain_top": [best_first(prompt, vectors, k) for prompt in prompts.astype(np.float32)],
        "uniform": [evenly(len(at), k)],
    }
    return [{"by": name, **average([album.judge(order, k) for order in made])} for name, made in orders.items()]
