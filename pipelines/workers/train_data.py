"""The rows of a training run on their way to its ranks: streamed in the run's order, or shared in memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataIterator, Dataset, ExecutionOptions
from ray.train import DataConfig

from m3l.config import RayConfig, TaskConfig
from m3l.data.examples import load_examples, task_examples
from m3l.data.records import TaskExamples
from m3l.training.sampler import ResumableSampler
from pipelines.workers.run_inputs import RunInputs

READER_CPUS = 0.5  # of what reads the rows of a run
BATCH_ROWS = 256  # that a rank takes at a time of rows in memory


def required_resources(config: RayConfig, workers: int, in_memory: bool = True) -> dict[str, float]:
    """CPUs and GPUs that a run takes, with what reads its rows.

    Rows that are streamed have a reader for each worker, among whom Ray Data shares what is left in whole CPUs.

    Args:
        config: What each rank takes (`model_cpus`, `model_gpus`).
        workers: Number of ranks.
        in_memory: Whether rows are read once and shared.
    """
    cpus, gpus = workers * config.model_cpus, workers * config.model_gpus
    return {"CPU": cpus + (READER_CPUS if in_memory else workers), "GPU": gpus}


class OrderedDataConfig(DataConfig):
    """Gives each rank a data set of its own: the rows of its microbatches in their order, or all rows if in memory.

    Ray Train asks when the first rank asks for its shard, once the run has found the checkpoint that it goes on from.

    Args:
        inputs: What is read.
        ids: The posts to train on.
        sampler: The order of their rows.
        steps: Steps of the run.
        checkpoints: Folder of its checkpoints.
        block_rows: Rows that a reader reads at a time.
    """

    def __init__(
        self,
        inputs: RunInputs,
        ids: Sequence[str],
        sampler: ResumableSampler,
        steps: int,
        checkpoints: str,
        block_rows: int,
    ):
        super().__init__(datasets_to_split=[], execution_options=ExecutionOptions(preserve_order=True))
        self.inputs, self.ids, self.sampler = inputs, np.array(ids), sampler
        self.steps, self.checkpoints, self.block_rows = steps, checkpoints, block_rows

    def configure(
        self, datasets: dict[str, Dataset], world_size: int, *_: Any, **__: Any
    ) -> list[dict[str, DataIterator]]:
        """The shards of all ranks, by the names of the data sets."""
        ids = ray.put(self.ids)
        if self.inputs.in_memory:  # read once, here: a reader in each rank might not get its share of the cluster
            shards = [self._dataset(ids, None, 0, 1).materialize().iterator()] * world_size
        else:  # read by an actor beside each rank, which has its own work
            from m3l.training.checkpoint import latest_step  # imports torch, which nothing else here needs

            first = latest_step(self.checkpoints)
            datasets_of_ranks = [self._dataset(ids, first, rank, world_size) for rank in range(world_size)]
            shards = [dataset.streaming_split(1, equal=False)[0] for dataset in datasets_of_ranks]
        return [dict.fromkeys(datasets, shard) for shard in shards]

    def _dataset(self, ids: Any, first: int | None, rank: int, ranks: int) -> Dataset:
        """The rows of a rank from the step `first` on; every row once, in the order of the ids, if it is None."""
        inputs, sampler = self.inputs, self.sampler

        def load(block: pa.Table) -> pa.Table:
            all_ids, indices = ray.get(ids), block["id"].to_pylist()
            if first is not None:
                indices = [sampler.row_at(sampler.position(i, first, rank, ranks)) for i in indices]
            return load_examples(inputs.posts, inputs.context, [str(all_ids[i]) for i in indices], inputs.history)

        rows_per_step = len(sampler.microbatches_of(rank, ranks)) * sampler.microbatch_size
        count = sampler.rows if first is None else rows_per_step * (self.steps - first)
        numbers = ray.data.range(count, override_num_blocks=max(1, -(-count // self.block_rows)))
        dataset = numbers.map_batches(load, batch_format="pyarrow", batch_size=None, num_cpus=READER_CPUS)
        dataset.context.execution_options = self._resolve_execution_options("")
        return dataset


def iter_microbatches(
    shard: DataIterator,
    tasks: Sequence[TaskConfig],
    sampler: ResumableSampler,
    steps: range,
    rank: int,
    ranks: int,
    in_memory: bool,
) -> Iterator[list[list[TaskExamples]]]:
    """A rank's microbatches of each step, from its shard of `OrderedDataConfig`.

    Args:
        shard: The rank's shard.
        tasks: The tasks that each row becomes an example of.
        sampler: The order of the rows.
        steps: The steps to feed.
        rank: This rank.
        ranks: Number of ranks.
        in_memory: Whether the shard holds all rows once, rather than those of the rank in their order.
    """
    if in_memory:
        blocks = shard.iter_batches(batch_size=BATCH_ROWS, batch_format="pyarrow")
        all_rows = [row for block in blocks for row in task_examples(block, tasks)]
        yield from (sampler.take(all_rows, step, rank, ranks) for step in steps)
        return
    size = sampler.microbatch_size * len(sampler.microbatches_of(rank, ranks))
    blocks = shard.iter_batches(batch_size=size, batch_format="pyarrow")
    for _, block in zip(steps, blocks, strict=True):
        step_rows = list(task_examples(block, tasks))
        yield [step_rows[at : at + sampler.microbatch_size] for at in range(0, size, sampler.microbatch_size)]
