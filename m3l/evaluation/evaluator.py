"""What a bundle says of held-out posts beside what is true."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float16

from m3l.corpus.effects import Formula
from m3l.corpus.truth import named_in
from m3l.data.records import Context, Effect, Example, MediaFrames, Row
from m3l.evaluation.retrieval import Album, average, evenly
from m3l.evaluation.score_schema import READ_BY
from m3l.evaluation.text_metrics import Documents, wording
from m3l.inference.attribution import why
from m3l.inference.simulator import Simulator
from m3l.retriever.embeddings import Embeddings
from m3l.retriever.ranking import best_first


class Examiner:
    """Measures posts with one bundle; `documents` weigh the words of captions.

    `known` tells what is true of a post of the synthetic corpus, and `embeddings` are those that its contexts were
    chosen by; other posts have neither.
    """

    def __init__(
        self, simulator: Simulator, documents: Documents, known: Formula | None = None,
        embeddings: Embeddings | None = None,
    ):  # fmt: skip
        self.simulator, self.documents, self.known, self.embeddings = simulator, documents, known, embeddings

    def __call__(
        self,
        posts: Sequence[Row],
        truths: Sequence[dict[str, Any] | None],
        media: Sequence[Sequence[MediaFrames]],
        asked: Sequence[bool],
    ) -> list[dict[str, Any]]:
        """The MEASURED rows of posts, each with its truth (or None), its key frames, and whether `why` is asked."""
        tell = self.simulator
        read = {head: [row[tell.task(head).name] for row in posts] for head in tell.heads}
        captions_of = read.get("caption", read[tell.heads[0]])
        guessed = self._guess(read["likes"]) if "likes" in read else [{} for _ in posts]
        speaks = {"model": "caption" in read, "shuffled_media": "caption" in read and tell.config.model.media}
        spoken = {
            by: self._speak(seen) if speaks[by] else [{"caption": None} for _ in posts]
            for by, seen in zip(READ_BY, (captions_of, _shuffled(captions_of)), strict=True)
        }
        rows = []
        for i, truth in enumerate(truths):
            example = read[tell.heads[0]][i]
            post = example.post
            row: dict[str, Any] = {
                "post_id": post.post_id,
                "split": post.split,
                "kind": post.media[0].kind if post.media else None,
                "seen": bool(captions_of[i].context.frames),
                "cold_account": tell.is_cold(post),
                "likes": post.likes,
                "caption": post.caption,
                "told_caption": spoken["model"][i].pop("caption"),
                "shuffled_caption": spoken["shuffled_media"][i].pop("caption"),
                "error": example.context.error if tell.config.model.media else None,
                **guessed[i],
            }
            row |= {f"captions.{by}.{name}": value for by, told in spoken.items() for name, value in told[i].items()}
            if asked[i] and "likes" in read:
                row["why"] = self._why(example, truth)
            if truth:
                row |= self._known(truth, row, list(posts[i].values()), media[i])
            rows.append(row)
        return rows

    def _guess(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The likes told of each example, with its frames and, where the model looks at any, without them."""
        media = self.simulator.config.model.media
        blind = self.simulator.likes([example.unseen() for example in examples]) if media else None
        rows = []
        for i, (example, told) in enumerate(zip(examples, self.simulator.likes(examples), strict=True)):
            (low, high), true = told.range, example.post.likes or 0
            row: dict[str, Any] = {"likes.model": told.likes, "low": low, "high": high}
            row["likes.model_without_media"] = blind[i].likes if blind else None
            row |= {f"covered.{at.level}": float(at.low <= true <= at.high) for at in told.intervals}
            rows.append(row)
        return rows

    def _speak(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The caption told of each example, its wording, and how likely the true one was."""
        visual = self.simulator.see(examples, self.simulator.task("caption"))
        captions = self.simulator.captions(examples, visual=visual)
        close = wording([example.post.caption or "" for example in examples], captions, self.documents)
        surprise = self.simulator.surprise(examples, visual=visual)
        return [
            {"caption": caption, **numbers, "nll": nll, "tokens": tokens}
            for caption, numbers, (nll, tokens) in zip(captions, close, surprise, strict=True)
        ]

    def _why(self, example: Example, truth: dict[str, Any] | None) -> list[dict[str, Any]]:
        cold = self.simulator.is_cold(example.post)

        def true(effect: Effect) -> float | None:
            return self.known.effect(effect, example, truth, cold) if self.known and truth else None

        return [{**effect.model_dump(), "true": true(effect)} for effect in why(self.simulator, example)]

    def _known(
        self, truth: dict[str, Any], row: dict[str, Any], read: Sequence[Example], media: Sequence[MediaFrames]
    ) -> dict[str, Any]:
        """What can be said because the truth is known: of likes, of the captions' subjects, of the retrieved frames."""
        known: dict[str, Any] = {"likes.noise_floor": np.expm1(truth["expected_log1p"])}
        if self.known and row["seen"] and (shown := truth["subjects"]):
            for by, caption in zip(READ_BY, (row["told_caption"], row["shuffled_caption"]), strict=True):
                named = named_in(caption, self.known.subjects)
                known[f"captions.{by}.names_all"] = float(set(shown) <= set(named))
                if row["kind"] == "video" and len(shown) == 2:
                    known[f"captions.{by}.order_right"] = float(named == shown)
        if self.embeddings:
            album = Album.of(media, self.embeddings.frames(media), truth)
            prompts = self.embeddings.prompts(row["post_id"])
            judged = _retrieval(album, [e.context for e in read], prompts, self.simulator.config.retriever.top_k)
            known |= {f"retrieval.{by}.{name}": value for by, told in judged.items() for name, value in told.items()}
        return known


def _shuffled(examples: Sequence[Example]) -> list[Example]:
    """Each example that has frames with the next one's instead."""
    seen = [i for i, example in enumerate(examples) if example.context.frames]
    other = dict(zip(seen, seen[1:] + seen[:1], strict=True))
    return [e.model_copy(update={"context": examples[other.get(i, i)].context}) for i, e in enumerate(examples)]


def _retrieval(
    album: Album, contexts: Sequence[Context], prompts: Float16[np.ndarray, "tasks dim"], k: int
) -> dict[str, dict[str, float | None]]:
    """How good what was read is, beside the plain top k and uniform sampling; empty where there was no choice."""
    if not album.leaves_a_choice(k):
        return {}
    at = {place: i for i, place in enumerate(album.places)}
    read = [sorted(context.frames, key=lambda frame: -frame.score) for context in contexts]
    vectors = album.vectors.astype(np.float32)
    orders = {
        "model": [[at[frame.media_id, frame.time_s] for frame in frames] for frames in read],
        "plain_top": [best_first(prompt, vectors, k) for prompt in prompts.astype(np.float32)],
        "uniform": [evenly(len(at), k)],
    }
    return {name: average([album.judge(order, k) for order in made]) for name, made in orders.items()}
