"""A bundle's model without adapters: a plain directory that transformers loads, and a checkpoint to train on from."""

from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.other import TrainableTokensWrapper

from m3l.config import ModelConfig
from m3l.model.m3l import M3L


def export(model: M3L, processor: Any, config: ModelConfig, folder: Path) -> None:
    """Write the model with its adapters merged in, safetensors and processor, in InstructBLIP's format.

    Plain transformers reads everything but the T-Former and the likes head; `model.checkpoint=FOLDER` reads all.
    """
    merge_adapters(model).to(getattr(torch, config.dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)


@torch.no_grad()
def merge_adapters(model: M3L) -> M3L:
    """The same model with every adapter added to the weights that it adapts, and gone."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif isinstance(module, TrainableTokensWrapper):
            module.token_adapter.merge()
            model.set_submodule(name, module.original_module)
    return model
