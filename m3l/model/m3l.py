"""M3L: InstructBLIP with a T-Former over its frames and a likes head over its last hidden states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
from huggingface_hub.dataclasses import strict
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, ModelOutput

from m3l.model.heads import HistoryHead, LikesHead, Silent, text_and_image
from m3l.model.prefix_sharing import pack
from m3l.model.tformer import TFormer


@no_type_check  # `strict` checks it, and takes settings of other versions that its signature does not tell
@strict
class M3LConfig(InstructBlipConfig):
    """InstructBLIP's configuration plus M3L's own parts."""

    tformer_layers: int = 2
    head_hidden: int = 512
    history_numbers: int = 0  # 0: it is told nothing of the account's history
    mask_token_id: int = -1


@dataclass
class M3LOutput(ModelOutput):
    """`loss` is what the masked modality costs: `nll` of the caption or `mse` of the standardised log1p likes."""

    loss: Tensor | None = None
    nll: Tensor | None = None
    mse: Tensor | None = None
    likes: Tensor | None = None  # (batch,), standardised log1p


class M3L(InstructBlipForConditionalGeneration):
    """Multi-Modal Masked Learning (method.md, section 3); loads any InstructBLIP checkpoint.

    A batch has `batch` posts; `media` of them have frames, and only their rows hold image tokens.
    """

    config: M3LConfig
    config_class = M3LConfig

    def __init__(self, config: M3LConfig):
        super().__init__(config)
        self.tformer = TFormer(config, config.tformer_layers)
        self.likes_head = LikesHead(config.text_config.hidden_size, config.head_hidden)
        if config.history_numbers:
            self.history_head = HistoryHead(config.history_numbers)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TFormer):
            module.copy_from(self.qformer, self.query_tokens)
        elif isinstance(module, Silent):
            init.zeros_(module.weight)

    def see(
        self,
        frame_mask: Bool[Tensor, "media frame"],
        frame_seconds: Float[Tensor, "media frame"],
        qformer_input_ids: Int[Tensor, "media word"],
        qformer_attention_mask: Int[Tensor, "media word"],
        pixel_values: Float[Tensor, "media frame 3 height width"] | None = None,
        patches: Float[Tensor, "real patch vision_hidden"] | None = None,
    ) -> Float[Tensor, "media query text_hidden"]:
        """SHARED_FEATURES of Algorithm 1, from the frames or from what `look` gave for them."""
        if patches is None:
            assert pixel_values is not None
            patches = self.look(pixel_values[frame_mask])
        return self.read(patches, frame_mask, frame_seconds, qformer_input_ids, qformer_attention_mask)

    def look(self, pixel_values: Float[Tensor, "real 3 height width"]) -> Float[Tensor, "real patch vision_hidden"]:
        """The ViT's patches of each frame: they depend on no text and no other frame, so a frozen ViT's can be kept."""
        return self.vision_model(pixel_values).last_hidden_state

    def read(
        self,
        patches: Float[Tensor, "real patch vision_hidden"],
        frame_mask: Bool[Tensor, "media frame"],
        frame_seconds: Float[Tensor, "media frame"],
        qformer_input_ids: Int[Tensor, "media word"],
        qformer_attention_mask: Int[Tensor, "media word"],
    ) -> Float[Tensor, "media query text_hidden"]:
        """Q-Former on the patches of the real frames, row by row of `frame_mask`; T-Former, projection."""
        frames = self.read_frames(patches, frame_mask, qformer_input_ids, qformer_attention_mask)
        return self.fuse(frames, frame_mask, frame_seconds)

    def fuse(
        self,
        frames: Float[Tensor, "media frame query qformer_hidden"],
        frame_mask: Bool[Tensor, "media frame"],
        frame_seconds: Float[Tensor, "media frame"],
    ) -> Float[Tensor, "media query text_hidden"]:
        """T-Former and projection: what the language model reads in place of a post's frames."""
        return self.language_projection(self.tformer(frames, frame_mask, frame_seconds))

    def read_frames(
        self,
        patches: Float[Tensor, "real patch vision_hidden"],
        frame_mask: Bool[Tensor, "media frame"],
        qformer_input_ids: Int[Tensor, "media word"],
        qformer_attention_mask: Int[Tensor, "media word"],
    ) -> Float[Tensor, "media frame query qformer_hidden"]:
        """What the Q-Former reads in each frame by itself, 0 where there is none."""
        patches = patches.to(
            self.query_tokens.dtype
        )  # a frozen ViT may be bf16 where the Q-Former, which trains, is not
        frames_of = frame_mask.sum(1)
        words = qformer_input_ids.repeat_interleave(frames_of, 0)
        word_mask = qformer_attention_mask.repeat_interleave(frames_of, 0)
        queries = self.query_tokens.expand(len(patches), -1, -1)
        read = self.qformer(
            input_ids=words,
            attention_mask=torch.cat([word_mask.new_ones(queries.shape[:2]), word_mask], 1),
            query_embeds=queries,
            encoder_hidden_states=patches,
            encoder_attention_mask=patches.new_ones(patches.shape[:2], dtype=torch.long),
        ).last_hidden_state[:, : queries.shape[1]]
        frames = read.new_zeros(*frame_mask.shape, *read.shape[1:])
        frames[frame_mask] = read
        return frames

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
        labels: Int[Tensor, "batch label"] | None = None,
        likes: Float[Tensor, " batch"] | None = None,
        tell_likes: bool = False,
        history: Float[Tensor, "batch number"] | None = None,
        **media: Any,
    ) -> M3LOutput:
        """One task on one batch: `labels` (caption tokens, -100 elsewhere) give `nll`; `likes` give `mse`.

        `visual` are the features that `see` gave; else `media` are the arguments of `see`, or nothing when no
        post of the batch has frames. For an encoder-decoder model `labels` belong to the decoder. `history` are the
        numbers of m3l/history/features.py; a model with a history head needs them to tell likes.
        """
        embeds = self._embed(input_ids, visual, media)
        causal = self.config.use_decoder_only_language_model
        states = self._decode(embeds, attention_mask) if causal else self._encode(embeds, attention_mask)
        return self._tell(
            states,
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels,
            likes=likes,
            tell_likes=tell_likes,
            history=history,
        )

    def tell_all(
        self, batches: Sequence[dict[str, Any]], visual: Float[Tensor, "media query text_hidden"] | None
    ) -> list[M3LOutput]:
        """`forward` on several tasks of the same posts and features; a causal model reads how they begin once."""
        packs = (
            self.config.use_decoder_only_language_model and self.language_model.config._attn_implementation == "sdpa"
        )
        if len(batches) < 2 or not packs:  # other kernels take no mask of their own for each token
            return [self(**batch, visual=visual) for batch in batches]
        packed = pack([(batch["input_ids"], batch["attention_mask"]) for batch in batches])
        embeds = self._embed(packed.input_ids, visual, {})
        states = self._decode(embeds, packed.attention_mask, packed.position_ids)
        rows = torch.arange(len(states), device=states.device)[:, None]
        return [self._tell(states[rows, at], **batch) for at, batch in zip(packed.places, batches, strict=True)]

    def surprise(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch label"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The negative log-likelihood of each row's labels, summed over its tokens."""
        embeds = self._embed(input_ids, visual, {})
        if not self.config.use_decoder_only_language_model:
            states = BaseModelOutput(last_hidden_state=self._encode(embeds, attention_mask))
            logits = self.language_model(encoder_outputs=states, attention_mask=attention_mask, labels=labels).logits
            return F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none").sum(1)
        told = labels[:, 1:] != -100
        logits = self.language_model.lm_head(self._decode(embeds, attention_mask)[:, :-1][told])
        each = F.cross_entropy(logits.float(), labels[:, 1:][told], reduction="none")
        return each.new_zeros(len(labels)).index_add(0, told.nonzero()[:, 0], each)

    def name_words(
        self,
        visual: Float[Tensor, "media query text_hidden"],
        words: Int[Tensor, "media label"],
        weights: Float[Tensor, " vocabulary"],
    ) -> Float[Tensor, ""]:
        """Weighted cross-entropy of a caption's words, each told by the visual token of its stretch of the caption.

        A warm-up for models without weights, as non-autoregressive decoding (arXiv 1711.02281) from the visual tokens
        alone: the towers learn to see, in order, before the language model can read. `words` are padded with -100.
        """
        decoder = self.language_model.get_decoder()
        norm = getattr(decoder, "norm", None) or decoder.final_layer_norm
        logits = self.language_model.lm_head(norm(visual)).float().log_softmax(-1)
        known, told = words != -100, words.clamp(min=0)
        place = torch.arange(words.shape[1], device=words.device) * visual.shape[1] // known.sum(1, keepdim=True)
        each = -logits[torch.arange(len(words))[:, None], place.clamp(max=visual.shape[1] - 1), told]
        weight = weights[told] * known
        return ((each * weight).sum(1) / weight.sum(1).clamp(min=1e-6)).mean()

    @torch.no_grad()
    def generate(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
        media: dict[str, Tensor] | None = None,
        **settings: Any,
    ) -> Int[Tensor, "batch new"]:
        """The new tokens of each row; `settings` are those of transformers' `generate`."""
        embeds = self._embed(input_ids, visual, media or {})
        return self.language_model.generate(inputs_embeds=embeds, attention_mask=attention_mask, **settings)

    def _embed(
        self, input_ids: Tensor, visual: Tensor | None, media: dict[str, Tensor]
    ) -> Float[Tensor, "batch token hidden"]:
        if visual is None and media:
            visual = self.see(**media)
        embeds = self.get_input_embeddings()(input_ids)
        is_image = input_ids == self.config.image_token_id
        features = 0 if visual is None else visual.shape[0] * visual.shape[1]
        if int(is_image.sum()) != features:
            raise ValueError(f"{int(is_image.sum())} image tokens for {features} features")
        if visual is not None:
            embeds = embeds.masked_scatter(is_image[..., None], visual.to(embeds.dtype))
        return embeds

    def _tell(
        self,
        states: Float[Tensor, "batch token hidden"],
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        likes: Tensor | None = None,
        tell_likes: bool = False,
        history: Tensor | None = None,
    ) -> M3LOutput:
        """What the last hidden states say of the masked modality, and what it costs."""
        out = M3LOutput()
        if labels is not None:
            causal = self.config.use_decoder_only_language_model
            out.nll = self._causal_nll(states, labels) if causal else self._seq2seq_nll(states, attention_mask, labels)
        if likes is not None or tell_likes:
            out.likes = self._likes(states, input_ids)
            if self.config.history_numbers:
                assert history is not None
                out.likes = out.likes + self.history_head(history)
            if likes is not None:
                out.mse = F.mse_loss(out.likes, likes.float())
        terms = [term for term in (out.nll, out.mse) if term is not None]
        out.loss = torch.stack(terms).sum() if terms else None
        return out

    def _decode(self, embeds: Tensor, mask: Tensor, positions: Tensor | None = None) -> Tensor:
        decoder = self.language_model.model
        return decoder(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state

    def _encode(self, embeds: Tensor, mask: Tensor) -> Tensor:
        return self.language_model.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state

    def _causal_nll(self, states: Tensor, labels: Tensor) -> Tensor:
        told = labels[:, 1:] != -100  # logits only where there is a caption: the vocabulary is wide
        logits = self.language_model.lm_head(states[:, :-1][told])
        return F.cross_entropy(logits.float(), labels[:, 1:][told])

    def _seq2seq_nll(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        encoded = BaseModelOutput(last_hidden_state=states)
        return self.language_model(encoder_outputs=encoded, attention_mask=mask, labels=labels, use_cache=False).loss

    def _likes(self, states: Tensor, input_ids: Tensor) -> Float[Tensor, " batch"]:
        read = text_and_image(states, input_ids, int(self.config.mask_token_id or 0), self.config.image_token_id)
        dtype = next(self.likes_head.parameters()).dtype
        return self.likes_head(read.to(dtype)).squeeze(-1).float()
