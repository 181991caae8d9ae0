"""Which parameters of CLIP are trained: all, all but the token embeddings, the projections, or LoRA."""

from typing import Literal

from torch import nn

from m3l.config import ConfigError
from m3l.retriever.clip import Retriever

LORA_RANK = 8
_TOWER_LAYERS = ("c_fc", "c_proj", "attn")  # of open_clip's transformers

Trainable = Literal["all", "layers", "projections", "lora"]


def set_trainable(retriever: Retriever, how: Trainable) -> Retriever:
    """Enable gradients for the chosen parameters only; scale and bias are always trained if they are used.

    Args:
        retriever: Changed in place.
        how: `layers` is everything but the token embeddings.
    """
    match how:
        case "all":
            retriever.requires_grad_(True)
        case "layers":
            retriever.requires_grad_(True)
            _token_embedding(retriever).requires_grad_(False)
        case "projections":
            retriever.requires_grad_(False)
            for parameter in _projections(retriever):
                parameter.requires_grad_(True)
        case "lora":
            from peft import LoraConfig, get_peft_model  # here, because its import takes a second

            config = LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=list(_TOWER_LAYERS))
            retriever.clip = get_peft_model(retriever.clip, config)
    retriever.bias.requires_grad_(True)
    retriever.clip.logit_scale.requires_grad_(retriever.settings["similarity"] == "scaled_cosine")
    return retriever


def merge_lora(retriever: Retriever) -> Retriever:
    """The retriever with its LoRA adapters merged into the weights."""
    if hasattr(retriever.clip, "merge_and_unload"):
        retriever.clip = retriever.clip.merge_and_unload()
    return retriever.requires_grad_(True)


def _token_embedding(retriever: Retriever) -> nn.Module:
    # Most parameters of a tiny CLIP: 49,408 tokens, nearly all of which never occur in the captions.
    return getattr(retriever.clip, "text", retriever.clip).token_embedding


def _projections(retriever: Retriever) -> list[nn.Parameter]:
    names = ("visual.proj", "visual.attnpool.c_proj", "visual.head", "text_projection", "text.text_projection")
    projections = [p for n, p in retriever.clip.named_parameters() if n.startswith(names)]
    if not projections:
        raise ConfigError("retriever.trainable: this CLIP has no projection layers; use all or lora")
    return projections
