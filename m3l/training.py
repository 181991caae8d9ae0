"""Training one rank: the loss of a step as one module, the step, the learning rate, an evaluation."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3l.batch import Collator
from m3l.config import TaskConfig, TrainConfig
from m3l.model.modeling import M3L
from m3l.parallel import spread
from m3l.records import Example
from m3l.tasks import draw_task

Row = Mapping[str, Example]  # a post as each task sees it: task name -> Example


class StepLoss(nn.Module):
    """The model and its losses as one module, so that DDP wraps one thing."""

    word_weights: Tensor

    def __init__(self, model: M3L, word_weights: Float[Tensor, " vocabulary"]):
        super().__init__()
        self.model = model
        self.register_buffer("word_weights", word_weights, persistent=False)

    def forward(self, media: dict[str, Tensor], words: Tensor | None, batches: list[dict[str, Tensor]]) -> list[Tensor]:
        """The warm-up's loss if `words` are given, else one loss per batch; the media are seen once."""
        visual = self.model.see(**media) if media else None
        if words is not None and visual is not None:
            return [self.model.name_words(visual, words, self.word_weights)]
        return [self.model(**batch, visual=visual).loss for batch in batches]


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
        self.optimiser = torch.optim.AdamW(
            self.trainable, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98)
        )
        self.warmup_steps, self.steps, self.done = warmup_steps, steps, 0
        self.random = np.random.default_rng((seed, 1 + rank))
        self.causal = model.config.use_decoder_only_language_model

    def step(self, rows: Sequence[Row]) -> dict[str, float]:
        """One optimiser step on this rank's rows; returns its losses by name."""
        self.net.train()
        names, arguments = self._words(rows) if self.done < self.warmup_steps else self._masked(rows)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * learning_rate(
                self.done, self.warmup_steps, self.steps, self.config.warmup_share
            )
        losses = self.net(*_to(arguments, self.device))
        weights = {"nll": self.config.nll_weight, "mse": self.config.mse_weight}
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
        task = next(t for t in self.tasks if t.head == "caption")
        examples = [self._thin(row[task.name], self.config.warmup_frames, 0.0) for row in rows]
        seen = [example for example in examples if example.context.frames]
        if not seen:  # every rank must take part in the step
            return ["words"], ({}, None, [self.collator.training(examples, task, self.causal)])
        return ["words"], (self.collator.media(seen, task), self.collator.words_of(seen, task), [])

    def _masked(self, rows: Sequence[Row]) -> tuple[list[str], tuple[Any, ...]]:
        if self.config.schedule == "joint":
            tasks = list(self.tasks)
        else:
            tasks = [draw_task(self.tasks, self.done, self.seed, self.config.cut)]
        draws = self.random.integers(2**32, size=len(rows))  # of the frames: the same for every task of a row
        read = [
            [
                self._thin(row[task.name], self.config.frames, self.config.media_dropout, int(draw))
                for row, draw in zip(rows, draws, strict=True)
            ]
            for task in tasks
        ]
        names = [_loss_name(task) for task in tasks]
        batches = [self.collator.training(examples, t, self.causal) for examples, t in zip(read, tasks, strict=True)]
        seen = [
            [(e.context.frames, self.collator.qformer_text(e, t)) for e in examples]
            for examples, t in zip(read, tasks, strict=True)
        ]
        if all(each == seen[0] for each in seen):
            return names, (self.collator.media(read[0], tasks[0]), None, batches)
        # A task that retrieved other frames, or reads another text, brings its own.
        media = [self.collator.media(examples, t) for examples, t in zip(read, tasks, strict=True)]
        return names, ({}, None, [batch | own for batch, own in zip(batches, media, strict=True)])

    def _thin(self, example: Example, most: int, dropout: float, draw: int | None = None) -> Example:
        """The example with at most `most` of its frames, or with none, as dead links will be."""
        random = self.random if draw is None else np.random.default_rng(draw)
        kept = example.context.frames
        if random.uniform() < dropout:
            kept = ()
        elif len(kept) > most:  # one by chance from each of `most` stretches: what came first stays told apart
            kept = tuple(kept[int(at)] for at in (np.arange(most) + random.uniform(size=most)) * len(kept) / most)
        return example.model_copy(update={"context": example.context.model_copy(update={"frames": kept})})


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
