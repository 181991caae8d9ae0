"""What a training run does, resolved once in the driver and sent to every rank."""

from dataclasses import dataclass

from m3l.config import Config
from m3l.training.sampler import ResumableSampler
from pipelines.workers.run_inputs import RunInputs
from pipelines.workers.training_stats import TrainingStats


@dataclass(frozen=True)
class TrainSpec:
    """One training run, as every rank gets it.

    Attributes:
        config: The configuration that the bundle keeps.
        inputs: The rows that are read.
        stats: Statistics of the training posts.
        sampler: The order of the rows.
        alignment_steps: Steps of the alignment stage, the first of the two.
        steps: Steps of both.
        bundle: Folder of the bundle.
        checkpoints: Folder of the checkpoints.
        is_trial: Whether the driver decides after each evaluation if training goes on; a trial writes no bundle.
    """

    config: Config
    inputs: RunInputs
    stats: TrainingStats
    sampler: ResumableSampler
    alignment_steps: int
    steps: int
    bundle: str
    checkpoints: str
    is_trial: bool
