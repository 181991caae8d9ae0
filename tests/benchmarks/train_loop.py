"""Ray Train's loop beside the same loop in bare torch: `python -m tests.benchmarks.train_loop --run runs/demo`.

Both train the same model on the same rows of a demo's run, on as many gloo ranks, with the same checkpoints. The bare
loop reads its rows from the folders themselves and reports to nobody.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from m3l.config import Config, load, parse
from m3l.data import storage
from m3l.data.examples import history_of, load_examples, masked_fields, post_ids, rows
from m3l.distributed import parallelize
from m3l.training import fit
from m3l.training.loss_curve import Curve
from m3l.training.sampler import Order
from m3l.training.trainer import Learner
from pipelines import train
from pipelines.runtime.session import connect

GOAL = 1.05
COUNTED_FROM = 10  # steps; those before it warm caches up

honest = train.work


def main(
    run: Annotated[Path, typer.Option(help="what `make demo` left")] = Path("runs/demo"),
    workers: Annotated[int, typer.Option(help="ranks; where all cores train, Ray's own processes take from them")] = 1,
    posts: Annotated[int, typer.Option(help="to train on, at most")] = 800,
    epochs: Annotated[int, typer.Option(help="of training, after one of warm-up")] = 1,
    repeats: Annotated[int, typer.Option(help="of each way, by turns")] = 3,
) -> None:
    """Medians of seconds a step, of rank 0, from one step's start to the next one's."""
    made = [f"paths.run={run.absolute()}", f"train.epochs={epochs}", "train.warmup_epochs=1"]
    config = load("tiny", [*made, f"train.workers={workers}", "train.evaluations=1"])
    if not storage.parts(config.paths.of("context")):
        raise typer.BadParameter(f"{run} holds no context/: `make demo` makes it", param_hint="--run")
    connect(config.ray)
    seconds: dict[str, list[float]] = {"bare torch": [], "Ray Train": []}
    for _ in range(repeats):
        for name, way in (("bare torch", bare), ("Ray Train", on_ray)):
            with tempfile.TemporaryDirectory() as folder:
                way(config, folder, posts)
                seconds[name].append(_step_s(Path(folder, "steps")))
    table = Table("way", "seconds a step", "all", title=f"{workers} ranks, {config.train.batch_size} rows")
    for name, each in seconds.items():
        table.add_row(name, f"{median(each):.4f}", " ".join(f"{value:.4f}" for value in each))
    ratio = median(seconds["Ray Train"]) / median(seconds["bare torch"])
    mark = "yes" if ratio <= GOAL else "NO"
    Console(width=100).print(table, f"Ray Train takes {ratio:.3f} of bare torch; goal at most {GOAL}: {mark}")


def on_ray(config: Config, folder: str, posts: int) -> None:
    def timed_work(task: dict[str, Any]) -> None:
        timed(Path(folder, "steps"))
        honest(task)

    train.work = timed_work
    train.fit(config, f"{folder}/bundle", posts)


def bare(config: Config, folder: str, posts: int) -> None:
    ids = post_ids(config.paths.of("posts"), "train", masked_fields(config))[:posts]
    facts = train.facts_of(config, ids, [])
    task = config.to_yaml(), facts, ids, folder
    torch.multiprocessing.spawn(bare_rank, (task,), config.train.workers)


def bare_rank(rank: int, task: tuple[str, train.Facts, list[str], str]) -> None:
    """What `pipelines.train.work` does, without Ray."""
    text, facts, ids, folder = task
    config = parse(text)
    ranks = config.train.workers
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    torch.set_num_threads(max(1, int(config.ray.model_cpus)))
    order = Order(len(ids), config.seed, config.train.batch_size, ranks * config.train.accumulate)
    warmup = order.steps(config.train.warmup_epochs)
    steps = order.steps(config.train.warmup_epochs + config.train.epochs)
    learner = train.build_learner(config, facts, order, warmup, steps)
    posts, context = config.paths.of("posts"), config.paths.of("context")

    def cells(steps: range) -> Iterator[Any]:
        known = list(rows(load_examples(posts, context, ids, history_of(config)), config.tasks))
        yield from (order.pick(known, step, rank, ranks) for step in steps)

    timed(Path(folder, "steps"))
    fit.train(learner, cells, [], Curve(learner.steps // 100), f"{folder}/checkpoints")
    torch.distributed.destroy_process_group()


def timed(path: Path) -> None:
    """From now on, rank 0 of this process writes down when each step starts."""
    step = Learner.step

    def timed_step(learner: Learner, cells: Any) -> dict[str, float]:
        if parallelize.place()[0] == 0:
            with path.open("a") as begun:
                begun.write(f"{time.monotonic()}\n")
        return step(learner, cells)

    Learner.step = timed_step  # type: ignore[method-assign]


def _step_s(path: Path) -> float:
    begun = [float(line) for line in path.read_text().splitlines()][COUNTED_FROM:]
    return (begun[-1] - begun[0]) / (len(begun) - 1)


if __name__ == "__main__":
    typer.run(main)
