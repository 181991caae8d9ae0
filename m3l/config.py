"""The one typed tree of settings: defaults here, presets and dotted overrides on top, a mistyped field is an error."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the field and the fix."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paths(Section):
    """Where each arrow of the data's way ends: folders below `run`, local or `s3://`, unless named."""

    run: str = "runs/default"
    media_root: str | None = None  # the folder that relative and file: media URLs are resolved in
    corpus: str = "{run}/corpus"
    posts: str = "{run}/posts"
    keyframes: str = "{run}/keyframes"
    retriever: str = "{run}/retriever"
    context: str = "{run}/context"
    bundle: str = "{run}/bundle"
    tune: str = "{run}/tune"
    report: str = "{run}/report"

    def of(self, name: str) -> str:
        """The resolved folder of one arrow, e.g. `of("posts")`."""
        value = getattr(self, name)
        return str(value).format(run=self.run.rstrip("/"))


class CorpusConfig(Section):
    """The synthetic corpus with known truth (m3l/corpus)."""

    posts: int = Field(2000, ge=1)
    accounts: int = Field(16, ge=1)
    unseen_accounts: int = Field(4, ge=0)
    subjects: int = Field(12, ge=2, le=24)
    scenes: int = Field(6, ge=1, le=8)
    noise: float = Field(0.35, ge=0)  # standard deviation of log(1 + likes)
    broken_share: float = Field(0.03, ge=0, le=1)


class IngestConfig(Section):
    """How the challenge's table becomes posts."""

    table: str | None = None  # csv, xlsx, jsonl, parquet, or a folder of parts
    video_height: int = Field(360, ge=1)  # the MP4 variant nearest this height is read
    validation_share: float = Field(0.05, ge=0, lt=1)
    test_share: float = Field(0.1, ge=0, lt=1)  # of rows whose table names no split


class MediaConfig(Section):
    """Reading media: what is allowed in, how frames are sampled, how many key frames are kept."""

    allowed_hosts: tuple[str, ...] = ("pbs.twimg.com", "video.twimg.com")
    max_bytes: int = 256 * 2**20
    max_pixels: int = 4096 * 2304
    max_seconds: float = 600.0
    fetch_timeout_s: float = 30.0
    decode_timeout_s: float = 60.0
    stride_s: float = Field(0.5, gt=0)
    max_samples: int = Field(1200, ge=1)
    key_frames: int = Field(50, ge=1)
    katna_compatible: bool = False  # keep Katna's index bug, for parity with the library
    image_height: int = Field(360, ge=16)  # of the stored key frames, at most
    jpeg_quality: int = Field(95, ge=1, le=100)


class ClipConfig(Section):
    """An open_clip model: a name with a pretrained tag, a local directory, or a tiny one from scratch."""

    name: str = "ViT-B-32"
    pretrained: str | None = "laion2b_s34b_b79k"  # an open_clip tag or a path; None: from scratch
    tiny: bool = False  # the 6 M parameter model of m3l/retriever/clip.py


class RetrieverConfig(Section):
    """Retrieval of `top_k` key frames and the training of L = bce_weight BCE + dfr_weight DFR."""

    clip: ClipConfig = ClipConfig()
    top_k: int = Field(10, ge=1)
    sharpness: float | None = Field(None, ge=0)  # null: the plain top k; a number trades relevance for coverage (BOLT)
    positives: int = Field(10, ge=1)  # frames that the teacher ranks top for the true caption
    bce_weight: float = Field(0.1, ge=0)
    dfr_weight: float = Field(0.9, ge=0)
    similarity: Literal["scaled_cosine", "dot"] = "scaled_cosine"
    teacher_epochs: int = Field(0, ge=0)  # from scratch only: CLIP's own loss on captions and frames
    epochs: int = Field(3, ge=0)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-4, gt=0)
    trainable: Literal["all", "layers", "projections", "lora"] = "projections"  # layers: all but the table of words


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
    tiny: TinyModel = TinyModel()
    tformer_layers: int = Field(2, ge=1)
    head_hidden: int = 512
    lora: LoraSettings | None = LoraSettings()
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    qformer_text: Literal["per_task", "shared"] = "shared"
    new_accounts: Literal["name", "hide"] = "name"  # hide: a name that training has not seen is left out of prompts
    qformer_template: str = "{{Username is {username}.}} {{Release Date is {date},}} {{Release Time is {time}.}}"
    max_prompt_tokens: int = 256
    max_caption_tokens: int = 64


