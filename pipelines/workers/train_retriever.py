"""One rank of the retriever's training."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig
from ray.train.torch import get_device

from m3l.config import Config
from m3l.data import storage
from m3l.distributed.parallelize import parallelize
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, SampleCache
from m3l.retriever.preprocess import Preprocess
from m3l.retriever.training import TrainContext, train
from pipelines.runtime.torch_trainer import TrainLoop, torch_trainer
from pipelines.runtime.train_run import run_with_progress, train_state_folder


def train_retrievers(
    title: str, steps: int, train_loop: TrainLoop, loop_config: dict[str, Any], config: Config, data: Dataset
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Train retrievers on `train.workers` ranks, each with its shard of the data, under a progress bar.

    Args:
        title: Name of the bar.
        steps: Steps of the run.
        train_loop: What each rank runs.
        loop_config: Its argument, to which `log`, the handle of the run's `RunLog`, is added.
        config: Number of ranks, and what each takes (`ray.clip_cpus`, `ray.clip_gpus`).
        data: SAMPLES.

    Returns:
        The final values that rank 0 reported, and the points of its curve.
    """
    folder = train_state_folder(config.paths.run)
    name = f"run-{os.urandom(6).hex()}"  # a name that was used before would resume another run

    def fit(log: Any) -> None:
        torch_trainer(
            train_loop,
            loop_config | {"log": log},
            data,
            # In order: otherwise a rank gets the blocks that are read first, and no training can be repeated.
            DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
            name=name,
            folder=folder,
            workers=config.train.workers,
            cpus=config.ray.clip_cpus,
            gpus=config.ray.clip_gpus,
        ).fit()

    try:
        return run_with_progress(title, steps, config.train.workers, fit)
    finally:
        storage.remove(f"{folder}/{name}")  # of a run that is never resumed


class StepReporter:
    """What a rank reports of its steps; rank 0 passes it on to the log.

    Args:
        log: Handle of the run's `RunLog`.
    """

    def __init__(self, log: Any):
        self.log, self.done = log, 0
        self.last: dict[str, float] = {}
        self.is_first = ray.train.get_context().get_world_rank() == 0

    def phase(self, phase: str) -> None:
        """What the run waits for, until its next step."""
        if self.is_first:
            self.log.set_phase.remote(phase)

    def __call__(self, losses: dict[str, float]) -> None:
        """Report the losses of one more step."""
        self.done += 1
        self.last.update(losses)
        if self.is_first:
            self.log.add.remote(self.done, losses)

    def finish(self) -> None:
        """Report the number of steps and the last losses."""
        if self.is_first:
            ray.get(self.log.finish.remote({"steps": self.done, **self.last}))


def make_run(preprocess: Preprocess, seed: int, threads: int, report: StepReporter) -> TrainContext:
    """This rank's part in a run of Ray Train; reads its shard of the SAMPLES.

    Args:
        preprocess: The preprocessing of the pixels, for their height and width.
        seed: Seed of PyTorch and of the batches.
        threads: Threads for PyTorch.
        report: Gets the losses of each step.
    """
    device, shard = get_device(), ray.train.get_dataset_shard("train")
    torch.set_num_threads(max(1, threads))
    torch.manual_seed(seed)

    def stream() -> Iterator[Sample]:
        for block in shard.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in block.to_pylist():
                pixels = torch.frombuffer(bytearray(row["pixels"]), dtype=torch.uint8)
                pixels = pixels.view(-1, 3, preprocess.height, preprocess.width)
                yield Sample(row["post_id"], row["caption"], tuple(row["prompts"]), pixels)

    report.phase("reading the first samples")
    run = TrainContext(SampleCache(stream), seed, report, lambda module: parallelize(module, "ddp", device))
    report.phase("computing the first steps")
    return run


def train_loop_per_worker(loop_config: dict[str, Any]) -> None:
    """One rank of Ray Train.

    Args:
        loop_config: `config`, the `Config`; `retriever`, a reference to the retriever to train; `folder`, where it
            goes; `log`, the handle of the run's `RunLog`.
    """
    config: Config = loop_config["config"]
    report = StepReporter(loop_config["log"])
    retriever: Retriever = ray.get(loop_config["retriever"]).to(get_device())
    run = make_run(retriever.preprocess, config.seed, int(config.ray.clip_cpus), report)
    trained = train(retriever, config.retriever, run)
    if report.is_first:
        report.phase("writing the retriever")
        save(trained.student, loop_config["folder"])
        save(trained.teacher, f"{loop_config['folder']}/teacher")
    report.finish()


def save(retriever: Retriever, folder: str) -> None:
    """Write a retriever into a folder, local or `s3://`."""
    with tempfile.TemporaryDirectory() as temporary:
        retriever.save(temporary)
        storage.upload(Path(temporary), folder)
