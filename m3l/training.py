"""Training one rank: the loss of a step as one module, the step, the learning rate, an evaluation."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from m3l.batch import Collator
from m3l.config import TaskConfig, TrainConfig
from m3l.masking import TokenMask
from m3l.model.modeling import M3L
from m3l.optim import build_optimiser
from m3l.parallel import spread
from m3l.prompts import OPTIONAL, without
from m3l.records import Example
from m3l.tasks import draw_task

SHIFT, SCALE = 0.12, (0.85, 1.2)  # of an augmented frame's width and height

Row = Mapping[str, Example]  # a post as each task sees it: task name -> Example


class StepLoss(nn.Module):
    """The model and its losses as one module, so that DDP wraps one thing."""

    word_weights: Tensor

    def __init__(self, model: M3L, word_weights: Float[Tensor, " vocabulary"]):
        super().__init__()
        self.model = model
        self.register_buffer("word_weights", word_weights, persistent=False)

    def forward(self, media: dict[str, Tensor], words: Tensor | None, batches: list[dict[str, Tensor]]) -> list[Tensor]:
        """The loss of naming the `words`, if there are any, then one of each batch; the media are seen once."""
        visual = self.model.see(**media) if media else None
        losses = [self.model(**batch, visual=visual).loss for batch in batches]
        if words is not None and visual is not None:
            losses.insert(0, self.model.name_words(visual, words, self.word_weights))
        return losses


class Learner:
    """One rank's model, optimiser and place in the schedule; every rank calls `step` equally often."""

    def __init__(
        self,
        model: M3L,
        collator: Collator,
        tasks: tuple[TaskConfig, ...],
        config: TrainConfig,
        *,
        warmup_steps: int,
        steps: int,
        seed: int,
        rank: int = 0,
        word_weights: Float[Tensor, " vocabulary"],
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.model, self.collator, self.tasks, self.config, self.seed = model, collator, tasks, config, seed
        self.net = spread(StepLoss(model, word_weights), config.strategy, self.device)
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = build_optimiser(model, config)
        self.warmup_steps, self.steps, self.done = warmup_steps, steps, 0
        self.random = np.random.default_rng((seed, 1 + rank))
        self.causal = model.config.use_decoder_only_language_model

    def step(self, rows: Sequence[Row]) -> dict[str, float]:
        """One optimiser step on this rank's rows; returns its losses by name."""
        self.net.train()
        warming = self.done < self.warmup_steps
        names, arguments = self._words(rows) if warming else self._masked(rows)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * learning_rate(
                self.done, self.warmup_steps, self.steps, self.config.warmup_share
            )
        losses = self.net(*_to(arguments, self.device))
        mse_weight = self.config.warmup_mse_weight if warming else self.config.mse_weight
        weights = {"nll": self.config.nll_weight, "mse": mse_weight}
        total = sum(weights.get(name, 1.0) * loss for name, loss in zip(names, losses, strict=True))
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.trainable, self.config.clip_norm)
        self.optimiser.step()
        self.done += 1
        return {name: loss.item() for name, loss in zip(names, losses, strict=True)}

    @torch.no_grad()
    def evaluate(self, rows: Sequence[Row], batch_size: int = 32) -> dict[str, float]:
        """The mean loss of each head over the rows, with all of their frames."""
        self.model.eval()
        sums, told = Counter[str](), Counter[str]()
        for start in range(0, len(rows), batch_size):
            for task in self.tasks:
                batch = [row[task.name] for row in rows[start : start + batch_size]]
                media = self.collator.media(batch, task)
                arguments = {**self.collator.training(batch, task, self.causal), **media}
                sums[_loss_name(task)] += self.model(**_to(arguments, self.device)).loss.item() * len(batch)
                told[_loss_name(task)] += len(batch)
        return {name: total / told[name] for name, total in sums.items()}

    def _words(self, rows: Sequence[Row]) -> tuple[list[str], tuple[Any, ...]]:
        """The warm-up: the caption's words from the visual tokens alone, and every task from the same frames."""
        caption = next(task for task in self.tasks if task.head == "caption")
        reader = next((task for task in self.tasks if task.head == "likes"), caption)
        draws = self.random.integers(2**32, size=len(rows)).tolist()
        examples = [
            self._thin(row[reader.name], self.config.warmup_frames, self.config.media_dropout, draw)
            for row, draw in zip(rows, draws, strict=True)
        ]
        names = [_loss_name(task) for task in self.tasks]
        batches = [self._training(self._forgetful(examples, task, draws), task) for task in self.tasks]
        seen = [example for example in examples if example.context.frames]
        if not seen:
            return names, ({}, None, batches)
        words = self.collator.words_of(seen, caption)
        return ["words", *names], (self._media(seen, *self.tasks), words, batches)

    def _masked(self, rows: Sequence[Row]) -> tuple[list[str], tuple[Any, ...]]:
        if self.config.schedule == "joint":
            tasks = list(self.tasks)
        else:
            tasks = [draw_task(self.tasks, self.done, self.seed, self.config.cut)]
        # Frames and fields are drawn alike for every task of a row.
        draws = self.random.integers(2**32, size=len(rows)).tolist()
        thin = [
            [
                self._thin(row[task.name], self.config.frames, self.config.media_dropout, draw)
                for row, draw in zip(rows, draws, strict=True)
            ]
            for task in tasks
        ]
        read = [self._forgetful(examples, task, draws) for examples, task in zip(thin, tasks, strict=True)]
        names = [_loss_name(task) for task in tasks]
        batches = [self._training(examples, t) for examples, t in zip(read, tasks, strict=True)]
        seen = [
            [(e.context.frames, self.collator.qformer_text(e, t)) for e in examples]
            for examples, t in zip(read, tasks, strict=True)
        ]
        if all(each == seen[0] for each in seen):
            return names, (self._media(read[0], tasks[0]), None, batches)
        # A task that retrieved other frames, or reads another text, brings its own.
        media = [self._media(examples, t) for examples, t in zip(read, tasks, strict=True)]
        return names, ({}, None, [batch | own for batch, own in zip(batches, media, strict=True)])

    def _training(self, examples: Sequence[Example], task: TaskConfig) -> dict[str, Tensor]:
        rate = self.config.token_mask_rate
        return self.collator.training(
            examples, task, self.causal, TokenMask(rate, (self.seed, self.done)) if rate else None
        )

    def _media(self, examples: Sequence[Example], *tasks: TaskConfig) -> dict[str, Tensor]:
        media = self.collator.media(examples, *tasks)
        if media and self.config.augment:
            mask = media["frame_mask"]
            media["pixel_values"][mask] = augmented(media["pixel_values"][mask], int(self.random.integers(2**62)))
        return media

    def _thin(self, example: Example, most: int, dropout: float, draw: int | None = None) -> Example:
        """The example with at most `most` of its frames, or with none, as dead links will be."""
        random = self.random if draw is None else np.random.default_rng(draw)
        kept = example.context.frames
        if random.uniform() < dropout:
            kept = ()
        elif len(kept) > most:  # the first, as how a video starts counts, then one by chance from each stretch
            rest = (np.arange(most - 1) + random.uniform(size=most - 1)) * (len(kept) - 1) / max(1, most - 1)
            kept = (kept[0], *(kept[1 + int(at)] for at in rest))
        return example.model_copy(update={"context": example.context.model_copy(update={"frames": kept})})

    def _forgetful(self, examples: list[Example], task: TaskConfig, draws: Iterable[int]) -> list[Example]:
        """The examples without some of the fields that the task's prompt can do without."""
        made = []
        for example, draw in zip(examples, draws, strict=True):
            lots = np.random.default_rng((draw, 1)).uniform(size=len(OPTIONAL))
            gone = [n for n, lot in zip(OPTIONAL, lots, strict=True) if lot < self.config.field_dropout]
            post = without(example.post, [name for name in gone if name != task.masked])
            made.append(example.model_copy(update={"post": post}))
        return made


