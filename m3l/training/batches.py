"""What a step reads of its rows: tasks, frames and fields, drawn from the seed and each row's place in the order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from m3l.config import TaskConfig, TrainConfig
from m3l.data.records import Context, ContextFrame, Example, Post, Row
from m3l.prompts.collator import IGNORED, Collator
from m3l.prompts.render import OPTIONAL, without
from m3l.prompts.token_mask import TokenMask
from m3l.training.task_schedule import draw_task

SHIFT, SCALE = 0.12, (0.85, 1.2)  # of an augmented frame's width and height

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """One cell as tensors: each loss by its name, what it is the mean of, and the arguments of `StepLoss`."""

    names: list[str]
    counts: list[int]  # rows, caption tokens, or media whose words are named
    views: list[Tensors]  # the media, once for all batches or once for each
    blank: list[bool]  # of each view: it is only there so that every rank runs the same towers
    words: Tensor | None  # empty where there is nothing to name
    batches: list[Tensors]


class Reader:
    """Rows -> `Reading`; equal arguments give equal tensors, on any rank and after a resume.

    With `look`, which gives the patches of encoded frames, views hold patches in place of pixels.
    """

    def __init__(
        self,
        collator: Collator,
        tasks: tuple[TaskConfig, ...],
        config: TrainConfig,
        seed: int,
        causal: bool,
        look: Callable[[Sequence[bytes]], Tensor] | None = None,
    ):
        self.collator, self.tasks, self.config, self.seed, self.causal = collator, tasks, config, seed, causal
        self.look = look

    def words(self, rows: Sequence[Row], first: int) -> Reading:
        """The warm-up: the caption's words from the visual tokens alone, and the tasks from the same frames."""
        caption = next(task for task in self.tasks if task.head == "caption")
        reader = next((task for task in self.tasks if task.head == "likes"), caption)
        draws = self._draws(first, len(rows))
        examples = self._thin([row[reader.name] for row in rows], self.config.warmup_frames, draws)
        tasks = self.tasks if self.config.warmup_tasks else ()
        batches = [self._told(self._forgetful(examples, task, draws), task, first) for task in tasks]
        blank = not _any_frames(examples)
        words = torch.zeros(0, 1, dtype=torch.long) if blank else self.collator.words_of(examples, caption)
        names, counts = [loss_name(task) for task in tasks], [_count(batch) for batch in batches]
        views = [self._media(examples, draws, *self.tasks)]
        return Reading(["words", *names], [len(words), *counts], views, [blank], words, batches)

    def masked(self, rows: Sequence[Row], first: int, step: int) -> Reading:
        """Algorithm 1: the tasks of the step, each from the frames that were retrieved for it."""
        if self.config.schedule == "joint":
            tasks = list(self.tasks)
        else:
            tasks = [draw_task(self.tasks, step, self.seed, self.config.cut)]
        draws = self._draws(first, len(rows))  # frames and fields are drawn alike for every task of a row
        thin = [self._thin([row[task.name] for row in rows], self.config.frames, draws) for task in tasks]
        read = [self._forgetful(examples, task, draws) for examples, task in zip(thin, tasks, strict=True)]
        batches = [self._told(examples, t, first) for examples, t in zip(read, tasks, strict=True)]
        seen = [
            [(e.context.frames, self.collator.qformer_text(e, t)) for e in examples]
            for examples, t in zip(read, tasks, strict=True)
        ]
        if all(each == seen[0] for each in seen):
            read, tasks_seen = read[:1], tasks[:1]
        else:  # a task that retrieved other frames, or reads another text, brings its own
            tasks_seen = tasks
        views = [self._media(examples, draws, t) for examples, t in zip(read, tasks_seen, strict=True)]
        blank = [not _any_frames(examples) for examples in read]
        names, counts = [loss_name(task) for task in tasks], [_count(batch) for batch in batches]
        return Reading(names, counts, views, blank, None, batches)

    def plain(self, rows: Sequence[Row], task: TaskConfig) -> Reading:
        """The rows as an evaluation reads them: with all of their frames and fields."""
        examples = [row[task.name] for row in rows]
        batch = self.collator.training(examples, task, self.causal)
        media = self.collator.media(_or_blank(examples), task)
        return Reading([loss_name(task)], [_count(batch)], [media], [not _any_frames(examples)], None, [batch])

    def _told(self, examples: Sequence[Example], task: TaskConfig, first: int) -> Tensors:
        rate = self.config.token_mask_rate
        mask = TokenMask(rate, (self.seed, 3, first)) if rate else None
        return self.collator.training(examples, task, self.causal, mask)

    def _draws(self, first: int, rows: int) -> list[int]:
        """One number for each row, from its place alone."""
        return [int(np.random.default_rng((self.seed, 1, first + i)).integers(2**32)) for i in range(rows)]

    def _media(self, examples: Sequence[Example], draws: Sequence[int], *tasks: TaskConfig) -> Tensors:
        media = self.collator.media(_or_blank(examples), *tasks, look=self.look)
        if self.config.augment:
            mask = media["frame_mask"]
            seen = [(draw, len(e.context.frames)) for draw, e in zip(draws, examples, strict=True) if e.context.frames]
            chances = [np.random.default_rng((draw, 2)).random((frames, 4)) for draw, frames in seen]
            lots = torch.from_numpy(np.concatenate(chances or [np.zeros((1, 4))])).float()
            media["pixel_values"][mask] = augmented(media["pixel_values"][mask], lots)
        return media

    def _thin(self, examples: Sequence[Example], most: int, draws: Sequence[int]) -> list[Example]:
        """The examples with at most `most` of their frames, or with none, as dead links will be."""
        made = []
        for example, draw in zip(examples, draws, strict=True):
            random = np.random.default_rng(draw)
            kept = example.context.frames
            if random.uniform() < self.config.media_dropout:
                kept = ()
            elif len(kept) > most:  # the first, as how a video starts counts, then one by chance from each stretch
                rest = (np.arange(most - 1) + random.uniform(size=most - 1)) * (len(kept) - 1) / max(1, most - 1)
                kept = (kept[0], *(kept[1 + int(at)] for at in rest))
            made.append(example.model_copy(update={"context": example.context.model_copy(update={"frames": kept})}))
        return made

    def _forgetful(self, examples: Sequence[Example], task: TaskConfig, draws: Sequence[int]) -> list[Example]:
        """The examples without some of the fields that the task's prompt can do without."""
        made = []
        for example, draw in zip(examples, draws, strict=True):
            lots = np.random.default_rng((draw, 1)).uniform(size=len(OPTIONAL))
            gone = [n for n, lot in zip(OPTIONAL, lots, strict=True) if lot < self.config.field_dropout]
            post = without(example.post, [name for name in gone if name != task.masked])
            made.append(example.model_copy(update={"post": post}))
        return made


