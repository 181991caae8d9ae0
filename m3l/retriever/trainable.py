"""Which part of a CLIP is trained: all of it, all but the table of words, the projections, or LoRA."""

from typing import Literal

from peft import LoraConfig, get_peft_model
from torch import nn

from m3l.config import ConfigError
from m3l.retriever.clip import Retriever

LORA_RANK = 8
_TOWER_LAYERS = ("c_fc", "c_proj", "attn")  # of open_clip's transformers


Trainable = Literal["all", "layers", "projections", "lora"]


def adapted(retriever: Retriever, how: Trainable) -> Retriever:
    """The same retriever with gradients only where it is to learn; scale and bias always do if they are used."""
    match how:
        case "all":
            retriever.requires_grad_(True)
        case "layers":
            retriever.requires_grad_(True)
            _words(retriever).requires_grad_(False)
        case "projections":
            retriever.requires_grad_(False)
            for parameter in _projections(retriever):
                parameter.requires_grad_(True)
        case "lora":
            config = LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=list(_TOWER_LAYERS))
            retriever.clip = get_peft_model(retriever.clip, config)
    retriever.bias.requires_grad_(True)
    retriever.clip.logit_scale.requires_grad_(retriever.settings["similarity"] == "scaled_cosine")
    return retriever


def merged(retriever: Retriever) -> Retriever:
    """The retriever with LoRA folded into its weights: a plain CLIP again."""
    if hasattr(retriever.clip, "merge_and_unload"):
        retriever.clip = retriever.clip.merge_and_unload()
    return retriever.requires_grad_(True)


def _words(retriever: Retriever) -> nn.Module:
    # Of a tiny CLIP most parameters: 49,408 words, nearly all of which never occur. As they are drawn, they differ.
    return getattr(retriever.clip, "text", retriever.clip).token_embedding


def _projections(retriever: Retriever) -> list[nn.Parameter]:
    names = ("visual.proj", "visual.attnpool.c_proj", "visual.head", "text_projection", "text.text_projection")
    found = [p for n, p in retriever.clip.named_parameters() if n.startswith(names)]
    if not found:
        raise ConfigError("retriever.trainable: this CLIP has no projections; use all or lora")
    return found
