"""The Simulator: posts and their key frames -> likes with an interval, captions, and the frames that were read.

`evaluate`, `predict` and the service all answer through it, so that offline and online answers cannot differ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3l.config import EvaluateConfig, TaskConfig
from m3l.data.records import Context, Example, Interval, MediaFrames, Post, Prediction, ReadFrame
from m3l.inference import bundle
from m3l.inference.conformal import LEVELS
from m3l.prompts.collator import IGNORED, Collator
from m3l.prompts.render import without
from m3l.retriever.ranking import contexts

SHOWN = 80  # the level of `likes_low` and `likes_high`


class LikesTold(NamedTuple):
    """The likes told of a post, and their intervals as far as the bundle can tell them."""

    likes: float
    intervals: tuple[Interval, ...]

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The interval of level SHOWN."""
        return next(((i.low, i.high) for i in self.intervals if i.level == SHOWN), (None, None))


class Simulator:
    """A bundle that answers; one per process and device."""

    def __init__(self, made: bundle.Bundle, device: torch.device | None = None):
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config, self.model = made.config, made.model.to(self.device)
        self.retriever = made.retriever and made.retriever.to(self.device).frozen()
        self.scale, self.intervals, self.accounts = made.scale, made.intervals, made.accounts
        self.memory = made.memory
        self.collator = Collator(made.processor, made.config.model, made.scale)
        self.tokenizer = made.processor.tokenizer

    @classmethod
    def load(cls, folder: str, device: torch.device | None = None) -> "Simulator":
        """The Simulator of a bundle's folder, local or `s3://`; ConfigError if it is none."""
        return cls(bundle.load(folder), device)

    @property
    def heads(self) -> tuple[str, ...]:
        """What it can tell: "likes", "caption" or both."""
        return tuple(head for head in ("likes", "caption") if any(task.head == head for task in self.config.tasks))

    def task(self, head: str) -> TaskConfig:
        """The first task of that head: "likes" or "caption"."""
        return next(task for task in self.config.tasks if task.head == head)

    def is_cold(self, post: Post) -> bool:
        """Whether nothing is known of the post's account: neither a history nor, where none is read, its name."""
        if self.config.model.history:
            return post.history is None or post.history.cold
        return post.username not in self.accounts

    def simulate(
        self,
        posts: Sequence[Post],
        media: Sequence[Sequence[MediaFrames]],
        heads: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One prediction per post, in order: its history and its frames, then each head's task.

        `media` are the key frames of each post's files. A post without readable media is answered from its
        metadata, and its `error` says why.
        """
        heads = heads or self.heads
        read = self.examples(posts, media, heads)
        likes = self.likes(read["likes"]) if "likes" in heads else [None] * len(posts)
        captions = self.captions(read["caption"]) if "caption" in heads else [None] * len(posts)
        return [
            _prediction(example.post, example.context, told, caption, self.is_cold(example.post))
            for example, told, caption in zip(read[heads[0]], likes, captions, strict=True)
        ]

    def examples(
        self, posts: Sequence[Post], media: Sequence[Sequence[MediaFrames]], heads: Sequence[str]
    ) -> dict[str, list[Example]]:
        """What each head's task reads of the posts: their history, and the frames retrieved of their media."""
        if self.memory:
            posts = [self.memory.recall(post) for post in posts]
        found = self._contexts(posts, media)
        return {
            h: [Example(post=p, context=c[self.task(h).name]) for p, c in zip(posts, found, strict=True)] for h in heads
        }

    def likes(self, examples: Sequence[Example]) -> list[LikesTold]:
        """The likes told of each example: the median, with the intervals that the bundle was calibrated to."""
        told = self.log1p(examples)
        return [
            LikesTold(_likes(value), self._intervals(value, self.is_cold(example.post)))
            for value, example in zip(told.tolist(), examples, strict=True)
        ]

    @torch.inference_mode()
    def log1p(
        self, examples: Sequence[Example], visual: Float[Tensor, "media query hidden"] | None = None
    ) -> Float[np.ndarray, " example"]:
        """log(1 + likes) told of each example; `visual` as `see` gives it, where it is known."""
        if not examples:
            return np.zeros(0)
        task = self.task("likes")
        visual = self.see(examples, task) if visual is None else visual
        read = self.as_trained(examples)
        batch = self.here(self.collator.prompts(read, task) | self.collator.history(read))
        told = self.model(**batch, visual=visual, tell_likes=True).likes.double().cpu().numpy()
        return told * self.scale.std + self.scale.mean

    @torch.inference_mode()
    def see(self, examples: Sequence[Example], task: TaskConfig) -> Float[Tensor, "media query hidden"] | None:
        """What the model sees of the examples that have frames; None if none has."""
        media = self.collator.media(self.as_trained(examples), task)
        return self.model.see(**self.here(media)) if media else None

    @torch.inference_mode()
    def captions(
        self,
        examples: Sequence[Example],
        settings: EvaluateConfig | None = None,
        task: TaskConfig | None = None,
        visual: Float[Tensor, "media query hidden"] | None = None,
    ) -> list[str]:
        """The caption of each example, or what another task of the caption head tells, decoded in one batch."""
        if not examples:
            return []
        task, settings = task or self.task("caption"), settings or self.config.evaluate
        tokens = self.model.generate(
            **self.here(self.collator.prompts(self.as_trained(examples), task)),
            visual=self.see(examples, task) if visual is None else visual,
            max_new_tokens=settings.max_new_tokens,
            num_beams=settings.num_beams,
            no_repeat_ngram_size=settings.no_repeat_ngram,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    @torch.inference_mode()
    def surprise(
        self, examples: Sequence[Example], visual: Float[Tensor, "media query hidden"] | None = None
    ) -> list[tuple[float, int]]:
        """(negative log-likelihood, tokens) of each example's true caption, its end included."""
        if not examples:
            return []
        task, causal = self.task("caption"), self.model.config.use_decoder_only_language_model
        batch = self.here(self.collator.training(self.as_trained(examples), task, causal))
        visual = self.see(examples, task) if visual is None else visual
        told = self.model.surprise(**batch, visual=visual).double().tolist()
        return list(zip(told, (batch["labels"] != IGNORED).sum(1).tolist(), strict=True))

    def as_trained(self, examples: Sequence[Example]) -> list[Example]:
        """The examples as training knew them: where new accounts are hidden, without names that it never saw."""
        hides = self.config.model.new_accounts == "hide"
        return [
            e.model_copy(update={"post": without(e.post, ["username"])})
            if hides and e.post.username not in self.accounts
            else e
            for e in examples
        ]

    def here(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch on the Simulator's device."""
        return {name: value.to(self.device) for name, value in batch.items()}

    def _contexts(self, posts: Sequence[Post], media: Sequence[Sequence[MediaFrames]]) -> Sequence[dict[str, Context]]:
        tasks = self.config.tasks
        if not self.config.model.media:
            return [{task.name: Context(post_id=post.post_id, task=task.name) for task in tasks} for post in posts]
        assert self.retriever is not None, "a bundle without a retriever answers examples, not posts"
        return contexts(self.retriever, tasks, posts, media, self.config.retriever)

    def _intervals(self, log1p: float, cold: bool) -> tuple[Interval, ...]:
        halves = {level: self.intervals.half(level, cold) for level in LEVELS}
        return tuple(
            Interval(level=level, low=_likes(log1p - half), high=_likes(log1p + half))
            for level, half in halves.items()
            if half is not None
        )


def _likes(log1p: float) -> float:
    return float(np.expm1(max(log1p, 0.0)))


def _prediction(post: Post, context: Context, likes: LikesTold | None, caption: str | None, cold: bool) -> Prediction:
    low, high = likes.range if likes else (None, None)
    return Prediction(
        post_id=post.post_id,
        likes=likes.likes if likes else None,
        likes_low=low,
        likes_high=high,
        intervals=likes.intervals if likes else (),
        caption=caption,
        cold_account=cold,
        frames=tuple(ReadFrame.model_validate(frame.model_dump()) for frame in context.frames),
        error=context.error,
    )