def augmented(
    frames: Float[Tensor, "frame 3 height width"], lots: Float[Tensor, "frame 4"]
) -> Float[Tensor, "frame 3 height width"]:
    """Each frame flipped or not, scaled and shifted by its lots in [0, 1); what comes in from outside is 0."""
    flip, size, x, y = lots.T
    size = 1 / (SCALE[0] + (SCALE[1] - SCALE[0]) * size)
    where = torch.zeros(len(frames), 2, 3)
    where[:, 0, 0], where[:, 1, 1] = torch.where(flip < 0.5, -size, size), size
    where[:, 0, 2], where[:, 1, 2] = 2 * SHIFT * (2 * x - 1), 2 * SHIFT * (2 * y - 1)  # frames reach from -1 to 1
    grid = F.affine_grid(where, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False)


def loss_name(task: TaskConfig) -> str:
    return "nll" if task.head == "caption" else "mse"


def _count(batch: Tensors) -> int:
    """What the loss of a batch is the mean of: its rows, or the tokens that are told."""
    return int((batch["labels"] != IGNORED).sum()) if "labels" in batch else len(batch["likes"])


def _or_blank(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples, or one with a black frame if none has any."""
    return examples if _any_frames(examples) else [_blank()]


def _any_frames(examples: Sequence[Example]) -> bool:
    return any(example.context.frames for example in examples)


@lru_cache(maxsize=1)
def _blank() -> Example:
    image = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    frame = ContextFrame(media_id="", time_s=0.0, score=0.0, image=image)
    post = Post(post_id="", username="", posted_at=datetime(1970, 1, 1, tzinfo=UTC))
    return Example(post=post, context=Context(post_id="", task="", frames=(frame,)))
