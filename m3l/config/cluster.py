"""Settings of the cluster: what each stage takes of it."""

from pydantic import Field

from m3l.config.base import Section


class RayConfig(Section):
    """What each stage takes of the Ray cluster."""

    address: str | None = None  # address of a cluster; None: that of RAY_ADDRESS, else a local one is started
    num_cpus: int | None = 4  # logical CPUs of a local Ray; below 4, Ray's own actors starve the work
    no_progress_s: float = Field(300, gt=0)  # seconds without any output until a stage fails as stuck
    block_rows: int = Field(64, ge=1)  # rows per block, the unit of retrying and resuming
    block_media: int = Field(16, ge=1)  # media files per block of `frames`
    frames_cpus: float = 1.0  # CPUs of a worker of `frames`
    frames_workers: int = Field(2, ge=1)  # workers of `frames`
    clip_workers: int = Field(2, ge=1)  # workers that embed with CLIP
    predict_workers: int = Field(2, ge=1)  # workers of `predict` and `evaluate`
    clip_cpus: float = 1.0  # CPUs of a worker with CLIP
    clip_gpus: float = 0.0  # GPUs of a worker with CLIP, or a share of one
    model_cpus: float = 1.0  # CPUs of a worker with the model
    model_gpus: float = 0.0  # GPUs of a worker with the model, or a share of one
