"""Compares the predictions of a bundle for held-out posts with their actual likes and captions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from m3l.data.records import Example, MediaFrames, TaskExamples
from m3l.evaluation.corpus_scores import CorpusScores
from m3l.evaluation.score_schema import CAPTION_SOURCES
from m3l.evaluation.text_metrics import DocumentFrequencies, caption_scores
from m3l.inference.attribution import leave_one_out
from m3l.inference.simulator import Simulator


class HeldOutPost(NamedTuple):
    """A post to evaluate.

    Attributes:
        examples: Task name -> the post with the frames that were retrieved for the task.
        media: All its key frames.
        truth: What is true of a post of the synthetic corpus; else None.
        explain: Whether to compute the effects of its parts.
    """

    examples: TaskExamples
    media: Sequence[MediaFrames]
    truth: dict[str, Any] | None
    explain: bool


class Evaluator:
    """Computes the SCORES of posts with one bundle.

    Args:
        simulator: Predicts with the bundle.
        frequencies: Document frequencies of the held-out captions, for CIDEr.
        corpus_scores: Scores posts of the synthetic corpus against the truth; None for other posts.
    """

    def __init__(
        self, simulator: Simulator, frequencies: DocumentFrequencies, corpus_scores: CorpusScores | None = None
    ):
        self.simulator, self.frequencies, self.corpus_scores = simulator, frequencies, corpus_scores

    def __call__(self, posts: Sequence[HeldOutPost]) -> list[dict[str, Any]]:
        """One row of SCORES per post, in order."""
        simulator = self.simulator
        examples = {head: [post.examples[simulator.task(head).name] for post in posts] for head in simulator.heads}
        first = examples[simulator.heads[0]]
        likes = self._likes(examples["likes"]) if "likes" in examples else [{} for _ in posts]
        captions = self._captions(examples["caption"]) if "caption" in examples else {}
        rows = []
        for i, post in enumerate(posts):
            row = self._describe(first[i], examples.get("caption", first)[i]) | likes[i]
            for source, scores in captions.items():
                row |= {f"captions.{source}.{name}": value for name, value in scores[i].items()}
            row["told_caption"], row["shuffled_caption"] = (
                row.pop(f"captions.{source}.caption", None) for source in CAPTION_SOURCES
            )
            if post.explain and "likes" in examples:
                row["why"] = self._effects(first[i], post.truth)
            if self.corpus_scores and post.truth:
                contexts = [example.context for example in post.examples.values()]
                row |= self.corpus_scores(post.truth, row, contexts, post.media)
            rows.append(row)
        return rows

    def _describe(self, example: Example, captioned: Example) -> dict[str, Any]:
        post = example.post
        return {
            "post_id": post.post_id,
            "split": post.split,
            "kind": post.media[0].kind if post.media else None,
            "seen": bool(captioned.context.frames),
            "cold_account": self.simulator.is_cold(post),
            "likes": post.likes,
            "caption": post.caption,
            "error": example.context.error if self.simulator.config.model.media else None,
        }

    def _likes(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """Predicted likes of each example, with and (if the model reads media) without its frames."""
        media = self.simulator.config.model.media
        blind = [example.without_frames() for example in examples]
        without_media = self.simulator.predict_likes(blind) if media else None
        rows = []
        for i, (example, predicted) in enumerate(zip(examples, self.simulator.predict_likes(examples), strict=True)):
            (low, high), actual = predicted.range, example.post.likes or 0
            row: dict[str, Any] = {"likes.model": predicted.likes, "low": low, "high": high}
            row["likes.model_without_media"] = without_media[i].likes if without_media else None
            row |= {f"covered.{at.level}": float(at.low <= actual <= at.high) for at in predicted.intervals}
            rows.append(row)
        return rows

    def _captions(self, examples: Sequence[Example]) -> dict[str, list[dict[str, Any]]]:
        """Source of the media -> generated caption and its scores, for each example."""
        captions = {"model": self._caption_scores(examples)}
        if self.simulator.config.model.media:
            captions["shuffled_media"] = self._caption_scores(_shuffle_media(examples))
        return captions

    def _caption_scores(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The generated caption of each example, its scores, and the likelihood of the actual caption."""
        visual = self.simulator.encode_media(examples, self.simulator.task("caption"))
        captions = self.simulator.generate_captions(examples, visual=visual)
        scores = caption_scores([example.post.caption or "" for example in examples], captions, self.frequencies)
        likelihoods = self.simulator.caption_nll(examples, visual=visual)
        return [
            {"caption": caption, **values, "nll": nll, "tokens": tokens}
            for caption, values, (nll, tokens) in zip(captions, scores, likelihoods, strict=True)
        ]

    def _effects(self, example: Example, truth: dict[str, Any] | None) -> list[dict[str, Any]]:
        """The effect of each part, and the true one if it is known."""
        cold = self.simulator.is_cold(example.post)
        effects = []
        for effect in leave_one_out(self.simulator, example):
            true = None
            if self.corpus_scores and truth:
                true = self.corpus_scores.true_effect(effect, example, truth, cold)
            effects.append({**effect.model_dump(), "true": true})
        return effects


def _shuffle_media(examples: Sequence[Example]) -> list[Example]:
    """The examples, where each that has frames gets those of the next one that has any."""
    with_frames = [i for i, example in enumerate(examples) if example.context.frames]
    following = dict(zip(with_frames, with_frames[1:] + with_frames[:1], strict=True))
    return [e.model_copy(update={"context": examples[following.get(i, i)].context}) for i, e in enumerate(examples)]
