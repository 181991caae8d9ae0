"""Scores that need the truth about a post, which only the synthetic corpus provides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float16

from m3l.corpus.effects import Formula
from m3l.corpus.truth import subjects_named_in
from m3l.data.records import Context, Effect, Example, MediaFrames
from m3l.evaluation.retrieval import RetrievalCase, mean_scores, uniform_indices
from m3l.evaluation.score_schema import CAPTION_SOURCES
from m3l.retriever.embeddings import EmbeddingStore
from m3l.retriever.ranking import top_k_indices


class CorpusScores:
    """Scores posts against the truth.

    Args:
        formula: The formula that the likes were drawn from.
        embeddings: Those that the posts' frames were retrieved with.
        top_k: Number of frames that were retrieved.
    """

    def __init__(self, formula: Formula, embeddings: EmbeddingStore, top_k: int):
        self.formula, self.embeddings, self.top_k = formula, embeddings, top_k

    def __call__(
        self, truth: dict[str, Any], row: dict[str, Any], contexts: Sequence[Context], media: Sequence[MediaFrames]
    ) -> dict[str, Any]:
        """The columns of SCORES that need the truth.

        Args:
            truth: What is true of the post.
            row: Its other columns of SCORES.
            contexts: The frames that were retrieved for each task.
            media: All its key frames.
        """
        scores: dict[str, Any] = {"likes.noise_floor": np.expm1(truth["expected_log1p"])}
        if row["seen"] and (subjects := truth["subjects"]):
            for source, caption in zip(CAPTION_SOURCES, (row["told_caption"], row["shuffled_caption"]), strict=True):
                if caption is None:  # the bundle predicts no captions, or reads no media
                    continue
                named = subjects_named_in(caption, self.formula.subjects)
                scores[f"captions.{source}.names_all"] = float(set(subjects) <= set(named))
                if row["kind"] == "video" and len(subjects) == 2:
                    scores[f"captions.{source}.order_right"] = float(named == subjects)
        case = RetrievalCase.of(media, self.embeddings.frames(media), truth)
        for selection, values in self._retrieval(case, contexts, self.embeddings.prompts(row["post_id"])).items():
            scores |= {f"retrieval.{selection}.{name}": value for name, value in values.items()}
        return scores

    def true_effect(self, effect: Effect, example: Example, truth: dict[str, Any], cold: bool) -> float:
        """The effect of the same part on log(1 + likes) by the formula."""
        return self.formula.effect(effect, example, truth, cold)

    def _retrieval(
        self, case: RetrievalCase, contexts: Sequence[Context], prompts: Float16[np.ndarray, "tasks dim"]
    ) -> dict[str, dict[str, float | None]]:
        """Scores of the retrieved frames, the plain top k and uniform sampling; empty if there was no choice."""
        k = self.top_k
        if not case.has_choice(k):
            return {}
        index = {frame: i for i, frame in enumerate(case.frames)}
        retrieved = [sorted(context.frames, key=lambda frame: -frame.score) for context in contexts]
        vectors = case.vectors.astype(np.float32)
        rankings = {
            "model": [[index[frame.media_id, frame.time_s] for frame in frames] for frames in retrieved],
            "plain_top": [top_k_indices(prompt, vectors, k) for prompt in prompts.astype(np.float32)],
            "uniform": [uniform_indices(len(index), k)],
        }
        return {name: mean_scores([case.score(ranking, k) for ranking in each]) for name, each in rankings.items()}
