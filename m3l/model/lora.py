"""LoRA (arXiv 2106.09685) on the language model: adding the adapters, and merging them into the weights."""

import re

import torch
from torch import nn

from m3l.config import LoraSettings
from m3l.model.m3l import M3L

LLAMA_LAYERS = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
T5_LAYERS = "q|k|v|o|wi_0|wi_1|wo"


def add_lora(model: M3L, settings: LoraSettings) -> None:
    """Freeze the language model and add adapters to its linear layers, in place.

    The embedding of [MASK] is trained, too; the other embeddings are frozen.

    Args:
        model: The model. Parts other than its language model stay as they are.
        settings: Rank, scale and dropout of the adapters.
    """
    from peft import LoraConfig, inject_adapter_in_model  # here, because its import takes a second

    model.language_model.requires_grad_(False)
    causal = model.config.use_decoder_only_language_model
    layers, embedding = (LLAMA_LAYERS, "embed_tokens") if causal else (T5_LAYERS, "shared")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=[name for name in linear if re.fullmatch(rf"language_model\..*\.({layers})", name)],
        trainable_token_indices={embedding: [model.config.mask_token_id]},
    )
    inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():  # peft freezes everything that it did not add
        if name in trained:
            parameter.requires_grad_(True)


@torch.no_grad()
def merge_lora(model: M3L) -> M3L:
    """The same model without adapters: each is added to the weights that it adapts, and removed."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import TrainableTokensWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif isinstance(module, TrainableTokensWrapper):
            module.token_adapter.merge()
            model.set_submodule(name, module.original_module)
    return model
