"""Training the retriever, for one rank: a teacher where there is none, its ranks, then the student.

The metadata prompt is all there is at inference while the caption says what a post is about, so the student learns
to find from the prompt the frames that a frozen teacher finds with the true caption.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from m3l.config import RetrieverConfig
from m3l.retriever.adapt import adapted, merged
from m3l.retriever.clip import Retriever
from m3l.retriever.objectives import CaptionContrast, FrameRetrieval
from m3l.retriever.ranks import first_row
from m3l.retriever.samples import Sample, Shelf, draw, spread_labels, stack

CONTRAST_FRAMES = 1  # of a post in one step of the teacher: with more it learns the posts by heart, not the subjects
STEP_FRAMES = 8  # of a post in one step of the student: bounds memory, whatever the post
WEIGHT_DECAY = 0.05
WARM_UP = 0.1  # of the steps, with a rising learning rate
CLIP_NORM = 1.0

Report = Callable[[dict[str, float]], None]
Spread = Callable[[nn.Module], nn.Module]


class Trained(NamedTuple):
    student: Retriever
    teacher: Retriever


def steps_of(config: RetrieverConfig, rows: int) -> int:
    """How many steps `train` takes with so many rows on each rank."""
    return (config.teacher_epochs + config.epochs) * math.ceil(rows / config.batch_size)


def train(
    retriever: Retriever,
    shelf: Shelf,
    config: RetrieverConfig,
    seed: int,
    report: Report = lambda _: None,
    spread: Spread = lambda module: module,
) -> Trained:
    """The trained student and its frozen teacher; `retriever` itself becomes the teacher.

    `spread` wraps a module for several ranks (DDP); every rank must hold equally many samples and must call this
    with the same arguments. `report` hears the losses of each step.
    """
    rng = np.random.default_rng([seed, first_row(1)])
    known: dict[str, Tensor] = {}  # what the teacher found for each post

    def contrast(objective: nn.Module, batch: list[Sample]) -> dict[str, Tensor]:
        chosen = [draw(sample, CONTRAST_FRAMES, rng) for sample in batch]
        captions = retriever.tokens([sample.caption for sample in batch])
        return objective(stack(batch, chosen, CONTRAST_FRAMES), captions)

    def retrieve(objective: nn.Module, batch: list[Sample]) -> dict[str, Tensor]:
        chosen = [draw(sample, STEP_FRAMES, rng) for sample in batch]
        prompts = torch.stack([retriever.tokens(sample.prompts) for sample in batch])
        labels = spread_labels([known[sample.post_id] for sample in batch], chosen, STEP_FRAMES)
        return objective(stack(batch, chosen, STEP_FRAMES), prompts, labels)

    def learn(objective: nn.Module, step: Callable[..., dict[str, Tensor]], epochs: int, phase: str) -> None:
        batches = (batch for _ in range(epochs) for batch in shelf.batches(config.batch_size, rng))
        total = epochs * math.ceil(shelf.rows / config.batch_size)
        for losses in _descend(spread(objective.train()), step, batches, total, config.lr):
            report({f"{phase}_{name}": value for name, value in losses.items()})
        objective.eval()

    if config.teacher_epochs:
        adapted(retriever, "layers" if config.trainable == "layers" else "all").bias.requires_grad_(
            False
        )  # which the contrast does not use
        learn(CaptionContrast(retriever), contrast, config.teacher_epochs, "teacher")
    teacher = retriever.eval().requires_grad_(False)
    if not config.epochs:
        return Trained(deepcopy(teacher), teacher)
    for batch in shelf.batches(config.batch_size, rng):
        labels = teacher_labels(teacher, batch, config.positives)
        known |= zip([sample.post_id for sample in batch], labels, strict=True)
    student = adapted(deepcopy(teacher), config.trainable)
    learn(FrameRetrieval(student, config.bce_weight, config.dfr_weight), retrieve, config.epochs, "student")
    return Trained(merged(student), teacher)


def teacher_labels(teacher: Retriever, samples: Sequence[Sample], positives: int) -> Iterator[Bool[Tensor, " n"]]:
    """Of each sample, the frames that the teacher ranks top for the true caption."""
    captions = teacher.encode_text([sample.caption for sample in samples])
    frames = teacher.encode_pixels(torch.cat([sample.pixels for sample in samples]))
    for caption, own in zip(captions, frames.split([len(sample.pixels) for sample in samples]), strict=True):
        yield top(teacher.similarity(caption, own).cpu(), positives)


def top(similarity: Float[Tensor, " n"], positives: int) -> Bool[Tensor, " n"]:
    """True for the most similar frames; of up to `positives` + 1 frames at most half, so that negatives exist."""
    rows = len(similarity)
    count = positives if rows > positives + 1 else max(1, rows // 2)
    return torch.zeros(rows, dtype=torch.bool).scatter(0, similarity.topk(count).indices, True)


def _descend(
    objective: nn.Module,
    step: Callable[..., dict[str, Tensor]],
    batches: Iterator[list[Sample]],
    total: int,
    lr: float,
) -> Iterator[dict[str, float]]:
    """Adam over the batches, the learning rate up and then down on a cosine; yields each step's losses."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done, total))
    for batch in batches:
        losses = step(objective, batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        schedule.step()
        yield {name: float(value.detach()) for name, value in losses.items()}


def _rate(done: int, total: int) -> float:
    warm = max(1, round(WARM_UP * total))
    return min((done + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * max(0, done - warm) / max(1, total - warm)))
