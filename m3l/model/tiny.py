"""A small, randomly initialised M3L: a few million weights, and tokenizers that are trained on the posts."""

from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    BlipImageProcessor,
    InstructBlipProcessor,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from m3l.config import TinyModel
from m3l.model.config import M3LConfig
from m3l.model.m3l import M3L
from m3l.prompts.render import MASK


def tiny_processor(sizes: TinyModel, texts: Iterable[str]) -> InstructBlipProcessor:
    """A processor whose two tokenizers are trained on `texts`.

    Args:
        sizes: The size of images, the number of query tokens and the size of the vocabularies.
        texts: Prompts and captions of the training posts.
    """
    corpus = list(texts)
    images = BlipImageProcessor(size={"height": sizes.image_size, "width": sizes.image_size})
    tokenizer = _text_tokenizer(corpus, sizes.vocabulary)
    qformer_tokenizer = _qformer_tokenizer(corpus, sizes.vocabulary)
    return InstructBlipProcessor(images, tokenizer, qformer_tokenizer, num_query_tokens=sizes.query_tokens)


def tiny_model(
    sizes: TinyModel,
    processor: InstructBlipProcessor,
    tformer_layers: int,
    head_hidden: int,
    seed: int,
    history_numbers: int = 0,
) -> M3L:
    """A randomly initialised M3L with a Llama language model.

    Args:
        sizes: Its widths, layers and heads.
        processor: What `tiny_processor` returned, for the vocabularies.
        tformer_layers: Number of the T-Former's layers.
        head_hidden: Width of the likes head's hidden layer.
        seed: Seed of the weights.
        history_numbers: Number of history features; 0 for a model without a history head.
    """
    torch.manual_seed(seed)
    config = _tiny_config(sizes, processor, tformer_layers, head_hidden, history_numbers)
    model = M3L(config)
    # transformers initialises the query tokens with zeros, from which they would stay equal to each other.
    torch.nn.init.normal_(model.query_tokens, std=0.02)
    model.tformer.queries.data.copy_(model.query_tokens)
    model.tformer.init_temporal_bias(sizes.tformer_spread)
    return model


def _tiny_config(
    sizes: TinyModel, processor: InstructBlipProcessor, tformer_layers: int, head_hidden: int, history_numbers: int
) -> M3LConfig:
    text = processor.tokenizer
    return M3LConfig(
        vision_config=InstructBlipVisionConfig(
            hidden_size=sizes.vision_hidden,
            intermediate_size=2 * sizes.vision_hidden,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.heads,
            image_size=sizes.image_size,
            patch_size=sizes.patch_size,
            initializer_range=sizes.vision_hidden**-0.5,
        ),
        qformer_config=InstructBlipQFormerConfig(
            vocab_size=len(processor.qformer_tokenizer),
            hidden_size=sizes.qformer_hidden,
            encoder_hidden_size=sizes.vision_hidden,
            num_hidden_layers=sizes.qformer_layers,
            num_attention_heads=sizes.heads,
            intermediate_size=2 * sizes.qformer_hidden,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=sizes.qformer_hidden**-0.5,
        ),
        text_config=LlamaConfig(
            vocab_size=len(text),
            hidden_size=sizes.text_hidden,
            intermediate_size=2 * sizes.text_hidden,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=sizes.text_hidden**-0.5,
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id,
            pad_token_id=text.pad_token_id,
        ),
        num_query_tokens=sizes.query_tokens,
        image_token_index=text.convert_tokens_to_ids("<image>"),
        tformer_layers=tformer_layers,
        head_hidden=head_hidden,
        history_numbers=history_numbers,
        mask_token_id=text.convert_tokens_to_ids(MASK),
        initializer_range=sizes.text_hidden**-0.5,
    )


def _text_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which a token never mixes digits with letters or spaces."""
    tokenizer = Tokenizer(models.BPE())
    # A run of digits is split off, not each digit: a number has the same tokens wherever it occurs, a frequent one a
    # single token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<unk>", "<s>", "</s>", "[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[start])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="[PAD]",
        model_max_length=512,
    )
    wrapped.add_special_tokens({"mask_token": MASK})
    return wrapped


def _qformer_tokenizer(texts: list[str], vocabulary: int) -> BertTokenizer:
    """WordPiece with frequent words as tokens and letters for the rest.

    The `tokenizers` package's own WordPieceTrainer breaks ties at random, so that its vocabulary cannot be repeated.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = Counter(letter for word, count in words.items() for letter in word * count)
    frequent_letters = _by_frequency(letters)[: vocabulary // 4]
    inner_letters = (f"##{letter}" for letter in frequent_letters)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = list(dict.fromkeys([*special, *frequent_letters, *inner_letters, *_by_frequency(words)]))[:vocabulary]
    return BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, model_max_length=512)


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))
