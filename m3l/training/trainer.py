"""Training on one rank: an optimiser step of Algorithm 1, an evaluation, the state of both."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3l.config import TaskConfig, TrainConfig
from m3l.data.records import TaskExamples
from m3l.distributed.collectives import all_reduce_sum, full_tensor, rank_and_world_size
from m3l.distributed.parallelize import no_sync_unless_last, parallelize
from m3l.model.m3l import M3L
from m3l.prompts.collator import Collator
from m3l.training import checkpoint
from m3l.training.batches import BatchBuilder, TrainingBatch, loss_name
from m3l.training.early_stopping import EarlyStopping
from m3l.training.loss import StepLoss
from m3l.training.optim import build_optimiser
from m3l.training.sampler import ResumableSampler
from m3l.training.task_schedule import lr_factor
from m3l.training.vision_cache import VisionCache

EVAL_ROWS = 32  # of a batch of an evaluation


class Trainer:
    """One rank's model, optimiser and progress; every rank calls `step` equally often.

    A run has two stages: the alignment stage, in which the visual tokens learn to name the words of captions, and then
    Algorithm 1 of M3L.

    Args:
        model: The model; its parameters that require gradients are trained.
        collator: Makes tensors of examples.
        tasks: The tasks of the configuration.
        config: Settings of the training.
        sampler: The order of the rows.
        alignment_steps: Steps of the alignment stage; 0: without it.
        steps: Steps of both stages.
        word_weights: The weight of each token of the vocabulary in the bag-of-words loss.
        device: Where to train; None: on the CPU.
    """

    def __init__(
        self,
        model: M3L,
        collator: Collator,
        tasks: tuple[TaskConfig, ...],
        config: TrainConfig,
        sampler: ResumableSampler,
        *,
        alignment_steps: int,
        steps: int,
        word_weights: Float[Tensor, " vocabulary"],
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.model, self.tasks, self.config, self.sampler = model, tasks, config, sampler
        self.alignment_steps, self.steps, self.steps_done = alignment_steps, steps, 0
        self.skipped_steps, self.grad_norm = 0, 0.0  # without a finite gradient; of the last step, before clipping
        vision_cache = None
        if config.cache_vision:
            vision_cache = VisionCache(
                lambda images: self.model.vision_features(collator.pixels(images).to(self.device)), config.cache_vision
            )
        causal = model.config.use_decoder_only_language_model
        self.batch_builder = BatchBuilder(collator, tasks, config, sampler.seed, causal, vision_cache)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.loss = StepLoss(model, word_weights)
        self.parallel_loss = parallelize(self.loss, config.strategy, self.device)
        self.trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimiser = build_optimiser(model, config)
        # With frozen parts in half precision, the parameters that train stay in full precision, and autocast computes.
        half = any(parameter.dtype is torch.bfloat16 for parameter in model.parameters())
        self.precision = torch.autocast(self.device.type, torch.bfloat16, enabled=half)
        self.early_stopping = EarlyStopping(self.trainable, config.patience)

    def step(self, microbatches: Sequence[Sequence[TaskExamples]]) -> dict[str, float]:
        """One optimiser step. A step whose gradient is not finite changes no parameter and is counted.

        Args:
            microbatches: The rows of this rank's microbatches, in the order of `ResumableSampler.microbatches_of`.

        Returns:
            The losses by name, over all ranks: each is a mean over the rows or tokens of the whole step, however they
            are distributed over microbatches and ranks.
        """
        self.parallel_loss.train()
        self._set_learning_rate()
        indices = self.sampler.microbatches_of(*rank_and_world_size())
        batches = [self._training_batch(rows, index) for rows, index in zip(microbatches, indices, strict=True)]
        names = batches[0].loss_names
        own_counts = torch.tensor([batch.counts for batch in batches], dtype=torch.float32, device=self.device)
        counts = all_reduce_sum(own_counts.sum(0))
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._accumulate_gradients(batches, indices, own_counts / counts.clamp(min=1))
        norm = nn.utils.clip_grad_norm_(self.trainable.values(), self.config.clip_norm)
        self.grad_norm = float(full_tensor(norm))
        if math.isfinite(self.grad_norm):
            self.optimiser.step()
        else:
            self.skipped_steps += 1
        self.steps_done += 1
        return _mean_by_name(names, all_reduce_sum(losses).tolist(), counts.tolist())

    @torch.no_grad()
    def evaluate(self, rows: Sequence[TaskExamples]) -> dict[str, float]:
        """The mean loss of each head on rows with all of their frames and fields.

        Args:
            rows: The same on every rank; the ranks share the work.

        Returns:
            Loss by name ("nll", "mse"); where several tasks have one head, the mean of theirs.
        """
        self.parallel_loss.eval()
        rank, world_size = rank_and_world_size()
        starts = range(0, len(rows), EVAL_ROWS)
        sums = torch.zeros(len(self.tasks), 2, dtype=torch.float64)  # of losses, and what they are means over
        for first in range(0, len(starts), world_size):
            is_own = first + rank < len(starts)
            start = starts[first + rank if is_own else first]  # every rank runs the model equally often
            for task, of_task in zip(self.tasks, sums, strict=True):
                batch = self.batch_builder.eval_batch(rows[start : start + EVAL_ROWS], task)
                with self.precision:
                    (loss,) = self.loss(*_loss_arguments(batch, self.device))
                if is_own:
                    count = batch.counts[0]
                    of_task += torch.tensor([loss.item() * count, count], dtype=torch.float64)
        totals = all_reduce_sum(sums.to(self.device)).cpu().tolist()
        names = [loss_name(task) for task in self.tasks]
        means = [total / count if count else 0.0 for total, count in totals]
        return _mean_by_name(names, means, [count for _, count in totals])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint must hold to resume the run: tensors by name, and the rest for JSON."""
        tensors = {f"model.{name}": parameter.detach() for name, parameter in self.trainable.items()}
        for name, parameter in self.trainable.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{name}/{key}"] = value
        tensors |= {f"best.{name}": tensor for name, tensor in self.early_stopping.best_weights.items()}
        stopping = self.early_stopping.state()
        return tensors, {"done": self.steps_done, "skipped": self.skipped_steps, "stopping": stopping}

    def load(self, folder: str, step: int, run_state: dict[str, Any]) -> None:
        """Resume from a checkpoint of `state()`, whatever the number of ranks was then.

        Args:
            folder: Folder of the run's checkpoints.
            step: The step of the checkpoint.
            run_state: What `checkpoint.recover` returned for it.
        """

        def allocate(shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
            for stored_name, shape in shapes.items():
                part, _, rest = stored_name.partition(".")
                if part == "optimiser":  # it has state only for parameters that have had a gradient
                    name, _, key = rest.rpartition("/")
                    parameter = self.trainable[name]
                    like = parameter.detach() if shape == parameter.shape else torch.zeros(shape, device=self.device)
                    self.optimiser.state[parameter][key] = torch.zeros_like(like)
            return self.state()[0]

        self.steps_done, self.skipped_steps = run_state["done"], run_state["skipped"]
        self.early_stopping.load(run_state["stopping"])
        checkpoint.load(folder, step, allocate)

    @property
    def _is_aligning(self) -> bool:
        return self.steps_done < self.alignment_steps

    def _set_learning_rate(self) -> None:
        factor = lr_factor(self.steps_done, self.alignment_steps, self.steps, self.config.lr_warmup_share)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * factor

    def _training_batch(self, rows: Sequence[TaskExamples], microbatch: int) -> TrainingBatch:
        first_position = self.sampler.first_position(self.steps_done, microbatch)
        if self._is_aligning:
            return self.batch_builder.alignment_batch(rows, first_position)
        return self.batch_builder.task_batch(rows, first_position, self.steps_done)

    def _accumulate_gradients(
        self, batches: Sequence[TrainingBatch], indices: Sequence[int], shares: Float[Tensor, "microbatch loss"]
    ) -> Float[Tensor, " loss"]:
        """Run forward and backward for each microbatch; returns this rank's part of each loss of the step.

        Args:
            batches: This rank's microbatches.
            indices: Their indices in the step.
            shares: The share of each in the mean that each loss is.
        """
        rank_count = rank_and_world_size()[1]
        weights = torch.tensor([self._loss_weight(name) for name in batches[0].loss_names], device=self.device)
        losses = torch.zeros_like(shares[0])
        # Collectives need equally many passes on every rank: one with fewer microbatches repeats its first, times 0.
        passes = len(self.sampler.microbatches_of(0, rank_count))
        for i in range(passes):
            at, factor = (i, 1.0) if i < len(batches) else (0, 0.0)
            # Dropout depends on the microbatch, not on the rank that computes it.
            torch.manual_seed(_combine_seeds(self.sampler.seed, self.steps_done, indices[at]))
            with no_sync_unless_last(self.parallel_loss, last=i == passes - 1):
                with self.precision:
                    outputs = self.parallel_loss(*_loss_arguments(batches[at], self.device))
                    parts = torch.stack(outputs) * (shares[at] * factor)
                ((parts * weights).sum() * rank_count).backward()  # DDP and FSDP2 average gradients over ranks
            losses += parts.detach()
        return losses

    def _loss_weight(self, name: str) -> float:
        mse_weight = self.config.alignment_mse_weight if self._is_aligning else self.config.mse_weight
        return {"nll": self.config.nll_weight, "mse": mse_weight}.get(name, 1.0)


def _mean_by_name(names: Sequence[str], losses: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
    """The losses of tasks by the name of their head's loss, as means; without losses over nothing."""
    by_name = defaultdict(list)
    for name, loss, count in zip(names, losses, counts, strict=True):
        if count:
            by_name[name].append(loss)
    return {name: sum(each) / len(each) for name, each in by_name.items()}


def _combine_seeds(*seeds: int) -> int:
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])


def _loss_arguments(batch: TrainingBatch, device: torch.device) -> Any:
    return _to_device([batch.views, batch.blank, batch.word_targets, batch.task_batches], device)


def _to_device(value: Any, device: torch.device) -> Any:
    match value:
        case Tensor():
            return value.to(device)
        case dict():
            return {key: _to_device(item, device) for key, item in value.items()}
        case list():
            return [_to_device(item, device) for item in value]
        case _:
            return value
