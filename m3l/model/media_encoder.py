"""The half of M3L that reads media: ViT, Q-Former and T-Former, and the projection to the language model."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import InstructBlipForConditionalGeneration

from m3l.model.config import M3LConfig
from m3l.model.tformer import TFormer


class MediaEncoder(InstructBlipForConditionalGeneration):
    """InstructBLIP (arXiv 2305.06500) with a T-Former between its Q-Former and its language model.

    Before training, and for a post with one frame, the visual tokens are exactly those of InstructBLIP.

    Dimensions in shapes: `media` posts have frames, of which `frame` is the largest number of one post and `real` the
    number of all.
    """

    config: M3LConfig
    config_class = M3LConfig

    def __init__(self, config: M3LConfig):
        super().__init__(config)
        self.tformer = TFormer(config, config.tformer_layers)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TFormer):
            module.init_from_qformer(self.qformer, self.query_tokens)

    def encode_media(
        self,
        frame_mask: Bool[Tensor, "media frame"],
        frame_seconds: Float[Tensor, "media frame"],
        qformer_input_ids: Int[Tensor, "media word"],
        qformer_attention_mask: Int[Tensor, "media word"],
        pixel_values: Float[Tensor, "media frame 3 height width"] | None = None,
        patches: Float[Tensor, "real patch vision_hidden"] | None = None,
    ) -> Float[Tensor, "media query text_hidden"]:
        """Encode each post's frames into one sequence of visual tokens: the shared features of Algorithm 1.

        Args:
            frame_mask: Where a post has a frame; at least one in each row.
            frame_seconds: When each frame shows, in seconds on the post's timeline.
            qformer_input_ids: Token ids of the text that the Q-Former reads, one text for each post.
            qformer_attention_mask: 1 for tokens, 0 for padding.
            pixel_values: The frames, resized and normalised; not needed with `patches`.
            patches: What `vision_features` gave for the frames where `frame_mask` is true, row by row.

        Returns:
            The visual tokens that take the place of the image tokens in the language model's input.
        """
        if patches is None:
            assert pixel_values is not None
            patches = self.vision_features(pixel_values[frame_mask])
        frames = self.qformer_features(patches, frame_mask, qformer_input_ids, qformer_attention_mask)
        return self.fuse_frames(frames, frame_mask, frame_seconds)

    def vision_features(
        self, pixel_values: Float[Tensor, "real 3 height width"]
    ) -> Float[Tensor, "real patch vision_hidden"]:
        """The ViT's patch features of each frame.

        They depend on no text and no other frame, so those of a frozen ViT can be cached.
        """
        return self.vision_model(pixel_values).last_hidden_state

    def qformer_features(
        self,
        patches: Float[Tensor, "real patch vision_hidden"],
        frame_mask: Bool[Tensor, "media frame"],
        qformer_input_ids: Int[Tensor, "media word"],
        qformer_attention_mask: Int[Tensor, "media word"],
    ) -> Float[Tensor, "media frame query qformer_hidden"]:
        """The Q-Former's query tokens of each frame, computed for each frame alone.

        Args:
            patches: What `vision_features` gave for the frames where `frame_mask` is true, row by row.
            frame_mask: Where a post has a frame.
            qformer_input_ids: Token ids of the text that the Q-Former reads, one text for each post.
            qformer_attention_mask: 1 for tokens, 0 for padding.

        Returns:
            The query tokens; zeros where `frame_mask` is false.
        """
        # A frozen ViT may be bfloat16 where the Q-Former, which is trained, is not.
        patches = patches.to(self.query_tokens.dtype)
        frame_counts = frame_mask.sum(1)
        input_ids = qformer_input_ids.repeat_interleave(frame_counts, 0)
        text_mask = qformer_attention_mask.repeat_interleave(frame_counts, 0)
        queries = self.query_tokens.expand(len(patches), -1, -1)
        features = self.qformer(
            input_ids=input_ids,
            attention_mask=torch.cat([text_mask.new_ones(queries.shape[:2]), text_mask], 1),
            query_embeds=queries,
            encoder_hidden_states=patches,
            encoder_attention_mask=patches.new_ones(patches.shape[:2], dtype=torch.long),
        ).last_hidden_state[:, : queries.shape[1]]
        frames = features.new_zeros(*frame_mask.shape, *features.shape[1:])
        frames[frame_mask] = features
        return frames

    def fuse_frames(
        self,
        frames: Float[Tensor, "media frame query qformer_hidden"],
        frame_mask: Bool[Tensor, "media frame"],
        frame_seconds: Float[Tensor, "media frame"],
    ) -> Float[Tensor, "media query text_hidden"]:
        """Fuse the frames' query tokens with the T-Former and project them to the language model's width.

        Args:
            frames: What `qformer_features` returned.
            frame_mask: Which frames to use; at least one in each row.
            frame_seconds: When each frame shows, in seconds on the post's timeline.
        """
        return self.language_projection(self.tformer(frames, frame_mask, frame_seconds))
