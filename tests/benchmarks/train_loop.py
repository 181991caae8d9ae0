"""Training on Ray Train against the same loop in plain torch: `python -m tests.benchmarks.train_loop --run runs/demo`.

Both train the same model on the same rows of a demo's run, on the same number of gloo ranks, with the same
checkpoints. The plain loop reads its rows directly from the folders and does not report its progress.
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

from m3l.config import Config, load
from m3l.data import storage
from m3l.data.examples import load_examples, masked_fields, post_ids, task_examples
from m3l.distributed import collectives
from m3l.training import fit
from m3l.training.loss_curve import LossCurve
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from pipelines.runtime.session import connect
from pipelines.workers import run_training
from pipelines.workers.run_inputs import RunInputs
from pipelines.workers.train import build_trainer
from pipelines.workers.training_stats import TrainingStats, training_stats

GOAL = 1.05
FIRST_MEASURED_STEP = 10  # the steps before it warm up caches

untimed_loop = run_training.train_loop_per_worker


def main(
    run: Annotated[Path, typer.Option(help="the run's folder that `make demo` wrote")] = Path("runs/demo"),
    workers: Annotated[int, typer.Option(help="number of ranks; leave a core for Ray's own processes")] = 1,
    posts: Annotated[int, typer.Option(help="train on at most this many posts")] = 800,
    epochs: Annotated[int, typer.Option(help="of Algorithm 1, after one of the alignment stage")] = 1,
    repeats: Annotated[int, typer.Option(help="measurements of each variant, interleaved")] = 3,
) -> None:
    """Print the median of seconds per step for each variant, on rank 0, from one step's start to the next."""
    settings = [f"paths.run={run.absolute()}", f"train.epochs={epochs}", "train.alignment_epochs=1"]
    config = load("tiny", [*settings, f"train.workers={workers}", "train.evaluations=1"])
    if not storage.parts(config.paths.of("context")):
        raise typer.BadParameter(f"{run} has no context/: run `make demo` first", param_hint="--run")
    connect(config.ray)
    seconds: dict[str, list[float]] = {"plain torch": [], "Ray Train": []}
    for _ in range(repeats):
        for name, train in (("plain torch", on_plain_torch), ("Ray Train", on_ray)):
            with tempfile.TemporaryDirectory() as folder:
                train(config, folder, posts)
                seconds[name].append(_step_s(Path(folder, "steps")))
    table = Table("variant", "seconds per step", "all", title=f"{workers} ranks, {config.train.batch_size} rows")
    for name, each in seconds.items():
        table.add_row(name, f"{median(each):.4f}", " ".join(f"{value:.4f}" for value in each))
    ratio = median(seconds["Ray Train"]) / median(seconds["plain torch"])
    mark = "yes" if ratio <= GOAL else "NO"
    Console(width=100).print(
        table, f"Ray Train takes {ratio:.3f} times as long as plain torch; goal at most {GOAL}: {mark}"
    )


def on_ray(config: Config, folder: str, posts: int) -> None:
    """Train with the pipeline's own loop; writes when each step starts to `folder`/steps."""

    def timed_loop(loop_config: dict[str, Any]) -> None:
        timed(Path(folder, "steps"))
        untimed_loop(loop_config)

    run_training.train_loop_per_worker = timed_loop
    run_training.run_training(config, f"{folder}/bundle", posts)


def on_plain_torch(config: Config, folder: str, posts: int) -> None:
    """Train on spawned processes without Ray; writes when each step starts to `folder`/steps."""
    inputs = RunInputs.of(config)
    ids = post_ids(inputs.posts, "train", masked_fields(config.tasks))[:posts]
    stats = training_stats(inputs.posts, inputs.history, ids, config.tasks, config.model)
    torch.multiprocessing.spawn(plain_rank, (config, inputs, stats, ids, folder), config.train.workers)


def plain_rank(rank: int, config: Config, inputs: RunInputs, stats: TrainingStats, ids: list[str], folder: str) -> None:
    """What `train_loop_per_worker` does, without Ray."""
    ranks = config.train.workers
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    torch.set_num_threads(max(1, int(config.ray.model_cpus)))
    sampler = ResumableSampler(len(ids), config.seed, config.train.batch_size, ranks * config.train.accumulate)
    alignment_steps = sampler.num_steps(config.train.alignment_epochs)
    steps = sampler.num_steps(config.train.alignment_epochs + config.train.epochs)
    trainer = build_trainer(config, stats, sampler, alignment_steps, steps)

    def microbatches(steps: range) -> Iterator[Any]:
        examples = list(task_examples(load_examples(inputs.posts, inputs.context, ids, inputs.history), config.tasks))
        yield from (sampler.take(examples, step, rank, ranks) for step in steps)

    timed(Path(folder, "steps"))
    fit.train(trainer, microbatches, [], LossCurve(trainer.steps // 100), f"{folder}/checkpoints")
    torch.distributed.destroy_process_group()


def timed(path: Path) -> None:
    """Patch `Trainer.step` so that rank 0 appends the time at which each step starts to a file."""
    step = Trainer.step

    def timed_step(trainer: Trainer, microbatches: Any) -> dict[str, float]:
        if collectives.rank_and_world_size()[0] == 0:
            with path.open("a") as sink:
                sink.write(f"{time.monotonic()}\n")
        return step(trainer, microbatches)

    Trainer.step = timed_step  # type: ignore[method-assign]


def _step_s(path: Path) -> float:
    starts = [float(line) for line in path.read_text().splitlines()][FIRST_MEASURED_STEP:]
    return (starts[-1] - starts[0]) / (len(starts) - 1)


if __name__ == "__main__":
    typer.run(main)
