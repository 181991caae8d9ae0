"""Training the retriever on one rank: the teacher if it is not pretrained, its pseudo-labels, then the student.

At inference only the metadata prompt is available, while the caption says what a post is about. So the student learns
to find, from the prompt alone, the frames that a frozen teacher ranks top for the true caption.
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
from m3l.distributed.collectives import first_row, world_size
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, SampleCache, gather_labels, sample_frames, stack_frames
from m3l.retriever.objectives import CaptionContrast, FrameRetrieval
from m3l.retriever.trainable import merge_lora, set_trainable

CONTRAST_FRAMES = 1  # frames per post in a step of the teacher: with more it memorises posts instead of subjects
STEP_FRAMES = 8  # frames per post in a step of the student: bounds memory
WEIGHT_DECAY = 0.05
LR_WARMUP_SHARE = 0.1  # of the steps
CLIP_NORM = 1.0

Report = Callable[[dict[str, float]], None]
Parallelize = Callable[[nn.Module], nn.Module]
Phase = Literal["teacher", "student"]
Step = Callable[[nn.Module, list[Sample], np.random.Generator], dict[str, Tensor]]


class Trained(NamedTuple):
    """The result of a training; the teacher is frozen."""

    student: Retriever
    teacher: Retriever


class TrainContext(NamedTuple):
    """One rank's part of a training run; every rank holds the same number of samples and takes the same steps.

    Attributes:
        samples: This rank's samples.
        seed: Draws the order of the samples and their frames.
        report: Called with the losses of each step.
        parallelize: Wraps a module for several ranks (DDP).
    """

    samples: SampleCache
    seed: int
    report: Report = lambda _: None
    parallelize: Parallelize = lambda module: module

    def learn(self, objective: nn.Module, step: Step, config: RetrieverConfig, epochs: int, phase: Phase) -> None:
        """Train an objective with AdamW, linear warm-up and cosine decay.

        Args:
            objective: Module that returns the losses of a batch, among them `loss`.
            step: Calls the (parallelized) objective on a batch.
            config: Batch size over all ranks, learning rate.
            epochs: Passes over the samples.
            phase: Prefix of the reported losses; part of the seed.
        """
        rng = np.random.default_rng([self.seed, first_row(1), phase == "student"])
        size = math.ceil(config.batch_size / world_size())
        total = epochs * math.ceil(self.samples.rows / size)
        module = self.parallelize(objective.train())
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done, total))
        for _ in range(epochs):
            for batch in self.samples.batches(size, rng):
                losses = step(module, batch, rng)
                optimizer.zero_grad()
                losses["loss"].backward()
                nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
                optimizer.step()
                schedule.step()
                self.report({f"{phase}_{name}": float(value.detach()) for name, value in losses.items()})
        objective.eval()


def num_steps(config: RetrieverConfig, rows: int) -> int:
    """Number of steps that `train` takes.

    Args:
        config: Epochs and batch size.
        rows: Samples on all ranks together.
    """
    return (config.teacher_epochs + config.epochs) * math.ceil(rows / config.batch_size)


def train(retriever: Retriever, config: RetrieverConfig, run: TrainContext) -> Trained:
    """Train the teacher if `teacher_epochs` asks for it, then the student.

    Args:
        retriever: CLIP to start from; becomes the teacher in place.
        config: Epochs, loss weights, which parameters are trained.
        run: This rank's samples and reporting.
    """
    teacher = train_teacher(retriever, config, run)
    if not config.epochs:
        return Trained(deepcopy(teacher), teacher)
    return Trained(train_student(teacher, pseudo_labels(teacher, config, run.samples), config, run), teacher)


def train_teacher(retriever: Retriever, config: RetrieverConfig, run: TrainContext) -> Retriever:
    """Train CLIP on captions and the frames of their posts for `teacher_epochs`; returns it frozen."""

    def contrast(objective: nn.Module, batch: list[Sample], rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = [sample_frames(sample, CONTRAST_FRAMES, rng) for sample in batch]
        captions = retriever.tokenize([sample.caption for sample in batch])
        return objective(stack_frames(batch, chosen, CONTRAST_FRAMES), captions)

    if config.teacher_epochs:
        set_trainable(retriever, "layers" if config.trainable == "layers" else "all")
        retriever.bias.requires_grad_(False)  # not used by the contrastive loss
        run.learn(CaptionContrast(retriever), contrast, config, config.teacher_epochs, "teacher")
    return retriever.eval().requires_grad_(False)


def pseudo_labels(teacher: Retriever, config: RetrieverConfig, samples: SampleCache) -> dict[str, Bool[Tensor, " n"]]:
    """The positive frames of each post, by its id: those that the teacher ranks top for the true caption."""
    labels_by_post: dict[str, Bool[Tensor, " n"]] = {}
    teacher = deepcopy(teacher).freeze_for_inference()
    for batch in samples.batches(config.batch_size, np.random.default_rng(0)):
        labels = teacher_labels(teacher, batch, config.positives)
        labels_by_post |= zip([sample.post_id for sample in batch], labels, strict=True)
    return labels_by_post


def train_student(
    teacher: Retriever, labels_by_post: dict[str, Bool[Tensor, " n"]], config: RetrieverConfig, run: TrainContext
) -> Retriever:
    """Train a copy of the teacher to find the positive frames from the metadata prompts.

    Args:
        teacher: Frozen; the student starts from its weights.
        labels_by_post: Positive frames of each post, from `pseudo_labels`.
        config: Epochs, loss weights, which parameters are trained.
        run: This rank's samples and reporting.
    """

    def retrieve(objective: nn.Module, batch: list[Sample], rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = [sample_frames(sample, STEP_FRAMES, rng) for sample in batch]
        prompts = torch.stack([teacher.tokenize(sample.prompts) for sample in batch])
        labels = gather_labels([labels_by_post[sample.post_id] for sample in batch], chosen, STEP_FRAMES)
        return objective(stack_frames(batch, chosen, STEP_FRAMES), prompts, labels)

    student = set_trainable(deepcopy(teacher), config.trainable)
    run.learn(FrameRetrieval(student, config.bce_weight, config.dfr_weight), retrieve, config, config.epochs, "student")
    return merge_lora(student)


def teacher_labels(teacher: Retriever, samples: Sequence[Sample], positives: int) -> Iterator[Bool[Tensor, " n"]]:
    """For each sample, a mask of the `positives` frames that the teacher ranks top for the true caption."""
    captions = teacher.encode_text([sample.caption for sample in samples])
    frames = teacher.encode_pixels(torch.cat([sample.pixels for sample in samples]))
    for caption, own in zip(captions, frames.split([len(sample.pixels) for sample in samples]), strict=True):
        yield top_k_mask(teacher.similarity(caption, own).cpu(), positives)


def top_k_mask(similarity: Float[Tensor, " n"], positives: int) -> Bool[Tensor, " n"]:
    """True for the `positives` most similar frames.

    Of at most `positives` + 1 frames only half count, so that negatives remain.
    """
    rows = len(similarity)
    count = positives if rows > positives + 1 else max(1, rows // 2)
    return torch.zeros(rows, dtype=torch.bool).scatter(0, similarity.topk(count).indices, True)


def _rate(done: int, total: int) -> float:
    warm = max(1, round(LR_WARMUP_SHARE * total))
    return min((done + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * max(0, done - warm) / max(1, total - warm)))
