"""The root of the settings."""

import yaml
from pydantic import model_validator

from m3l.config.base import Section
from m3l.config.cluster import RayConfig
from m3l.config.data import (
    CompareConfig,
    CorpusConfig,
    HistoryConfig,
    IngestConfig,
    MediaConfig,
    Paths,
    RetrieverConfig,
)
from m3l.config.model import AssembleConfig, ModelConfig, TaskConfig
from m3l.config.stages import EvaluateConfig, ExportConfig, PlanConfig, PredictConfig, ServeConfig
from m3l.config.templates import BEHAVIOUR, CONTENT
from m3l.config.train import TrainConfig, TuneConfig


class Config(Section):
    """All settings of a run."""

    name: str = "default"  # name of the configuration
    seed: int = 0  # of all random draws
    paths: Paths = Paths()
    corpus: CorpusConfig = CorpusConfig()
    ingest: IngestConfig = IngestConfig()
    history: HistoryConfig = HistoryConfig()
    media: MediaConfig = MediaConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    compare: CompareConfig = CompareConfig()
    tasks: tuple[TaskConfig, ...] = (
        TaskConfig(name="content", masked="caption", head="caption", template=CONTENT),
        TaskConfig(name="behaviour", masked="likes", head="likes", template=BEHAVIOUR),
    )
    model: ModelConfig = ModelConfig()
    assemble: AssembleConfig = AssembleConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    predict: PredictConfig = PredictConfig()
    export: ExportConfig = ExportConfig()
    plan: PlanConfig = PlanConfig()
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
                raise ValueError(f"tasks.{task.name}: the head likes predicts likes, not {task.masked}")
        return self

    @model_validator(mode="after")
    def _only_a_frozen_vit_is_cached(self) -> "Config":
        if self.train.cache_vision and (self.model.checkpoint is None or self.model.train_vision):
            raise ValueError("train.cache_vision: needs a frozen ViT: model.checkpoint, and model.train_vision=false")
        if self.train.cache_vision and self.train.augment:
            raise ValueError("train.cache_vision: an augmented frame is never seen twice: set train.augment=false")
        if self.train.cache_vision and self.train.strategy == "fsdp":
            raise ValueError("train.cache_vision: needs a whole ViT on each worker: set train.strategy=ddp")
        return self

    def task(self, name: str) -> TaskConfig:
        """The task of that name; KeyError if there is none."""
        return {task.name: task for task in self.tasks}[name]

    @property
    def heads(self) -> tuple[str, ...]:
        """The outputs that the tasks train: "likes", "caption" or both."""
        return tuple(head for head in ("likes", "caption") if any(task.head == head for task in self.tasks))

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
