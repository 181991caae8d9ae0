"""Settings of what is done with a bundle, and of what each stage asks of the cluster."""

from typing import Literal

from pydantic import Field

from m3l.config.base import Section


class EvaluateConfig(Section):
    splits: tuple[str, ...] = ("test_random", "test_accounts", "test_time")
    batch_size: int = Field(16, ge=1)
    bootstrap: int = Field(500, ge=0)
    num_beams: int = Field(1, ge=1)
    max_new_tokens: int = Field(48, ge=1)
    no_repeat_ngram: int = Field(0, ge=0)  # tokens in a row that a caption holds once; 0: as often as it likes
    why: int = Field(64, ge=0)  # posts that are asked again without each of their parts
    gallery: int = Field(12, ge=0)  # of these, posts shown as pictures in the report


class PredictConfig(Section):
    """Batch scoring of a table, csv or xlsx or jsonl or parquet in and out."""

    table: str | None = None
    out: str | None = None


class ExportConfig(Section):
    """A bundle as a plain model directory."""

    out: str | None = None


class PlanConfig(Section):
    """What `m3l plan` reckons with."""

    gpu: Literal["a100", "l40s", "h100", "h200", "b200"] = "h100"
    mfu: float = Field(0.4, gt=0, le=1)  # the share of the GPU's peak that a step reaches
    gpus: tuple[int, ...] = (1, 2, 8)
    prompt_tokens: int = Field(160, ge=1)
    common_tokens: int = Field(14, ge=0)  # of them, in which the tasks' prompts begin alike: the paper's
    caption_tokens: int = Field(40, ge=1)
    qformer_tokens: int = Field(24, ge=0)


class ServeConfig(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    replicas: int = Field(1, ge=1)
    max_ongoing_requests: int = Field(8, ge=1)
    max_queued_requests: int = Field(32, ge=1)
    request_timeout_s: float = 60.0
    batch_size: int = Field(8, ge=1)
    batch_wait_s: float = 0.02
    max_upload_bytes: int = 64 * 2**20
    api_key_env: str = "M3L_API_KEY"  # the variable that holds the key; required beyond loopback


class RayConfig(Section):
    """What each stage asks of the cluster."""

    address: str | None = None  # None: a cluster that is there already, else a local one
    num_cpus: int | None = 4  # logical CPUs of a local Ray; below 4 its own actors starve the work
    no_progress_s: float = Field(300, gt=0)  # a stage that yields nothing for so long is stuck, and says so
    block_rows: int = Field(64, ge=1)  # rows in one block: the unit of retry and of resuming
    block_media: int = Field(16, ge=1)  # the same of media files to be decoded: about a second of work or more
    frames_cpus: float = 1.0
    frames_workers: int = Field(2, ge=1)
    clip_workers: int = Field(2, ge=1)
    predict_workers: int = Field(2, ge=1)
    clip_cpus: float = 1.0
    clip_gpus: float = 0.0
    model_cpus: float = 1.0
    model_gpus: float = 0.0
