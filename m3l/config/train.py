"""Settings of the training and of a sweep over its settings."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from m3l.config.base import Section


class TrainConfig(Section):
    """Algorithm 1 of M3L, the alignment stage before it, and how the work is spread over workers."""

    schedule: Literal["alternate", "joint"] = "alternate"  # alternate: one task a step; joint: all tasks in each step
    cut: float = Field(50.0, ge=0, le=100)  # of alternate: a step whose THRESHOLD is above it trains a caption task
    nll_weight: float = Field(1.0, ge=0)  # weight of the caption loss
    mse_weight: float = Field(1.0, ge=0)  # weight of the likes loss
    workers: int = Field(2, ge=1)  # number of ranks
    min_workers: int | None = Field(None, ge=1)  # on fewer machines the run continues with this many; None: it waits
    strategy: Literal["ddp", "fsdp"] = "ddp"  # fsdp: parameters and optimiser state are sharded over the workers
    alignment_epochs: int = Field(0, ge=0)  # before Algorithm 1: visual tokens learn to name the caption's words
    alignment_frames: int = Field(3, ge=1)  # of each post in the alignment stage
    alignment_tasks: bool = True  # train the tasks in it, too; a pretrained language model does not need that
    alignment_mse_weight: float = Field(0.2, ge=0)  # at 1 the likes, which are easier, crowd out what the media show
    epochs: int = Field(3, ge=1)  # of Algorithm 1
    frames: int = Field(10, ge=1)  # of each post, drawn anew for every step
    batch_size: int = Field(8, ge=1)  # posts that one worker computes at once (a microbatch)
    accumulate: int = Field(1, ge=1)  # microbatches of one worker in a step
    cache_bytes: int = Field(2**30, ge=0)  # of each worker: a smaller context/ stays in memory, a larger one streams
    cache_vision: int = Field(0, ge=0)  # bytes of each worker for a cache of a frozen ViT's features of frames
    optimiser: Literal["adamw", "muon"] = "adamw"  # muon: for randomly initialised models
    lr: float = Field(1e-4, gt=0)  # peak learning rate
    weight_decay: float = Field(0.05, ge=0)  # decoupled weight decay
    lr_warmup_share: float = Field(0.05, ge=0, lt=1)  # of all steps: the learning rate rises linearly over them
    clip_norm: float = Field(1.0, gt=0)  # maximum norm of the gradient
    activation_checkpointing: bool = False  # recompute activations in the backward pass instead of storing them
    evaluations: int = Field(4, ge=1)  # on the validation posts, after the alignment stage
    patience: int | None = Field(None, ge=1)  # evaluations without improvement until training stops; None: never
    checkpoint_steps: int | None = Field(None, ge=1)  # steps between checkpoints; None: about one in an epoch
    augment: bool = False  # flip, shift and scale the frames, for a randomly initialised ViT
    token_mask_rate: float = Field(0.0, ge=0, lt=1)  # share of a prompt's field tokens that are masked, as in BERT
    media_dropout: float = Field(0.0, ge=0, lt=1)  # share of posts trained without their media, as if links were dead
    field_dropout: float = Field(0.0, ge=0, lt=1)  # share in which each optional field of a prompt is left out

    @model_validator(mode="after")
    def _fewer_workers_are_fewer(self) -> "TrainConfig":
        if self.min_workers and self.min_workers > self.workers:
            raise ValueError(f"min_workers: {self.min_workers} are more than the {self.workers} workers")
        return self

    @model_validator(mode="after")
    def _muon_needs_whole_matrices(self) -> "TrainConfig":
        if self.optimiser == "muon" and self.strategy == "fsdp":
            raise ValueError("optimiser muon needs whole matrices, which fsdp shards: use adamw, or strategy ddp")
        return self


class Range(Section):
    """Any number between two bounds.

    Attributes:
        low: The lower bound.
        high: The upper bound.
        log: Whether draws are uniform on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _low_is_below_high(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low} and high {self.high}: a range rises, with log from above 0")
        return self


def _list_or_range(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


Values = Annotated[Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_list_or_range)]


class TuneConfig(Section):
    """A sweep: each trial is a shorter `train` with other values of some fields."""

    space: dict[str, Values] = Field(default={})  # dotted field -> values to try; empty: see m3l/tuning/search_space.py
    search: Literal["grid", "random", "optuna"] = "random"  # how trials are chosen from `space`
    trials: int = Field(8, ge=1)  # of random and optuna; the first one tries the configured values
    seeds: int = Field(1, ge=1)  # trainings of each trial, with seeds from `seed` on; a trial counts by their mean
    scheduler: Literal["asha", "none"] = "asha"  # asha: a trial that falls behind the others ends early
    trial_workers: int = Field(1, ge=1)  # ranks of each trial
    epochs: int = Field(1, ge=1)  # epochs of each trial, after the alignment stage
    posts: int | None = None  # of the training split at most, for a quick sweep
