"""The Temporal-Former (T-Former): the Q-Former's layers, attending to the query tokens and times of all frames."""

import copy
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import InstructBlipConfig, InstructBlipQFormerModel
from transformers import initialization as init

SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 0.1, 1000.0  # of the Fourier features of time


class TFormer(nn.Module):
    """Fuses the query tokens of several frames into as many as one frame has: pooled + gate * (layers - pooled).

    `pooled` is a weighted mean over the frames, with weights that depend on each token's content and on when the frame
    shows. With a checkpoint's weights the gate starts at zero and the weights are equal: the result is the mean of the
    frames, and for a single frame that frame, so that M3L starts as InstructBLIP. The order in which frames are stored
    does not matter, only their times do.

    Args:
        config: InstructBLIP's configuration, whose Q-Former the layers are like.
        layers: Number of layers.
        frequencies: Number of Fourier frequencies that encode a frame's time.
    """

    def __init__(self, config: InstructBlipConfig, layers: int, frequencies: int = 32):
        super().__init__()
        settings = copy.deepcopy(config.qformer_config)
        hidden = settings.hidden_size
        settings.update(
            {
                "num_hidden_layers": layers,
                "cross_attention_frequency": 1,
                "encoder_hidden_size": hidden,
                "vocab_size": 1,
                "max_position_embeddings": 1,
            }
        )
        self.queries = nn.Parameter(torch.zeros(1, config.num_query_tokens, hidden))
        self.layers = InstructBlipQFormerModel._from_config(settings)
        self.frequencies = frequencies
        self.time = nn.Linear(2 * frequencies, hidden)
        self.gate = nn.Parameter(torch.zeros(hidden))
        self.what = nn.Parameter(torch.zeros(hidden))
        self.when = nn.Parameter(torch.zeros(config.num_query_tokens, 2))
        # The T-Former reads no text, so these weights would never get a gradient.
        for layer in self.layers.encoder.layer:
            del layer.intermediate, layer.output
        del self.layers.embeddings.word_embeddings, self.layers.embeddings.position_embeddings

    @torch.no_grad()
    def init_from_qformer(self, qformer: InstructBlipQFormerModel, queries: Tensor) -> None:
        """Copy the Q-Former's cross-attention layers and query tokens, and start as the mean over the frames.

        transformers calls it through `_init_weights`: what a checkpoint has loaded stays.

        Args:
            qformer: The Q-Former; if it has fewer layers with cross-attention, the last one is copied again.
            queries: The Q-Former's query tokens of shape (1, query, hidden).
        """
        init.copy_(self.queries, queries)
        for name, parameter in self.layers.embeddings.layernorm.named_parameters():
            init.copy_(parameter, qformer.embeddings.layernorm.get_parameter(name))
        donors = [layer for layer in qformer.encoder.layer if layer.has_cross_attention]
        for i, layer in enumerate(self.layers.encoder.layer):
            donor = donors[min(i, len(donors) - 1)]
            for name, parameter in layer.named_parameters():
                # Keys and values come from query tokens, as in the donor's self-attention; patches have another width.
                for part in ("key", "value"):
                    name = name.replace(f"crossattention.attention.{part}", f"attention.attention.{part}")
                init.copy_(parameter, donor.get_parameter(name))
        for start in (self.gate, self.what, self.when):
            init.zeros_(start)

    @torch.no_grad()
    def init_temporal_bias(self, sharpness: float) -> None:
        """Let each query token prefer its own part of the post, in order: for randomly initialised models.

        Args:
            sharpness: How strongly a query token prefers its part; 0 for equal weights.
        """
        centre = torch.linspace(0, 1, len(self.when))
        # Up to a constant, the logit at the time t in [0, 1] is then -sharpness * (t - centre)^2.
        self.when.copy_(sharpness * torch.stack([2 * centre, -torch.ones_like(centre)], -1))

    def forward(
        self,
        frames: Float[Tensor, "batch frame query hidden"],
        mask: Bool[Tensor, "batch frame"],
        seconds: Float[Tensor, "batch frame"],
    ) -> Float[Tensor, "batch query hidden"]:
        """Fuse the frames of each post.

        Args:
            frames: The query tokens of each frame.
            mask: Which frames to use; at least one in each row.
            seconds: When each frame shows, in seconds.
        """
        batch, _, query, _ = frames.shape
        pooled = self._pooled(frames, mask, seconds)
        timed = frames + self._time_features(seconds)[:, :, None]
        fused = self.layers(
            input_ids=None,
            query_embeds=self.queries.expand(batch, -1, -1),
            encoder_hidden_states=timed.flatten(1, 2),
            encoder_attention_mask=mask.repeat_interleave(query, 1).long(),
        ).last_hidden_state
        return pooled + self.gate * (fused - pooled)

    def _pooled(
        self,
        frames: Float[Tensor, "batch frame query hidden"],
        mask: Bool[Tensor, "batch frame"],
        seconds: Float[Tensor, "batch frame"],
    ) -> Float[Tensor, "batch query hidden"]:
        """Each query token's mean over the frames, weighted by the token's content and by when the frame shows."""
        first = seconds.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
        last = seconds.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
        time = ((seconds - first) / (last - first).clamp(min=1e-6)).clamp(0, 1)  # 0: first frame, 1: last
        logits = frames.float() @ self.what.float() + torch.stack([time, time**2], -1).float() @ self.when.float().T
        weight = logits.masked_fill(~mask[:, :, None], -torch.inf).softmax(1)
        return (frames * weight[..., None].to(frames.dtype)).sum(1)

    def _time_features(self, seconds: Float[Tensor, "batch frame"]) -> Float[Tensor, "batch frame hidden"]:
        # Computed in float32 and not a buffer: cast to bfloat16 with the model, a buffer would lose the seconds.
        low, high = math.log10(SHORTEST_PERIOD_S), math.log10(LONGEST_PERIOD_S)
        periods = torch.logspace(low, high, self.frequencies, device=seconds.device, dtype=torch.float32)
        angle = seconds.float()[..., None] * (2 * math.pi / periods)
        return self.time(torch.cat([angle.sin(), angle.cos()], -1).to(self.time.weight.dtype))
