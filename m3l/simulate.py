"""The Simulator: posts and their key frames -> likes with an interval, captions, and the frames that were read.

`evaluate`, `predict` and the service all answer through it, so that offline and online answers cannot differ.
"""

from collections.abc import Sequence

import torch

from m3l import bundle
from m3l.batch import Collator
from m3l.config import EvaluateConfig, TaskConfig
from m3l.prompts import without
from m3l.records import Context, Example, MediaFrames, Post, Prediction, ReadFrame
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts

NORMAL_80 = 1.2816  # half the width of a normal's central 80%, in deviations


class Simulator:
    """A bundle that answers; one per process and device."""

    def __init__(self, made: bundle.Bundle, retriever: Retriever, device: torch.device | None = None):
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config, self.model = made.config, made.model.to(self.device)
        self.retriever = retriever.to(self.device).frozen()
        self.scale, self.residual_std, self.accounts = made.scale, made.residual_std, made.accounts
        self.collator = Collator(made.processor, made.config.model, made.scale)
        self.tokenizer = made.processor.tokenizer

    @classmethod
    def load(cls, folder: str, device: torch.device | None = None) -> "Simulator":
        """The Simulator of a bundle's folder, local or `s3://`; ConfigError if it is none."""
        made = bundle.load(folder)
        return cls(made, made.retriever, device)

    def task(self, head: str) -> TaskConfig:
        """The first task of that head: "likes" or "caption"."""
        return next(task for task in self.config.tasks if task.head == head)

    def simulate(
        self,
        posts: Sequence[Post],
        media: Sequence[Sequence[MediaFrames]],
        heads: Sequence[str] = ("likes", "caption"),
    ) -> list[Prediction]:
        """One prediction per post, in order: retrieval, then each head's task.

        `media` are the key frames of each post's files. A post without readable media is answered from its
        metadata, and its `error` says why.
        """
        found = contexts(self.retriever, self.config.tasks, posts, media, self.config.retriever)
        read = {
            h: [Example(post=p, context=c[self.task(h).name]) for p, c in zip(posts, found, strict=True)] for h in heads
        }
        likes = self.likes(read["likes"]) if "likes" in heads else [None] * len(posts)
        captions = self.captions(read["caption"]) if "caption" in heads else [None] * len(posts)
        return [
            _prediction(example.post, example.context, told, caption)
            for example, told, caption in zip(read[heads[0]], likes, captions, strict=True)
        ]

    @torch.inference_mode()
    def likes(self, examples: Sequence[Example]) -> list[tuple[float, float, float]]:
        """(low, likes, high) of each example: the median and the central 80% of a log-normal."""
        if not examples:
            return []
        task, examples = self.task("likes"), self._as_trained(examples)
        batch = {**self.collator.prompts(examples, task), **self.collator.media(examples, task)}
        told = self.model(**self._here(batch), tell_likes=True).likes.double().cpu().numpy()
        half = NORMAL_80 * self.residual_std / self.scale.std
        return list(zip(*(self.scale.likes(told + shift).tolist() for shift in (-half, 0.0, half)), strict=True))

    @torch.inference_mode()
    def captions(
        self, examples: Sequence[Example], settings: EvaluateConfig | None = None, task: TaskConfig | None = None
    ) -> list[str]:
        """The caption of each example, or what another task of the caption head tells, decoded in one batch."""
        if not examples:
            return []
        task, settings = task or self.task("caption"), settings or self.config.evaluate
        examples = self._as_trained(examples)
        tokens = self.model.generate(
            **self._here(self.collator.prompts(examples, task)),
            media=self._here(self.collator.media(examples, task)),
            max_new_tokens=settings.max_new_tokens,
            num_beams=settings.num_beams,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _as_trained(self, examples: Sequence[Example]) -> list[Example]:
        """The examples as training knew them: where new accounts are hidden, without names that it never saw."""
        hides = self.config.model.new_accounts == "hide"
        return [
            e.model_copy(update={"post": without(e.post, ["username"])})
            if hides and e.post.username not in self.accounts
            else e
            for e in examples
        ]

    def _here(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(self.device) for name, value in batch.items()}


def _prediction(
    post: Post, context: Context, likes: tuple[float, float, float] | None, caption: str | None
) -> Prediction:
    low, middle, high = likes or (None, None, None)
    return Prediction(
        post_id=post.post_id,
        likes=middle,
        likes_low=low,
        likes_high=high,
        caption=caption,
        frames=tuple(ReadFrame.model_validate(frame.model_dump()) for frame in context.frames),
        error=context.error,
    )
