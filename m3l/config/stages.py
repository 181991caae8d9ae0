"""Settings of what is done with a bundle: evaluate, predict, export, plan, serve."""

from typing import Literal

from pydantic import Field

from m3l.config.base import Section


class EvaluateConfig(Section):
    """Evaluation on held-out posts."""

    splits: tuple[str, ...] = ("test_random", "test_accounts", "test_time")  # splits to evaluate on
    batch_size: int = Field(16, ge=1)  # posts per batch
    bootstrap: int = Field(500, ge=0)  # resamples for the 95% intervals of the metrics
    num_beams: int = Field(1, ge=1)  # beams of the caption decoder; 1: greedy
    max_new_tokens: int = Field(48, ge=1)  # maximum tokens of a generated caption
    no_repeat_ngram: int = Field(0, ge=0)  # length of the token n-grams that may occur only once; 0: no limit
    why: int = Field(64, ge=0)  # posts that are explained by leaving out each of their parts
    gallery: int = Field(12, ge=0)  # explained posts that the report shows as pictures


class PredictConfig(Section):
    """Batch prediction for a table of posts."""

    table: str | None = None  # csv, xlsx, jsonl or parquet
    out: str | None = None  # file to write, in a format by its suffix, or a folder of parts


class ExportConfig(Section):
    """Export of a bundle as a plain model folder."""

    out: str | None = None  # local folder, new or empty


class PlanConfig(Section):
    """Assumptions of `m3l plan`."""

    gpu: Literal["a100", "l40s", "h100", "h200", "b200"] = "h100"  # kind of GPU
    mfu: float = Field(0.4, gt=0, le=1)  # model FLOPs utilisation: share of the GPU's peak that a step reaches
    gpus: tuple[int, ...] = (1, 2, 8)  # numbers of GPUs to compare
    prompt_tokens: int = Field(160, ge=1)  # tokens of a prompt
    common_tokens: int = Field(14, ge=0)  # tokens with which the prompts of all tasks begin alike
    caption_tokens: int = Field(40, ge=1)  # tokens of a caption
    qformer_tokens: int = Field(24, ge=0)  # tokens of the Q-Former's text


class ServeConfig(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"  # address to listen on
    port: int = Field(8000, ge=1, le=65535)  # port to listen on
    replicas: int = Field(1, ge=1)  # replicas of the model
    max_ongoing_requests: int = Field(8, ge=1)  # requests that a replica handles at a time
    max_queued_requests: int = Field(32, ge=1)  # requests that wait; more are answered with 503
    request_timeout_s: float = 60.0  # seconds until a request is answered with 504
    batch_size: int = Field(8, ge=1)  # posts in a batch of the model
    batch_wait_s: float = 0.02  # seconds to wait for a batch to fill
    max_upload_bytes: int = 64 * 2**20  # bytes of an uploaded file
    api_key_env: str = "M3L_API_KEY"  # environment variable with the API key; required beyond loopback
