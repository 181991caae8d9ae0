"""The loop of a training run, for one rank: from the last checkpoint on, with evaluations, to the end."""

from collections.abc import Callable, Iterator, Sequence

from m3l.config import TrainConfig
from m3l.data.records import Row
from m3l.training import checkpoint
from m3l.training.loss_curve import Curve
from m3l.training.sampler import Order
from m3l.training.trainer import Learner

FEWEST, MOST = 50, 1000  # steps between two checkpoints, unless the configuration says

Feed = Callable[[range], Iterator[Sequence[Sequence[Row]]]]
Report = Callable[[int, dict[str, float]], bool]


def train(
    learner: Learner, feed: Feed, held_out: Sequence[Row], curve: Curve, folder: str,
    report: Report = lambda done, losses: True,
) -> dict[str, float]:  # fmt: skip
    """Train from where the checkpoints of `folder` end; returns the losses on the held-out rows.

    `feed(steps)` yields this rank's cells of each of the steps. `report` hears of every step that was done, and the
    losses on the held-out rows if they were taken then; where it answers False, to all ranks alike, training ends. A
    run that was cut off and goes on ends as one that was not.
    """
    if found := checkpoint.recover(folder):
        step, facts = found
        learner.load(folder, step, facts)
        curve.load(facts["curve"])
    config, warmup, steps = learner.config, learner.warmup_steps, learner.steps
    every, save = max(1, (steps - warmup) // config.evaluations), interval(config, learner.order)
    final: dict[str, float] | None = None
    report(learner.done, {})
    with checkpoint.Writer(folder) as writer:
        for cells in feed(range(learner.done, steps)):
            if learner.stopping.over:
                break
            curve.add(learner.done + 1, learner.step(cells))
            final = None
            if held_out and learner.done > warmup and learner.done % every == 0:
                final = learner.evaluate(held_out)
                learner.stopping.hear(final)
                curve.add(learner.done, {f"validation_{name}": value for name, value in final.items()})
            if learner.done % save == 0 and learner.done < steps:
                tensors, facts = learner.state()
                writer.write(learner.done, tensors, facts | {"curve": curve.state()})
            if not report(learner.done, final or {}):
                break
        writer.wait()
    if learner.stopping.best:
        learner.stopping.restore()
        final = None
    return learner.evaluate(held_out) if final is None else final


def interval(config: TrainConfig, order: Order) -> int:
    """Steps between two checkpoints: about one in an epoch, but not too dear nor too far apart."""
    return config.checkpoint_steps or min(MOST, max(FEWEST, order.steps(1)))
