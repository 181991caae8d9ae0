"""From configuration to a model and its processor: from a checkpoint, or tiny and randomly initialised."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoProcessor

from m3l.config import ConfigError, ModelConfig
from m3l.data import storage
from m3l.history.features import NUM_FEATURES
from m3l.model.config import M3LConfig
from m3l.model.lora import add_lora
from m3l.model.m3l import M3L
from m3l.model.tiny import tiny_model, tiny_processor
from m3l.prompts.render import MASK


def build_processor(config: ModelConfig, texts: Iterable[str] = ()) -> Any:
    """The processor of a model: two tokenizers and an image processor.

    Args:
        config: The model's settings.
        texts: Prompts and captions on which the tokenizers of a model without a checkpoint are trained.

    Returns:
        An `InstructBlipProcessor` whose tokenizer has a [MASK] token.

    Raises:
        ConfigError: The checkpoint cannot be loaded.
    """
    if config.checkpoint is None:
        return tiny_processor(config.tiny, texts)
    processor = _load(AutoProcessor, config.checkpoint)
    processor.tokenizer.add_special_tokens({"mask_token": MASK})
    return processor


def build_model(config: ModelConfig, processor: Any, seed: int, architecture: Path | None = None) -> M3L:
    """A model that is ready for training: from the checkpoint or tiny, with adapters, and with its frozen parts frozen.

    Args:
        config: The model's settings.
        processor: What `build_processor` returned.
        seed: Seed of the new parts' weights, so that all ranks start with equal ones.
        architecture: A folder with the checkpoint's configuration. With it the checkpoint is not loaded and all weights
            are random, for a caller that loads others.

    Raises:
        ConfigError: The checkpoint cannot be loaded.
    """
    torch.manual_seed(seed)
    if config.checkpoint is None:
        model = tiny_model(config.tiny, processor, seed=seed, **added_part_sizes(config))
    elif architecture:
        settings = M3LConfig.from_pretrained(architecture, **added_part_sizes(config))
        model = untie_lm_head(M3L._from_config(settings, dtype=getattr(torch, config.dtype)))
    else:
        model = _from_checkpoint(config, processor)
    return prepare_for_training(model, config)


def prepare_for_training(model: M3L, config: ModelConfig) -> M3L:
    """Freeze the parts that are not trained, add adapters, and cast the trained parameters to float32, in place."""
    model.vision_model.requires_grad_(config.checkpoint is None or config.train_vision)
    if config.lora:
        add_lora(model, config.lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def added_part_sizes(config: ModelConfig) -> dict[str, int]:
    """The sizes of the parts that M3L adds to InstructBLIP, as fields of `M3LConfig`."""
    return {
        "tformer_layers": config.tformer_layers,
        "head_hidden": config.head_hidden,
        "history_numbers": NUM_FEATURES if config.history else 0,
    }


def untie_lm_head(model: M3L) -> M3L:
    """Give an encoder-decoder language model separate weights for its head and its embeddings, in place.

    Those of Flan-T5 differ, although transformers 5 considers them tied. Resizing the embeddings, or loading weights
    into a new model, would otherwise overwrite one with the other.
    """
    if not model.config.use_decoder_only_language_model:
        language = model.language_model
        model.config.text_config.tie_word_embeddings = language.config.tie_word_embeddings = False
        if language.lm_head.weight is language.get_input_embeddings().weight:
            language.lm_head.weight = nn.Parameter(language.lm_head.weight.detach().clone())
    return model


def is_local(checkpoint: str) -> bool:
    """Whether a checkpoint is a folder, local or `s3://`, and not a name on a model hub."""
    return "://" in checkpoint or Path(checkpoint).is_dir()


def _from_checkpoint(config: ModelConfig, processor: Any) -> M3L:
    dtype = getattr(torch, config.dtype)
    # Only safetensors, because other formats can run code.
    model = untie_lm_head(_load(M3L, config.checkpoint, dtype=dtype, use_safetensors=True, **added_part_sizes(config)))
    rows = model.get_input_embeddings().weight.shape[0]
    if len(processor.tokenizer) > rows:
        model.resize_token_embeddings(len(processor.tokenizer))
    model.config.mask_token_id = processor.tokenizer.convert_tokens_to_ids(MASK)
    model.config.image_token_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    return model


def _load(kind: Any, checkpoint: str | None, **settings: Any) -> Any:
    try:
        return kind.from_pretrained(_local_path(checkpoint or ""), **settings)
    except OSError as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(
            f"model.checkpoint: cannot load {checkpoint!r}: give a directory or hub name ({reason})"
        ) from None


@lru_cache(maxsize=1)
def _local_path(checkpoint: str) -> str:
    return str(storage.local_copy(checkpoint)) if "://" in checkpoint else checkpoint
