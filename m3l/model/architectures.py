"""The sizes of the published InstructBLIP checkpoints (arXiv 2305.06500), for `m3l plan` without a model hub."""

from transformers import (
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    PretrainedConfig,
    T5Config,
)

from m3l.model.config import M3LConfig

# The vocabularies are padded to a multiple of 64: [MASK] and <image> need no new rows.
TEXT_CONFIGS: dict[str, PretrainedConfig] = {
    "Salesforce/instructblip-vicuna-7b": LlamaConfig(vocab_size=32064),
    "Salesforce/instructblip-vicuna-13b": LlamaConfig(
        vocab_size=32064,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
    "Salesforce/instructblip-flan-t5-xl": T5Config(
        vocab_size=32128,
        d_model=2048,
        d_kv=64,
        d_ff=5120,
        num_layers=24,
        num_heads=32,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    ),
    "Salesforce/instructblip-flan-t5-xxl": T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    ),
}


def published_config(name: str, tformer_layers: int, head_hidden: int, history_numbers: int = 0) -> M3LConfig:
    """The configuration of M3L with a published checkpoint.

    Args:
        name: The checkpoint's name on the hub, a key of TEXT_CONFIGS.
        tformer_layers: Number of the T-Former's layers.
        head_hidden: Width of the likes head's hidden layer.
        history_numbers: Number of history features; 0 for a model without a history head.

    Raises:
        KeyError: `name` is no published checkpoint.
    """
    text = TEXT_CONFIGS[name]
    return M3LConfig(
        vision_config=InstructBlipVisionConfig(
            hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16
        ),
        qformer_config=InstructBlipQFormerConfig(vocab_size=30523),
        text_config=text,
        num_query_tokens=32,
        tformer_layers=tformer_layers,
        head_hidden=head_hidden,
        history_numbers=history_numbers,
        mask_token_id=text.vocab_size - 1,
        image_token_index=text.vocab_size - 2,
    )
