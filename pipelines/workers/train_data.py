"""The rows of a training run on their way to its ranks: streamed in the run's order, or kept in memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataIterator, Dataset, ExecutionOptions
from ray.train import DataConfig

from m3l.config import Config, TaskConfig
from m3l.data.examples import load_examples, rows
from m3l.data.records import Example
from m3l.training.sampler import Order

READER_CPUS = 0.5  # what reads the rows of a run


def needed(config: Config, workers: int, kept: bool = True) -> dict[str, float]:
    """CPUs and GPUs that a run with so many workers takes, with what reads its rows.

    Rows that are streamed have a reader for each worker, among whom Ray Data shares what is left in whole CPUs.
    """
    ranks = {"CPU": workers * config.ray.model_cpus, "GPU": workers * config.ray.model_gpus}
    return ranks | {"CPU": ranks["CPU"] + (READER_CPUS if kept else workers)}


class InOrder(DataConfig):
    """Gives every rank a data set of its own: the rows of its cells in their order, or all rows where they are kept.

    Asked when the first rank asks for its shard, once the run has found the checkpoint that it goes on from.
    """

    def __init__(
        self, posts: str, context: str, ids: list[str], order: Order, steps: int, checkpoints: str,
        kept: bool, block_rows: int, history: str | None = None,
    ):  # fmt: skip
        super().__init__(datasets_to_split=[], execution_options=ExecutionOptions(preserve_order=True))
        self.posts, self.context, self.ids = posts, context, np.array(ids)
        self.history = history
        self.order, self.steps, self.checkpoints, self.kept, self.block_rows = (
            order,
            steps,
            checkpoints,
            kept,
            block_rows,
        )

    def configure(
        self, datasets: dict[str, Dataset], world_size: int, *_: Any, **__: Any
    ) -> list[dict[str, DataIterator]]:
        ids = ray.put(self.ids)
        if self.kept:  # read once, here: a reader in each rank would ask the cluster for its share, and may get none
            shards = [self._dataset(ids, None, 0, 1).materialize().iterator()] * world_size
        else:  # read by an actor beside each rank, which has its own work
            from m3l.training.checkpoint import newest  # imports torch, which nothing else here needs

            first = newest(self.checkpoints)
            made = [self._dataset(ids, first, rank, world_size) for rank in range(world_size)]
            shards = [dataset.streaming_split(1, equal=False)[0] for dataset in made]
        return [dict.fromkeys(datasets, shard) for shard in shards]

    def _dataset(self, ids: Any, first: int | None, rank: int, ranks: int) -> Dataset:
        """The rows of a rank from the step `first` on; every row once, as the ids stand, if it is None."""
        posts, context, history, order = self.posts, self.context, self.history, self.order

        def load(block: pa.Table) -> pa.Table:
            known, indices = ray.get(ids), block["id"].to_pylist()
            if first is not None:
                indices = [order.row(order.place(i, first, rank, ranks)) for i in indices]
            return load_examples(posts, context, [str(known[i]) for i in indices], history)

        each = len(order.numbers(rank, ranks)) * order.cell
        count = order.rows if first is None else each * (self.steps - first)
        numbers = ray.data.range(count, override_num_blocks=max(1, -(-count // self.block_rows)))
        dataset = numbers.map_batches(load, batch_format="pyarrow", batch_size=None, num_cpus=READER_CPUS)
        dataset.context.execution_options = self._resolve_execution_options("")
        return dataset


def feed(
    shard: DataIterator, tasks: Sequence[TaskConfig], order: Order, steps: range, rank: int, ranks: int, kept: bool
) -> Iterator[list[list[dict[str, Example]]]]:
    """A rank's cells of each step, from its shard of `InOrder`."""
    if kept:
        blocks = shard.iter_batches(batch_size=256, batch_format="pyarrow")
        known = [row for block in blocks for row in rows(block, tasks)]
        yield from (order.pick(known, step, rank, ranks) for step in steps)
        return
    size = order.cell * len(order.numbers(rank, ranks))
    blocks = shard.iter_batches(batch_size=size, batch_format="pyarrow")
    for _, block in zip(steps, blocks, strict=True):
        made = list(rows(block, tasks))
        yield [made[at : at + order.cell] for at in range(0, size, order.cell)]
