"""One rank of a training run: its steps from the last checkpoint on, and the bundle at its end."""

import time
from collections.abc import Iterator
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import get_device

from m3l.config import Config
from m3l.data.examples import load_examples, task_examples
from m3l.data.records import TaskExamples
from m3l.distributed import collectives
from m3l.model.build import build_model
from m3l.prompts.collator import Collator
from m3l.training.fit import train
from m3l.training.loss_curve import LossCurve
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from pipelines.runtime.train_run import CURVE_POINTS, wait_for_decision
from pipelines.workers.train_data import iter_microbatches
from pipelines.workers.train_spec import TrainSpec
from pipelines.workers.training_stats import TrainingStats

REPORT_S = 0.5  # between two reports of rank 0 on its steps


def build_trainer(
    config: Config,
    stats: TrainingStats,
    sampler: ResumableSampler,
    alignment_steps: int,
    steps: int,
    device: torch.device | None = None,
) -> Trainer:
    """A rank's trainer at step 0, its model randomly initialised from the seed or read from the checkpoint.

    Args:
        config: Settings of the model, the tasks and the training.
        stats: Statistics of the training posts.
        sampler: The order of the rows.
        alignment_steps: Steps of the alignment stage, the first of the two.
        steps: Steps of both.
        device: Where to train; None: the trainer's choice.
    """
    return Trainer(
        build_model(config.model, stats.processor, config.seed),
        Collator(stats.processor, config.model, stats.scale),
        config.tasks,
        config.train,
        sampler,
        alignment_steps=alignment_steps,
        steps=steps,
        word_weights=stats.word_weights,
        device=device,
    )


def train_loop_per_worker(loop_config: dict[str, Any]) -> None:
    """One rank of Ray Train: every step from the last checkpoint on, the bundle at the end.

    Args:
        loop_config: `spec`, a reference to the `TrainSpec` of the run, and `log`, the handle of its `RunLog`.
    """
    spec: TrainSpec = ray.get(loop_config["spec"])
    rank, ranks = collectives.rank_and_world_size()
    report = RankReporter(loop_config["log"], rank, spec)
    report.start()
    config, inputs = spec.config, spec.inputs
    torch.set_num_threads(max(1, int(config.ray.model_cpus)))
    trainer = build_trainer(config, spec.stats, spec.sampler, spec.alignment_steps, spec.steps, get_device())
    report.phase("reading the validation posts")
    held_out = load_examples(inputs.posts, inputs.context, inputs.validation_ids, inputs.history)
    validation = list(task_examples(held_out, config.tasks))

    def microbatches(steps: range) -> Iterator[list[list[TaskExamples]]]:
        # The shard is asked for once the loop has found where it goes on: `OrderedDataConfig` looks there, too.
        shard = ray.train.get_dataset_shard("train")
        return iter_microbatches(shard, config.tasks, spec.sampler, steps, rank, ranks, inputs.in_memory)

    losses = train(trainer, microbatches, validation, report.curve, spec.checkpoints, report)
    final = {f"validation_{name}": value for name, value in losses.items()}
    if not spec.is_trial:
        report.phase("writing the bundle")
        weights = collectives.full_state_dict(trainer.trainable) if config.train.strategy == "fsdp" else None
        if rank == 0:
            # Here: it imports the retriever, seconds that no rank has to wait for at its start.
            from pipelines.workers.save_bundle import save_bundle

            save_bundle(spec, trainer, weights, final)
    report.finish({"steps": trainer.steps_done, "skipped_steps": trainer.skipped_steps} | final)


class RankReporter:
    """What a rank reports of its run; only rank 0 does, every rank waits for the same decisions.

    Args:
        log: Handle of the run's `RunLog`.
        rank: This rank.
        spec: The run.
    """

    def __init__(self, log: Any, rank: int, spec: TrainSpec):
        self.log, self.is_first, self.spec = log, rank == 0, spec
        self.curve = LossCurve(spec.steps // CURVE_POINTS)
        self.reported = 0.0

    def start(self) -> None:
        """The workers run: what they wait for, and where they can be found should their controller die."""
        if self.is_first:
            self.log.set_placement_group.remote(ray.util.get_current_placement_group())
        self.phase("building the model")

    def phase(self, phase: str) -> None:
        """What the run waits for, until its next step."""
        if self.is_first:
            self.log.set_phase.remote(phase)

    def __call__(self, done: int, losses: dict[str, float]) -> bool:
        """Report a step, and the validation losses if they were taken; returns whether to go on."""
        begins = not self.reported
        if self.is_first and (losses or done == self.spec.steps or time.monotonic() - self.reported > REPORT_S):
            self.log.update.remote(done, self.curve.points[-1:], losses)
            self.reported = time.monotonic()
            if begins:
                self.phase("reading the first posts")
        return wait_for_decision(self.log, done) if losses and self.spec.is_trial else True

    def finish(self, values: dict[str, float]) -> None:
        """The run's final values, with its curve."""
        if self.is_first:
            ray.get(self.log.finish.remote(values, self.curve.flush()))
