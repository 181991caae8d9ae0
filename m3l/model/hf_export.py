"""A trained model as a plain directory that transformers loads, and a checkpoint for further training."""

from pathlib import Path
from typing import Any

import torch

from m3l.config import ModelConfig
from m3l.model.lora import merge_lora
from m3l.model.m3l import M3L


def export_checkpoint(model: M3L, processor: Any, config: ModelConfig, folder: Path) -> None:
    """Write model and processor in InstructBLIP's format, with safetensors.

    Plain transformers loads everything but the T-Former and the likes heads; `model.checkpoint=FOLDER` loads all.

    Args:
        model: The model, whose adapters are merged into its weights in place.
        processor: Its processor.
        config: The model's settings, for the type of the weights.
        folder: Where to write.
    """
    merge_lora(model).to(getattr(torch, config.dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
