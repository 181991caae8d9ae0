"""LoRA on the language model (arXiv 2106.09685)."""

import re

from torch import nn

from m3l.config import LoraSettings
from m3l.model.m3l import M3L

LLAMA = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"


T5 = "q|k|v|o|wi_0|wi_1|wo"


def adapt(model: M3L, settings: LoraSettings) -> None:
    """Freeze the language model and put LoRA (arXiv 2106.09685) on its linear layers; [MASK]'s embedding trains."""
    from peft import LoraConfig, inject_adapter_in_model  # here, because its import takes a second

    model.language_model.requires_grad_(False)
    layers = LLAMA if model.config.use_decoder_only_language_model else T5
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    targets = [n for n in names if re.fullmatch(rf"language_model\..*\.({layers})", n)]
    trains = {n for n, p in model.named_parameters() if p.requires_grad}
    embedding = "embed_tokens" if model.config.use_decoder_only_language_model else "shared"
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        trainable_token_indices={embedding: [model.config.mask_token_id]},
    )
    inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():  # peft freezes everything that it did not add
        if name in trains:
            parameter.requires_grad_(True)
