"""Training the retriever, for one rank: a teacher where there is none, its ranks, then the student.

The metadata prompt is all there is at inference while the caption says what a post is about, so the student learns
to find from the prompt the frames that a frozen teacher finds with the true caption.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from m3l.config import RetrieverConfig
from m3l.distributed.collectives import first_row, world
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, Shelf, draw, spread_labels, stack
from m3l.retriever.objectives import CaptionContrast, FrameRetrieval
from m3l.retriever.trainable import adapted, merged

CONTRAST_FRAMES = 1  # of a post in one step of the teacher: with more it learns the posts by heart, not the subjects
STEP_FRAMES = 8  # of a post in one step of the student: bounds memory, whatever the post
WEIGHT_DECAY = 0.05
WARM_UP = 0.1  # of the steps, with a rising learning rate
CLIP_NORM = 1.0

Report = Callable[[dict[str, float]], None]
Spread = Callable[[nn.Module], nn.Module]
Phase = Literal["teacher", "student"]
Step = Callable[[nn.Module, list[Sample], np.random.Generator], dict[str, Tensor]]


class Trained(NamedTuple):
    student: Retriever
    teacher: Retriever


class Run(NamedTuple):
    """One rank's part in a training run; every rank has equally many samples and does the same.

    `spread` wraps a module for several ranks (DDP); `report` hears the losses of each step.
    """

    shelf: Shelf
    seed: int
    report: Report = lambda _: None
    spread: Spread = lambda module: module

    def learn(self, objective: nn.Module, step: Step, config: RetrieverConfig, epochs: int, phase: Phase) -> None:
        """Adam over epochs of batches, the learning rate up and then down on a cosine.

        A batch holds `config.batch_size` posts over all ranks, so that more ranks do not mean fewer steps.
        """
        rng = np.random.default_rng([self.seed, first_row(1), phase == "student"])
        size = math.ceil(config.batch_size / world())
        total = epochs * math.ceil(self.shelf.rows / size)
        module = self.spread(objective.train())
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done, total))
        for _ in range(epochs):
            for batch in self.shelf.batches(size, rng):
                losses = step(module, batch, rng)
                optimizer.zero_grad()
                losses["loss"].backward()
                nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
                optimizer.step()
                schedule.step()
                self.report({f"{phase}_{name}": float(value.detach()) for name, value in losses.items()})
        objective.eval()


def steps_of(config: RetrieverConfig, rows: int) -> int:
    """How many steps `train` takes with so many rows over all ranks."""
    return (config.teacher_epochs + config.epochs) * math.ceil(rows / config.batch_size)


def train(retriever: Retriever, config: RetrieverConfig, run: Run) -> Trained:
    """The trained student and its frozen teacher; `retriever` itself becomes the teacher."""
    teacher = make_teacher(retriever, config, run)
    if not config.epochs:
        return Trained(deepcopy(teacher), teacher)
    return Trained(make_student(teacher, found_by(teacher, config, run.shelf), config, run), teacher)


def make_teacher(retriever: Retriever, config: RetrieverConfig, run: Run) -> Retriever:
    """The retriever itself, frozen after `teacher_epochs` on captions and the frames of their posts."""

    def contrast(objective: nn.Module, batch: list[Sample], rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = [draw(sample, CONTRAST_FRAMES, rng) for sample in batch]
        captions = retriever.tokens([sample.caption for sample in batch])
        return objective(stack(batch, chosen, CONTRAST_FRAMES), captions)

    if config.teacher_epochs:
        adapted(retriever, "layers" if config.trainable == "layers" else "all")
        retriever.bias.requires_grad_(False)  # which the contrast does not use
        run.learn(CaptionContrast(retriever), contrast, config, config.teacher_epochs, "teacher")
    return retriever.eval().requires_grad_(False)


def found_by(teacher: Retriever, config: RetrieverConfig, shelf: Shelf) -> dict[str, Bool[Tensor, " n"]]:
    """Of each post of a shelf, by its id, the frames that the teacher ranks top for the true caption."""
    known: dict[str, Bool[Tensor, " n"]] = {}
    teacher = deepcopy(teacher).frozen()
    for batch in shelf.batches(config.batch_size, np.random.default_rng(0)):
        labels = teacher_labels(teacher, batch, config.positives)
        known |= zip([sample.post_id for sample in batch], labels, strict=True)
    return known


def make_student(
    teacher: Retriever, known: dict[str, Bool[Tensor, " n"]], config: RetrieverConfig, run: Run
) -> Retriever:
    """A copy of the teacher that has learned to find, from the metadata prompts, the frames that are `known`."""

    def retrieve(objective: nn.Module, batch: list[Sample], rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = [draw(sample, STEP_FRAMES, rng) for sample in batch]
        prompts = torch.stack([teacher.tokens(sample.prompts) for sample in batch])
        labels = spread_labels([known[sample.post_id] for sample in batch], chosen, STEP_FRAMES)
        return objective(stack(batch, chosen, STEP_FRAMES), prompts, labels)

    student = adapted(deepcopy(teacher), config.trainable)
    run.learn(FrameRetrieval(student, config.bce_weight, config.dfr_weight), retrieve, config, config.epochs, "student")
    return merged(student)


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


def _rate(done: int, total: int) -> float:
    warm = max(1, round(WARM_UP * total))
    return min((done + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * max(0, done - warm) / max(1, total - warm)))
