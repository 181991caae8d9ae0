"""One way to build a `TorchTrainer`, for every training on Ray Train."""

from collections.abc import Callable
from typing import Any

from ray.data import Dataset
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

COLLECTIVE_TIMEOUT_S = 300
TrainLoop = Callable[[dict[str, Any]], None]


def torch_trainer(
    train_loop_per_worker: TrainLoop,
    train_loop_config: dict[str, Any],
    data: Dataset,
    data_config: DataConfig,
    *,
    name: str,
    folder: str,
    workers: int,
    min_workers: int | None = None,
    cpus: float,
    gpus: float,
    max_failures: int = 0,
) -> TorchTrainer:
    """A training of one model on several workers, over NCCL with GPUs and gloo without.

    Args:
        train_loop_per_worker: What each rank runs, with `train_loop_config` as its argument.
        train_loop_config: Everything that the ranks need, pickled.
        data: The data set that a rank asks for as "train".
        data_config: How the ranks share it.
        name: Name of the run; Ray Train resumes a run of the same name.
        folder: Where Ray Train keeps its state.
        workers: Number of ranks.
        min_workers: Ranks that are enough to start with, where the cluster has no place for more; None: `workers`.
        cpus: CPUs of each rank.
        gpus: GPUs of each rank, or a share of one.
        max_failures: How often Ray Train restarts the workers.
    """
    return TorchTrainer(
        train_loop_per_worker,
        train_loop_config=train_loop_config,
        datasets={"train": data},
        dataset_config=data_config,
        torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=(min_workers, workers) if min_workers else workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(name=name, storage_path=folder, failure_config=FailureConfig(max_failures=max_failures)),
    )
