"""The loop of a training run on one rank: from the last checkpoint to the end, with evaluations."""

from collections.abc import Callable, Iterator, Sequence

from m3l.config import TrainConfig
from m3l.data.records import TaskExamples
from m3l.training import checkpoint
from m3l.training.loss_curve import LossCurve
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer

MIN_INTERVAL, MAX_INTERVAL = 50, 1000  # steps between two checkpoints, if `train.checkpoint_steps` is not set

# Steps -> this rank's microbatches of each step.
MicrobatchSource = Callable[[range], Iterator[Sequence[Sequence[TaskExamples]]]]
StepReport = Callable[[int, dict[str, float]], bool]  # (steps done, validation losses) -> whether training goes on


def train(
    trainer: Trainer,
    microbatches: MicrobatchSource,
    validation: Sequence[TaskExamples],
    curve: LossCurve,
    folder: str,
    report: StepReport = lambda steps_done, losses: True,
) -> dict[str, float]:
    """Train from the last checkpoint on. A run that was cut off and resumed ends like an uninterrupted one.

    Args:
        trainer: This rank's trainer.
        microbatches: Yields this rank's microbatches of each of the steps that it is given.
        validation: Rows to evaluate on, the same on every rank; empty: nothing is evaluated.
        curve: The loss curve that the losses of the steps and the evaluations are added to.
        folder: Folder of the run's checkpoints.
        report: Called before the first step and after each one, with the validation losses if they were computed
            then. Training ends where it returns False, which it must do on all ranks alike.

    Returns:
        The validation losses at the end, by name.
    """
    if newest := checkpoint.recover(folder):
        step, run_state = newest
        trainer.load(folder, step, run_state)
        curve.load(run_state["curve"])
    config, alignment_steps, steps = trainer.config, trainer.alignment_steps, trainer.steps
    evaluation_interval = max(1, (steps - alignment_steps) // config.evaluations)
    save_interval = checkpoint_interval(config, trainer.sampler)
    losses: dict[str, float] | None = None  # on the validation rows; None: not of the current weights
    report(trainer.steps_done, {})
    with checkpoint.CheckpointWriter(folder) as writer:
        for step_microbatches in microbatches(range(trainer.steps_done, steps)):
            if trainer.early_stopping.should_stop:
                break
            curve.add(trainer.steps_done + 1, trainer.step(step_microbatches))
            done, losses = trainer.steps_done, None
            if validation and done > alignment_steps and done % evaluation_interval == 0:
                losses = trainer.evaluate(validation)
                trainer.early_stopping.update(losses)
                curve.add(done, {f"validation_{name}": value for name, value in losses.items()})
            if done % save_interval == 0 and done < steps:
                tensors, run_state = trainer.state()
                writer.write(done, tensors, run_state | {"curve": curve.state()})
            if not report(done, losses or {}):
                break
        writer.wait()
    if trainer.early_stopping.best_weights:
        trainer.early_stopping.restore()
        losses = None
    return trainer.evaluate(validation) if losses is None else losses


def checkpoint_interval(config: TrainConfig, sampler: ResumableSampler) -> int:
    """Steps between two checkpoints: `train.checkpoint_steps`, or else an epoch within reasonable limits."""
    return config.checkpoint_steps or min(MAX_INTERVAL, max(MIN_INTERVAL, sampler.num_steps(1)))
