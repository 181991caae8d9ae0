"""Training one rank: the loss of a cell as one module, the step, the learning rate, an evaluation."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3l.config import TaskConfig, TrainConfig
from m3l.data.records import Row
from m3l.distributed import parallelize
from m3l.model.m3l import M3L
from m3l.prompts.collator import Collator
from m3l.training import checkpoint
from m3l.training.batches import Reader, Reading, loss_name
from m3l.training.early_stopping import EarlyStopping
from m3l.training.loss import StepLoss
from m3l.training.optim import build_optimiser
from m3l.training.sampler import Order
from m3l.training.task_schedule import learning_rate
from m3l.training.vision_cache import VisionCache

EVALUATED = 32  # rows of an evaluation that are read at once


class Learner:
    """One rank's model, optimiser and place in the schedule; every rank calls `step` equally often."""

    def __init__(
        self,
        model: M3L,
        collator: Collator,
        tasks: tuple[TaskConfig, ...],
        config: TrainConfig,
        order: Order,
        *,
        warmup_steps: int,
        steps: int,
        word_weights: Float[Tensor, " vocabulary"],
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.model, self.tasks, self.config, self.order = model, tasks, config, order
        causal, room = model.config.use_decoder_only_language_model, config.cache_vision
        look = VisionCache(lambda images: self.model.look(collator.pixels(images).to(self.device)), room)
        self.reader = Reader(collator, tasks, config, order.seed, causal, look if room else None)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.loss = StepLoss(model, word_weights)
        self.net = parallelize.spread(self.loss, config.strategy, self.device)
        self.trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimiser = build_optimiser(model, config)
        # Frozen parts in half precision: what trains is kept in full precision, and computed as they are.
        half = any(parameter.dtype is torch.bfloat16 for parameter in model.parameters())
        self.precision = torch.autocast(self.device.type, torch.bfloat16, enabled=half)
        self.stopping = EarlyStopping(self.trainable, config.patience)
        self.warmup_steps, self.steps, self.done = warmup_steps, steps, 0
        self.skipped, self.norm = 0, 0.0  # steps without a finite gradient; the last step's gradient before clipping

    def step(self, cells: Sequence[Sequence[Row]]) -> dict[str, float]:
        """One optimiser step on this rank's cells, in the order of `Order.numbers`; the losses of all ranks by name.

        Each loss is the mean over its rows or tokens of the whole step, however they fall on cells and ranks.
        """
        self.net.train()
        rate = learning_rate(self.done, self.warmup_steps, self.steps, self.config.warmup_share)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * rate
        rank, ranks = parallelize.place()
        numbers = self.order.numbers(rank, ranks)
        readings = [self._read(rows, number) for rows, number in zip(cells, numbers, strict=True)]
        own = torch.tensor([reading.counts for reading in readings], dtype=torch.float32, device=self.device)
        counts = parallelize.total(own.sum(0))
        shares = own / counts.clamp(min=1)
        weights = torch.tensor([self._weight(name) for name in readings[0].names], device=self.device)
        told = torch.zeros_like(counts)
        self.optimiser.zero_grad(set_to_none=True)
        # Every rank runs equally many cells: one that has fewer runs its first again, for nothing.
        most = len(self.order.numbers(0, ranks))
        for i in range(most):
            at, real = (i, 1.0) if i < len(readings) else (0, 0.0)
            torch.manual_seed(_seed(self.order.seed, self.done, numbers[at]))  # of dropout
            with parallelize.gathering(self.net, last=i == most - 1):
                with self.precision:
                    losses = torch.stack(self.net(*_arguments(readings[at], self.device))) * (shares[at] * real)
                ((losses * weights).sum() * ranks).backward()  # gradients are averaged over ranks
            told += losses.detach()
        norm = nn.utils.clip_grad_norm_(self.trainable.values(), self.config.clip_norm)
        self.norm = float(parallelize.whole(norm))
        if math.isfinite(self.norm):
            self.optimiser.step()
        else:
            self.skipped += 1
        self.done += 1
        return _by_name(readings[0].names, parallelize.total(told).tolist(), counts.tolist())

    @torch.no_grad()
    def evaluate(self, rows: Sequence[Row]) -> dict[str, float]:
        """The mean loss of each head over the rows, with all of their frames; every rank brings the same rows."""
        self.net.eval()
        rank, ranks = parallelize.place()
        starts = range(0, len(rows), EVALUATED)
        sums = torch.zeros(len(self.tasks), 2, dtype=torch.float64)
        for i in range(0, len(starts), ranks):
            mine = i + rank if i + rank < len(starts) else i
            for task, told in zip(self.tasks, sums, strict=True):
                reading = self.reader.plain(rows[starts[mine] : starts[mine] + EVALUATED], task)
                with self.precision:
                    (loss,) = self.loss(*_arguments(reading, self.device))
                if mine == i + rank:
                    told += torch.tensor([loss.item() * reading.counts[0], reading.counts[0]], dtype=torch.float64)
        told = parallelize.total(sums.to(self.device)).cpu()
        by_head = defaultdict(list)
        for task, (total, count) in zip(self.tasks, told.tolist(), strict=True):
            if count:
                by_head[loss_name(task)].append(total / count)
        return {name: sum(means) / len(means) for name, means in by_head.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a run goes on from, as a checkpoint takes it: tensors by name, and facts."""
        tensors = {f"model.{name}": parameter.detach() for name, parameter in self.trainable.items()}
        for name, parameter in self.trainable.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{name}/{key}"] = value
        tensors |= {f"best.{name}": tensor for name, tensor in self.stopping.best.items()}
        return tensors, {"done": self.done, "skipped": self.skipped, "stopping": self.stopping.state()}

    def load(self, folder: str, step: int, facts: dict[str, Any]) -> None:
        """Go on from a checkpoint that holds `state()`, whatever the number of ranks was then."""

        def room(sizes: dict[str, torch.Size]) -> dict[str, Tensor]:
            for name, size in sizes.items():  # what the optimiser knew: a part that has not trained has no state
                part, _, rest = name.partition(".")
                if part == "optimiser":
                    of, _, key = rest.rpartition("/")
                    parameter = self.trainable[of]
                    like = parameter.detach() if size == parameter.shape else torch.zeros(size, device=self.device)
                    self.optimiser.state[parameter][key] = torch.zeros_like(like)
            return self.state()[0]

        self.done, self.skipped = facts["done"], facts["skipped"]
        self.stopping.load(facts["stopping"])
        checkpoint.load(folder, step, room)

    def _read(self, rows: Sequence[Row], number: int) -> Reading:
        first = self.order.first(self.done, number)
        warming = self.done < self.warmup_steps
        return self.reader.words(rows, first) if warming else self.reader.masked(rows, first, self.done)

    def _weight(self, name: str) -> float:
        mse = self.config.warmup_mse_weight if self.done < self.warmup_steps else self.config.mse_weight
        return {"nll": self.config.nll_weight, "mse": mse}.get(name, 1.0)


def _by_name(names: list[str], told: list[float], counts: list[float]) -> dict[str, float]:
    """The losses that had something to tell; tasks of one head by their mean."""
    found = defaultdict(list)
    for name, loss, count in zip(names, told, counts, strict=True):
        if count:
            found[name].append(loss)
    return {name: sum(losses) / len(losses) for name, losses in found.items()}


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _arguments(reading: Reading, device: torch.device) -> Any:
    return _to([reading.views, reading.blank, reading.words, reading.batches], device)


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
