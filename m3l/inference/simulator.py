"""The Simulator predicts the likes and the caption of posts with one bundle.

`m3l evaluate`, `m3l predict` and the service all predict through it, so offline and online predictions are the same.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3l.config import EvaluateConfig, TaskConfig
from m3l.data.records import Context, Example, MediaFrames, Post, Prediction, ReadFrame
from m3l.inference.bundle import Bundle, load
from m3l.inference.likes_prediction import LikesPrediction
from m3l.prompts.collator import IGNORE_INDEX, Collator
from m3l.prompts.render import without_fields
from m3l.retriever.ranking import retrieve_contexts


class Simulator:
    """Predicts with a bundle; one per process and device.

    Args:
        bundle: The trained model; it is moved to the device.
        device: CUDA if available, else the CPU, by default.
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None):
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config, self.model = bundle.config, bundle.model.to(self.device)
        self.retriever = bundle.retriever and bundle.retriever.to(self.device).freeze_for_inference()
        self.scale, self.intervals, self.accounts = bundle.scale, bundle.intervals, bundle.accounts
        self.history = bundle.history
        self.collator = Collator(bundle.processor, bundle.config.model, bundle.scale)
        self.tokenizer = bundle.processor.tokenizer

    @classmethod
    def load(cls, folder: str, device: torch.device | None = None) -> "Simulator":
        """The Simulator of a bundle in a local or `s3://` folder; ConfigError if it is not one."""
        return cls(load(folder), device)

    @property
    def heads(self) -> tuple[str, ...]:
        """What the bundle can predict: "likes", "caption" or both."""
        return self.config.heads

    def task(self, head: str) -> TaskConfig:
        """The first task of a head, "likes" or "caption"."""
        return next(task for task in self.config.tasks if task.head == head)

    def is_cold(self, post: Post) -> bool:
        """Whether the bundle has nothing on the post's account: no history or, if it reads none, not its name."""
        if self.config.model.history:
            return post.history is None or post.history.cold
        return post.username not in self.accounts

    def simulate(
        self,
        posts: Sequence[Post],
        media: Sequence[Sequence[MediaFrames]],
        heads: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """Predict the likes and captions of posts.

        Args:
            posts: The posts.
            media: The key frames of each post's media files.
            heads: What to predict, "likes" and "caption"; all that the bundle can predict by default.

        Returns:
            One prediction per post, in order. A post without readable media is predicted from its metadata, and its
            `error` says why.
        """
        heads = heads or self.heads
        examples = self.build_examples(posts, media, heads)
        likes = self.predict_likes(examples["likes"]) if "likes" in heads else [None] * len(posts)
        captions = self.generate_captions(examples["caption"]) if "caption" in heads else [None] * len(posts)
        return [
            _prediction(example.post, example.context, post_likes, caption, self.is_cold(example.post))
            for example, post_likes, caption in zip(examples[heads[0]], likes, captions, strict=True)
        ]

    def build_examples(
        self, posts: Sequence[Post], media: Sequence[Sequence[MediaFrames]], heads: Sequence[str]
    ) -> dict[str, list[Example]]:
        """The model's input for each head: every post with its history and the frames retrieved for the head's task.

        Args:
            posts: The posts.
            media: The key frames of each post's media files.
            heads: "likes", "caption" or both.

        Returns:
            Head -> one example per post, in order.
        """
        if self.history:
            posts = [self.history.with_history(post) for post in posts]
        retrieved = self._retrieve(posts, media)
        return {
            head: [
                Example(post=post, context=by_task[self.task(head).name])
                for post, by_task in zip(posts, retrieved, strict=True)
            ]
            for head in heads
        }

    def predict_likes(self, examples: Sequence[Example]) -> list[LikesPrediction]:
        """The predicted likes (the median) of each example, with its calibrated intervals."""
        log1p = self.predict_log1p(examples)
        return [
            LikesPrediction.of(value, self.intervals, self.is_cold(example.post))
            for value, example in zip(log1p.tolist(), examples, strict=True)
        ]

    @torch.inference_mode()
    def predict_log1p(
        self, examples: Sequence[Example], visual: Float[Tensor, "media query hidden"] | None = None
    ) -> Float[np.ndarray, " example"]:
        """Predicted log(1 + likes).

        Args:
            examples: The examples.
            visual: Their features from `encode_media`; computed by default.
        """
        if not examples:
            return np.zeros(0)
        task = self.task("likes")
        visual = self.encode_media(examples, task) if visual is None else visual
        visible = self.hide_new_accounts(examples)
        batch = self.to_device(self.collator.prompts(visible, task) | self.collator.history(visible))
        standardised = self.model(**batch, visual=visual, predict_likes=True).likes.double().cpu().numpy()
        return self.scale.to_log1p(standardised)

    @torch.inference_mode()
    def encode_media(self, examples: Sequence[Example], task: TaskConfig) -> Float[Tensor, "media query hidden"] | None:
        """The visual features of the examples that have frames; None if none has."""
        media = self.collator.media(self.hide_new_accounts(examples), task)
        return self.model.encode_media(**self.to_device(media)) if media else None

    @torch.inference_mode()
    def generate_captions(
        self,
        examples: Sequence[Example],
        settings: EvaluateConfig | None = None,
        task: TaskConfig | None = None,
        visual: Float[Tensor, "media query hidden"] | None = None,
    ) -> list[str]:
        """Generate the caption of each example by beam search, in one batch.

        Args:
            examples: The examples.
            settings: Length, beams and repeated n-grams; the bundle's own by default.
            task: Another task of the caption head, whose masked field is generated instead.
            visual: Features from `encode_media` for the same task; computed by default.
        """
        if not examples:
            return []
        task, settings = task or self.task("caption"), settings or self.config.evaluate
        tokens = self.model.generate(
            **self.to_device(self.collator.prompts(self.hide_new_accounts(examples), task)),
            visual=self.encode_media(examples, task) if visual is None else visual,
            max_new_tokens=settings.max_new_tokens,
            num_beams=settings.num_beams,
            no_repeat_ngram_size=settings.no_repeat_ngram,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    @torch.inference_mode()
    def caption_nll(
        self, examples: Sequence[Example], visual: Float[Tensor, "media query hidden"] | None = None
    ) -> list[tuple[float, int]]:
        """The negative log-likelihood of each example's actual caption.

        Args:
            examples: Examples with captions.
            visual: Features from `encode_media` for the caption task; computed by default.

        Returns:
            For each example the sum over its tokens, in nats, and their number, the end token included.
        """
        if not examples:
            return []
        task, causal = self.task("caption"), self.model.config.use_decoder_only_language_model
        batch = self.to_device(self.collator.collate(self.hide_new_accounts(examples), task, causal))
        visual = self.encode_media(examples, task) if visual is None else visual
        nll = self.model.sequence_nll(**batch, visual=visual).double().tolist()
        return list(zip(nll, (batch["labels"] != IGNORE_INDEX).sum(1).tolist(), strict=True))

    def hide_new_accounts(self, examples: Sequence[Example]) -> list[Example]:
        """The examples, without usernames outside the training posts if `model.new_accounts` is "hide"."""
        hides = self.config.model.new_accounts == "hide"
        return [
            e.model_copy(update={"post": without_fields(e.post, ["username"])})
            if hides and e.post.username not in self.accounts
            else e
            for e in examples
        ]

    def to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch on the Simulator's device."""
        return {name: value.to(self.device) for name, value in batch.items()}

    def _retrieve(self, posts: Sequence[Post], media: Sequence[Sequence[MediaFrames]]) -> Sequence[dict[str, Context]]:
        """Task name -> context, for each post."""
        tasks = self.config.tasks
        if not self.config.model.media:
            return [{task.name: Context(post_id=post.post_id, task=task.name) for task in tasks} for post in posts]
        assert self.retriever is not None, "a bundle without a retriever predicts from examples, not from posts"
        return retrieve_contexts(self.retriever, tasks, posts, media, self.config.retriever)


def _prediction(
    post: Post, context: Context, likes: LikesPrediction | None, caption: str | None, cold: bool
) -> Prediction:
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
