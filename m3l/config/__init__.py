"""The one typed tree of settings: defaults here, presets and dotted overrides on top, a mistyped field is an error."""

from m3l.config.base import ConfigError
from m3l.config.cluster import RayConfig
from m3l.config.data import ClipConfig, CorpusConfig, HistoryConfig, IngestConfig, MediaConfig, Paths, RetrieverConfig
from m3l.config.loading import anchored, load, override, parse
from m3l.config.model import AssembleConfig, LoraSettings, ModelConfig, TaskConfig, TinyModel
from m3l.config.stages import EvaluateConfig, ExportConfig, PlanConfig, PredictConfig, ServeConfig
from m3l.config.train import Range, TrainConfig, TuneConfig
from m3l.config.tree import Config

__all__ = [
    "AssembleConfig",
    "ClipConfig",
    "Config",
    "ConfigError",
    "CorpusConfig",
    "EvaluateConfig",
    "ExportConfig",
    "HistoryConfig",
    "IngestConfig",
    "LoraSettings",
    "MediaConfig",
    "ModelConfig",
    "Paths",
    "PlanConfig",
    "PredictConfig",
    "Range",
    "RayConfig",
    "RetrieverConfig",
    "ServeConfig",
    "TaskConfig",
    "TinyModel",
    "TrainConfig",
    "TuneConfig",
    "anchored",
    "load",
    "override",
    "parse",
]
