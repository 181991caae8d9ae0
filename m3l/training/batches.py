"""Rows -> the tensors of a microbatch: tasks, frames and fields, drawn from the seed and each row's position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from m3l.config import TaskConfig, TrainConfig
from m3l.data.records import Context, ContextFrame, Example, Post, TaskExamples
from m3l.prompts.collator import IGNORE_INDEX, Collator
from m3l.prompts.token_mask import TokenMask
from m3l.training.augment import augment_frames, augmentation_lots, drop_fields, subsample_frames
from m3l.training.task_schedule import draw_task

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingBatch:
    """One microbatch as tensors: its losses, and the arguments of `StepLoss`.

    Attributes:
        loss_names: The name of each loss that `StepLoss` returns, in that order: "words", "nll" or "mse".
        counts: What each loss is a mean over: number of posts with media, of caption tokens, or of posts.
        views: Arguments of `M3L.encode_media`: once for all tasks, or once for each.
        blank: Of each view, whether it only holds a black frame, so that every rank runs the same modules.
        word_targets: Token ids of the captions for the bag-of-words loss, padded with -100; None outside of the
            alignment stage, without rows if no post has media.
        task_batches: Arguments of `M3L.forward` for each task, without the media.
    """

    loss_names: list[str]
    counts: list[int]
    views: list[Tensors]
    blank: list[bool]
    word_targets: Tensor | None
    task_batches: list[Tensors]


class BatchBuilder:
    """Builds training batches; equal arguments give equal tensors, on any rank and after a resume.

    Args:
        collator: Makes tensors of examples.
        tasks: The tasks of the configuration.
        config: How rows are subsampled and augmented, and which tasks a step trains.
        seed: Seed of all draws.
        causal: Whether the language model is decoder-only: captions then follow the prompt.
        vision_features: Gives the ViT's features of encoded frames; views then hold features instead of pixels.
    """

    def __init__(
        self,
        collator: Collator,
        tasks: tuple[TaskConfig, ...],
        config: TrainConfig,
        seed: int,
        causal: bool,
        vision_features: Callable[[Sequence[bytes]], Tensor] | None = None,
    ):
        self.collator, self.tasks, self.config, self.seed, self.causal = collator, tasks, config, seed, causal
        self.vision_features = vision_features

    def alignment_batch(self, rows: Sequence[TaskExamples], first_position: int) -> TrainingBatch:
        """A microbatch of the alignment stage: the caption's words from the visual tokens alone.

        If `train.alignment_tasks` is set, it has the tasks, too, which see the same frames.

        Args:
            rows: Consecutive rows of the run's order.
            first_position: The position of the first one in that order.
        """
        caption_task = next(task for task in self.tasks if task.head == "caption")
        media_task = next((task for task in self.tasks if task.head == "likes"), caption_task)
        seeds = self._row_seeds(first_position, len(rows))
        examples = self._subsample([row[media_task.name] for row in rows], self.config.alignment_frames, seeds)
        tasks = self.tasks if self.config.alignment_tasks else ()
        batches = [self._collate(self._drop_fields(examples, task, seeds), task, first_position) for task in tasks]
        blank = not _any_frames(examples)
        targets = torch.zeros(0, 1, dtype=torch.long)
        if not blank:
            targets = self.collator.bag_of_words_targets(examples, caption_task)
        return TrainingBatch(
            loss_names=["words", *map(loss_name, tasks)],
            counts=[len(targets), *map(_count, batches)],
            views=[self._view(examples, seeds, *self.tasks)],
            blank=[blank],
            word_targets=targets,
            task_batches=batches,
        )

    def task_batch(self, rows: Sequence[TaskExamples], first_position: int, step: int) -> TrainingBatch:
        """A microbatch of Algorithm 1: the tasks of the step, each with the frames that were retrieved for it.

        Args:
            rows: Consecutive rows of the run's order.
            first_position: The position of the first one in that order.
            step: The step, which decides which task is trained if `train.schedule` is `alternate`.
        """
        if self.config.schedule == "joint":
            tasks = list(self.tasks)
        else:
            tasks = [draw_task(self.tasks, step, self.seed, self.config.cut)]
        seeds = self._row_seeds(first_position, len(rows))  # every task of a row draws the same frames and fields
        examples = []  # of each task
        for task in tasks:
            subsampled = self._subsample([row[task.name] for row in rows], self.config.frames, seeds)
            examples.append(self._drop_fields(subsampled, task, seeds))
        batches = [self._collate(each, task, first_position) for each, task in zip(examples, tasks, strict=True)]
        # A task that retrieved other frames, or whose Q-Former reads another text, needs a view of its own.
        views = examples[:1] if self._see_the_same(examples, tasks) else examples
        return TrainingBatch(
            loss_names=[loss_name(task) for task in tasks],
            counts=[_count(batch) for batch in batches],
            views=[self._view(each, seeds, task) for each, task in zip(views, tasks, strict=False)],
            blank=[not _any_frames(each) for each in views],
            word_targets=None,
            task_batches=batches,
        )

    def eval_batch(self, rows: Sequence[TaskExamples], task: TaskConfig) -> TrainingBatch:
        """A batch of one task as an evaluation needs it: with all frames and fields, nothing augmented."""
        examples = [row[task.name] for row in rows]
        batch = self.collator.collate(examples, task, self.causal)
        return TrainingBatch(
            loss_names=[loss_name(task)],
            counts=[_count(batch)],
            views=[self.collator.media(_or_blank(examples), task)],
            blank=[not _any_frames(examples)],
            word_targets=None,
            task_batches=[batch],
        )

    def _row_seeds(self, first_position: int, rows: int) -> list[int]:
        """A seed for each row, which depends on its position alone."""
        positions = range(first_position, first_position + rows)
        return [int(np.random.default_rng((self.seed, 1, position)).integers(2**32)) for position in positions]

    def _subsample(self, examples: Sequence[Example], max_frames: int, seeds: Sequence[int]) -> list[Example]:
        return subsample_frames(examples, max_frames, self.config.media_dropout, seeds)

    def _drop_fields(self, examples: Sequence[Example], task: TaskConfig, seeds: Sequence[int]) -> list[Example]:
        return drop_fields(examples, task.masked, self.config.field_dropout, seeds)

    def _collate(self, examples: Sequence[Example], task: TaskConfig, first_position: int) -> Tensors:
        rate = self.config.token_mask_rate
        mask = TokenMask(rate, (self.seed, 3, first_position)) if rate else None
        return self.collator.collate(examples, task, self.causal, mask)

    def _see_the_same(self, examples: Sequence[Sequence[Example]], tasks: Sequence[TaskConfig]) -> bool:
        """Whether all tasks have the same frames, and the Q-Former reads the same text for them."""
        seen = [
            [(example.context.frames, self.collator.qformer_text(example, task)) for example in each]
            for each, task in zip(examples, tasks, strict=True)
        ]
        return all(each == seen[0] for each in seen)

    def _view(self, examples: Sequence[Example], seeds: Sequence[int], *tasks: TaskConfig) -> Tensors:
        media = self.collator.media(_or_blank(examples), *tasks, vision_features=self.vision_features)
        if self.config.augment:
            counts = [len(example.context.frames) for example in examples]
            lots = augmentation_lots(counts, seeds) if any(counts) else torch.zeros(1, 4)
            mask = media["frame_mask"]
            media["pixel_values"][mask] = augment_frames(media["pixel_values"][mask], lots)
        return media


def loss_name(task: TaskConfig) -> str:
    """The name of the loss of a task's head: negative log-likelihood of captions, mean squared error of likes."""
    return "nll" if task.head == "caption" else "mse"


def _count(batch: Tensors) -> int:
    """What the loss of a batch is a mean over: its caption tokens, or its rows."""
    return int((batch["labels"] != IGNORE_INDEX).sum()) if "labels" in batch else len(batch["likes"])


def _or_blank(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples, or one with a black frame if none has any."""
    return examples if _any_frames(examples) else [_blank_example()]


def _any_frames(examples: Sequence[Example]) -> bool:
    return any(example.context.frames for example in examples)


@lru_cache(maxsize=1)
def _blank_example() -> Example:
    image = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    frame = ContextFrame(media_id="", time_s=0.0, score=0.0, image=image)
    post = Post(post_id="", username="", posted_at=datetime(1970, 1, 1, tzinfo=UTC))
    return Example(post=post, context=Context(post_id="", task="", frames=(frame,)))