class TrainConfig(Section):
    """Algorithm 1 and how it is spread."""

    schedule: Literal["alternate", "joint"] = "alternate"
    cut: float = Field(50.0, ge=0, le=100)  # THRESHOLD > cut trains the caption, else the likes
    nll_weight: float = Field(1.0, ge=0)
    mse_weight: float = Field(1.0, ge=0)
    workers: int = Field(2, ge=1)
    strategy: Literal["ddp"] = "ddp"
    warmup_epochs: int = Field(0, ge=0)  # naming the caption's words before Algorithm 1, for models from nothing
    warmup_frames: int = Field(3, ge=1)
    warmup_mse_weight: float = Field(0.2, ge=0)  # at 1 the likes, which are easier, keep the towers from the subjects
    epochs: int = Field(3, ge=1)
    frames: int = Field(10, ge=1)  # of each post, drawn anew for every step
    batch_size: int = Field(8, ge=1)  # of one worker
    cache_bytes: int = Field(2**30, ge=0)  # of one worker: a smaller shard stays in memory, a larger one streams
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)  # of the steps, with a rising learning rate
    clip_norm: float = Field(1.0, gt=0)
    augment: bool = False  # flip, shift and scale the frames, for towers that learn from nothing
    media_dropout: float = Field(0.0, ge=0, lt=1)  # posts trained without their media, as dead links will be
    field_dropout: float = Field(0.0, ge=0, lt=1)  # the same of each field that a prompt can do without


class TuneConfig(Section):
    """A sweep: dotted field -> values to try."""

    space: dict[str, list[Any]] = {
        "train.cut": [35.0, 50.0, 65.0],
        "train.mse_weight": [0.5, 1.0, 2.0],
    }
    trials: int = Field(4, ge=1)
    search: Literal["grid", "random"] = "random"
    trial_workers: int = Field(1, ge=1)
    epochs: int = Field(1, ge=1)
    posts: int | None = None  # of the training split, for a quick sweep


class EvaluateConfig(Section):
    splits: tuple[str, ...] = ("test_random", "test_accounts", "test_time")
    batch_size: int = Field(16, ge=1)
    bootstrap: int = Field(500, ge=0)
    num_beams: int = Field(1, ge=1)
    max_new_tokens: int = Field(48, ge=1)
    gallery: int = Field(12, ge=0)  # posts shown as pictures in the report


class PredictConfig(Section):
    """Batch scoring of a table, csv or xlsx or jsonl or parquet in and out."""

    table: str | None = None
    out: str | None = None


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


CONTENT = (
    "You are content creating wizard. Today I challenge you to predict a caption for an post that was posted in "
    "the past. I'll provide you with the following information regarding the post:\n"
    "Username, Date of post release, Time of post release and No of likes\n"
    "Review the username and date as there could be some insights relevant for the caption. Identify the "
    "material/person/objects in the image and align the caption accordingly. This will help to predict a better "
    "caption.\nNow given the image,\n"
    "{{Username is {username}.,}} {{Release Date is {date},}} {{Release Time is {time},}} "
    "{{Likes received is {likes}.}}\nPredicted Caption: [MASK]"
)
BEHAVIOUR = (
    "You are content creating wizard. Today I challenge you to predict a the number of likes for a post that was "
    "posted in the past. I'll provide you with the following information regarding the post:\n"
    "Username Date of post release Time of post release Caption\n"
    "Review the username and date as there could be some insights relevant for the number of likes. Identify the "
    "material/person/objects in the image and obtain the number of likes. This will help to predict the number of "
    "likes.\nNow given the image,\n"
    "{{Username is {username}.,}} {{Release Date is {date},}} {{Release Time is {time},}} "
    "{{Caption is {caption}.}}\nPredicted Number of likes : [MASK]"
)


