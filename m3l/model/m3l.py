"""M3L: InstructBLIP with a T-Former over its frames and a likes head over its last hidden states."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from m3l.model import losses
from m3l.model.config import M3LConfig, M3LOutput
from m3l.model.heads import HistoryHead, LikesHead, ZeroInitLinear, pool_text_and_image
from m3l.model.media_encoder import MediaEncoder
from m3l.model.prefix_sharing import pack_prompts


class M3L(MediaEncoder):
    """Multi-Modal Masked Learning on InstructBLIP (arXiv 2305.06500); loads any InstructBLIP checkpoint.

    A batch has `batch` posts, of which `media` have frames; only their rows hold image tokens.
    """

    def __init__(self, config: M3LConfig):
        super().__init__(config)
        self.likes_head = LikesHead(config.text_config.hidden_size, config.head_hidden)
        if config.history_numbers:
            self.history_head = HistoryHead(config.history_numbers)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ZeroInitLinear):
            init.zeros_(module.weight)

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
        labels: Int[Tensor, "batch label"] | None = None,
        likes: Float[Tensor, " batch"] | None = None,
        predict_likes: bool = False,
        history: Float[Tensor, "batch feature"] | None = None,
        **media: Any,
    ) -> M3LOutput:
        """Run one task on one batch.

        Args:
            input_ids: Image tokens and prompt, and for a decoder-only model with `labels` the caption.
            attention_mask: 1 for tokens, 0 for padding.
            visual: What `encode_media` returned; None to compute it from `media`.
            labels: Token ids of the caption, -100 elsewhere; for an encoder-decoder model those of the decoder. With
                them the output has `nll`.
            likes: Standardised log(1 + likes). With them the output has `likes` and `mse`.
            predict_likes: Whether the output has `likes` even if the true ones are not given.
            history: History features (m3l/history/features.py), which a model with a history head needs for likes.
            media: The arguments of `encode_media`; nothing if no post of the batch has frames.
        """
        embeds = self._embed(input_ids, visual, media)
        causal = self.config.use_decoder_only_language_model
        states = self._decode(embeds, attention_mask) if causal else self._encode(embeds, attention_mask)
        return self._heads_and_losses(states, input_ids, attention_mask, labels, likes, predict_likes, history)

    def forward_tasks(
        self, batches: Sequence[dict[str, Any]], visual: Float[Tensor, "media query text_hidden"] | None
    ) -> list[M3LOutput]:
        """Run `forward` for several tasks on the same posts; a decoder-only model reads their common prefix once.

        Args:
            batches: The arguments of `forward` for each task, without the media.
            visual: What `encode_media` returned, for all tasks; None if no post has frames.
        """
        # Other attention kernels than SDPA accept no mask for each pair of tokens.
        can_pack = (
            self.config.use_decoder_only_language_model and self.language_model.config._attn_implementation == "sdpa"
        )
        if len(batches) < 2 or not can_pack:
            return [self(**batch, visual=visual) for batch in batches]
        packed = pack_prompts([(batch["input_ids"], batch["attention_mask"]) for batch in batches])
        embeds = self._embed(packed.input_ids, visual, {})
        states = self._decode(embeds, packed.attention_mask, packed.position_ids)
        rows = torch.arange(len(states), device=states.device)[:, None]
        return [
            self._heads_and_losses(states[rows, indices], **batch)
            for indices, batch in zip(packed.token_indices, batches, strict=True)
        ]

    def sequence_nll(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch label"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Negative log-likelihood of each row's labels, the sum over its tokens; arguments as of `forward`."""
        embeds = self._embed(input_ids, visual, {})
        if self.config.use_decoder_only_language_model:
            states = self._decode(embeds, attention_mask)
            return losses.causal_sequence_nll(states, labels, self.language_model.lm_head)
        states = self._encode(embeds, attention_mask)
        logits = self._seq2seq(states, attention_mask, labels).logits
        return F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none").sum(1)

    def bag_of_words_loss(
        self,
        visual: Float[Tensor, "media query text_hidden"],
        target_ids: Int[Tensor, "media label"],
        weights: Float[Tensor, " vocabulary"],
    ) -> Float[Tensor, ""]:
        """The loss of the alignment stage: predict the words of the caption from the visual tokens alone.

        The ViT and the Q-Former so learn what frames show, and in which order, before the language model can read.

        Args:
            visual: What `encode_media` returned.
            target_ids: The caption's token ids, padded on the right with -100.
            weights: The weight of each token of the vocabulary.
        """
        decoder = self.language_model.get_decoder()
        norm = getattr(decoder, "norm", None) or decoder.final_layer_norm
        return losses.bag_of_words_loss(self.language_model.lm_head(norm(visual)), target_ids, weights)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        visual: Float[Tensor, "media query text_hidden"] | None = None,
        media: dict[str, Tensor] | None = None,
        **settings: Any,
    ) -> Int[Tensor, "batch new"]:
        """Generate the masked text of each row.

        Args:
            input_ids: Image tokens and prompt, padded on the left.
            attention_mask: 1 for tokens, 0 for padding.
            visual: What `encode_media` returned; None to compute it from `media`.
            media: The arguments of `encode_media`.
            settings: Those of transformers' `generate`.

        Returns:
            The new token ids, without the prompt.
        """
        embeds = self._embed(input_ids, visual, media or {})
        return self.language_model.generate(inputs_embeds=embeds, attention_mask=attention_mask, **settings)

    def _embed(
        self, input_ids: Tensor, visual: Tensor | None, media: dict[str, Tensor]
    ) -> Float[Tensor, "batch token hidden"]:
        """Token embeddings, with the visual tokens at the places of the image tokens."""
        if visual is None and media:
            visual = self.encode_media(**media)
        embeds = self.get_input_embeddings()(input_ids)
        is_image = input_ids == self.config.image_token_id
        features = 0 if visual is None else visual.shape[0] * visual.shape[1]
        if int(is_image.sum()) != features:
            raise ValueError(f"{int(is_image.sum())} image tokens for {features} features")
        if visual is not None:
            embeds = embeds.masked_scatter(is_image[..., None], visual.to(embeds.dtype))
        return embeds

    def _heads_and_losses(
        self,
        states: Float[Tensor, "batch token hidden"],
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        likes: Tensor | None = None,
        predict_likes: bool = False,
        history: Tensor | None = None,
    ) -> M3LOutput:
        """The predictions and losses from the last hidden states; the other arguments are those of `forward`."""
        out = M3LOutput()
        if labels is not None and self.config.use_decoder_only_language_model:
            out.nll = losses.causal_nll(states, labels, self.language_model.lm_head)
        elif labels is not None:
            out.nll = self._seq2seq(states, attention_mask, labels).loss
        if likes is not None or predict_likes:
            out.likes = self._predict_likes(states, input_ids, history)
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

    def _seq2seq(self, states: Tensor, mask: Tensor, labels: Tensor) -> Any:
        encoded = BaseModelOutput(last_hidden_state=states)
        return self.language_model(encoder_outputs=encoded, attention_mask=mask, labels=labels, use_cache=False)

    def _predict_likes(
        self, states: Tensor, input_ids: Tensor, history: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        mask_token, image_token = int(self.config.mask_token_id or 0), self.config.image_token_id
        pooled = pool_text_and_image(states, input_ids, mask_token, image_token)
        dtype = next(self.likes_head.parameters()).dtype
        likes = self.likes_head(pooled.to(dtype)).squeeze(-1).float()
        if self.config.history_numbers:
            assert history is not None
            likes = likes + self.history_head(history)
        return likes