def augmented(frames: Float[Tensor, "frame 3 height width"], seed: int) -> Float[Tensor, "frame 3 height width"]:
    """Each frame flipped or not, shifted and scaled by chance; what comes in from outside is 0."""
    chance = torch.Generator().manual_seed(seed)
    flip, size, x, y = torch.rand(4, len(frames), generator=chance)
    size = 1 / (SCALE[0] + (SCALE[1] - SCALE[0]) * size)
    where = torch.zeros(len(frames), 2, 3)
    where[:, 0, 0], where[:, 1, 1] = torch.where(flip < 0.5, -size, size), size
    where[:, 0, 2], where[:, 1, 2] = 2 * SHIFT * (2 * x - 1), 2 * SHIFT * (2 * y - 1)  # frames reach from -1 to 1
    grid = F.affine_grid(where, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False)


def learning_rate(step: int, warmup_steps: int, steps: int, rising_share: float) -> float:
    """The factor of a step: rises at the start of each stage, stays in the warm-up, then falls as a cosine to 2%."""
    rising = max(1, round(rising_share * steps))
    if step < warmup_steps:
        return min(1.0, (step + 1) / rising)
    at, length = step - warmup_steps, max(1, steps - warmup_steps)
    rise = 1.0 if warmup_steps else min(1.0, (at + 1) / rising)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, at / length))))


def word_weights(answers: Iterable[list[int]], vocabulary: int) -> Float[Tensor, " vocabulary"]:
    """Inverse document frequency of each token over the training captions: a rare word tells what is shown."""
    seen, rows = np.zeros(vocabulary), 0
    for answer in answers:
        seen[list(set(answer))] += 1
        rows += 1
    return torch.from_numpy(np.log(max(2, rows) / np.maximum(seen, 1))).float()


def _loss_name(task: TaskConfig) -> str:
    return "nll" if task.head == "caption" else "mse"


def _to(value: Any, device: torch.device) -> Any:
    match value:
        case Tensor():
            return value.to(device)
        case dict():
            return {key: _to(item, device) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_to(item, device) for item in value)
        case _:
            return value