class Config(Section):
    """Everything that one run is made of."""

    name: str = "default"
    seed: int = 0
    paths: Paths = Paths()
    corpus: CorpusConfig = CorpusConfig()
    ingest: IngestConfig = IngestConfig()
    media: MediaConfig = MediaConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    tasks: tuple[TaskConfig, ...] = (
        TaskConfig(name="content", masked="caption", head="caption", template=CONTENT),
        TaskConfig(name="behaviour", masked="likes", head="likes", template=BEHAVIOUR),
    )
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    predict: PredictConfig = PredictConfig()
    serve: ServeConfig = ServeConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _tasks_mask_what_they_ask(self) -> "Config":
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"tasks: names must differ, got {names}")
        for task in self.tasks:
            for field in task.hidden:
                if f"{{{field}}}" in task.template:
                    raise ValueError(f"tasks.{task.name}: the template shows its masked field {{{field}}}")
            if task.template.count("[MASK]") != 1 or not task.template.endswith("[MASK]"):
                raise ValueError(f"tasks.{task.name}: the template needs exactly one [MASK], at its end")
            if task.head == "likes" and task.masked != "likes":
                raise ValueError(f"tasks.{task.name}: the head likes tells likes, not {task.masked}")
        return self

    def task(self, name: str) -> TaskConfig:
        """The task of that name; KeyError if there is none."""
        return {task.name: task for task in self.tasks}[name]

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(preset_or_file: str = "tiny", overrides: "list[str] | tuple[str, ...]" = ()) -> Config:
    """The configuration of a preset name or a YAML file, with `section.field=value` overrides.

    Raises ConfigError, in one line that names the field and the fix.
    """
    path = Path(preset_or_file)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"no configuration file {path}")
        text = path.read_text()
    else:
        known = sorted(f.name[:-5] for f in resources.files("m3l.presets").iterdir() if f.name.endswith(".yaml"))
        if preset_or_file not in known:
            raise ConfigError(f"no preset {preset_or_file!r}: use one of {', '.join(known)}, or a .yaml file")
        text = resources.files("m3l.presets").joinpath(f"{preset_or_file}.yaml").read_text()
    return parse(text, overrides)


def parse(text: str, overrides: "list[str] | tuple[str, ...]" = ()) -> Config:
    """The configuration of a YAML text; raises ConfigError."""
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError("a configuration is a mapping of sections, e.g. `train: {epochs: 3}`")
    for item in overrides:
        _set(tree, item)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        # A mistyped field explains one that is missing.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {_explain(first)}") from None


def override(config: Config, changes: dict[str, Any]) -> Config:
    """A copy of the configuration with dotted fields changed; raises ConfigError."""
    return parse(config.to_yaml(), [f"{field}={yaml.safe_dump(value).strip()}" for field, value in changes.items()])


def anchored(config: Config) -> Config:
    """The configuration with its local paths absolute: workers run in folders of their own."""
    paths = {name: _absolute(value) for name, value in config.paths.model_dump().items() if value is not None}
    predict = {name: _absolute(value) for name, value in config.predict.model_dump().items() if value is not None}
    changes = {"paths": config.paths.model_copy(update=paths), "predict": config.predict.model_copy(update=predict)}
    return config.model_copy(update=changes)


def _absolute(path: str) -> str:
    return path if "://" in path or path.startswith("{run}") else str(Path(path).expanduser().absolute())


def _set(tree: dict[str, Any], item: str) -> None:
    field, equals, value = item.partition("=")
    if not equals or not field:
        raise ConfigError(f"{item!r} is not an override: write section.field=value")
    *sections, leaf = field.strip().split(".")
    for name in sections:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{field}: {name} is not a section")
    try:
        tree[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"{field}: {value!r} is not a YAML value") from None


def _explain(error: Any) -> str:
    if error["type"] != "extra_forbidden":
        return str(error["msg"])
    section: Any = Config
    for part in error["loc"][:-1]:
        kind = section.model_fields[part].annotation if isinstance(part, str) else section
        section = next(k for k in (kind, *get_args(kind)) if hasattr(k, "model_fields"))  # also `X | None`, `tuple[X]`
    return f"no such field; known here: {', '.join(section.model_fields)}"
