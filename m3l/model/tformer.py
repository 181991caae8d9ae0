"""The Temporal-Former: the Q-Former's own layers, reading every frame's query tokens and times instead of patches."""

import copy
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import InstructBlipConfig, InstructBlipQFormerModel
from transformers import initialization as init

SHORTEST_S, LONGEST_S = 0.1, 1000.0  # periods of the Fourier features of time


class TFormer(nn.Module):
    """Fuses the query tokens of several frames into those of one: pooled + gate * (Q-Former layers - pooled).

    `pooled` is a weighted mean over the frames, with weights that each query token learns from what a frame shows
    and when. A checkpoint starts with a gate of zero and equal weights, which is the masked mean, and for one frame
    the frame itself (method.md, section 3). It is a set function of (frame, seconds): the order of storage does not
    matter.
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
        # There is no text here: dead weights would break DDP, which waits for every gradient.
        for layer in self.layers.encoder.layer:
            del layer.intermediate, layer.output
        del self.layers.embeddings.word_embeddings, self.layers.embeddings.position_embeddings

    @torch.no_grad()
    def copy_from(self, qformer: InstructBlipQFormerModel, queries: Tensor) -> None:
        """Start from the Q-Former's cross-attention layers and queries; fills only what no checkpoint has filled."""
        init.copy_(self.queries, queries)
        for name, parameter in self.layers.embeddings.layernorm.named_parameters():
            init.copy_(parameter, qformer.embeddings.layernorm.get_parameter(name))
        donors = [layer for layer in qformer.encoder.layer if layer.has_cross_attention]
        for i, layer in enumerate(self.layers.encoder.layer):
            donor = donors[min(i, len(donors) - 1)]
            for name, parameter in layer.named_parameters():
                # The donor's cross-attention reads patches of another width; its self-attention reads query tokens.
                for part in ("key", "value"):
                    name = name.replace(f"crossattention.attention.{part}", f"attention.attention.{part}")
                init.copy_(parameter, donor.get_parameter(name))
        for start in (self.gate, self.what, self.when):
            init.zeros_(start)

    @torch.no_grad()
    def spread(self, sharpness: float) -> None:
        """Let each query token begin with its own stretch of the post, the first with its start: for no checkpoint."""
        centre = torch.linspace(0, 1, len(self.when))
        self.when.copy_(sharpness * torch.stack([2 * centre, -torch.ones_like(centre)], -1))  # -(place - centre)^2

    def forward(
        self,
        frames: Float[Tensor, "batch frame query hidden"],
        mask: Bool[Tensor, "batch frame"],
        seconds: Float[Tensor, "batch frame"],
    ) -> Float[Tensor, "batch query hidden"]:
        """Every row needs at least one frame whose mask is true."""
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
        """Each query token's mean over the real frames, weighted by the token's content and the frame's place."""
        first = seconds.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
        last = seconds.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
        place = ((seconds - first) / (last - first).clamp(min=1e-6)).clamp(0, 1)  # 0: first frame, 1: last
        logits = frames.float() @ self.what.float() + torch.stack([place, place**2], -1).float() @ self.when.float().T
        weight = logits.masked_fill(~mask[:, :, None], -torch.inf).softmax(1)
        return (frames * weight[..., None].to(frames.dtype)).sum(1)

    def _time_features(self, seconds: Float[Tensor, "batch frame"]) -> Float[Tensor, "batch frame hidden"]:
        # In float32 and not a buffer: a buffer would be cast to bf16 with the model and lose the seconds.
        low, high = math.log10(SHORTEST_S), math.log10(LONGEST_S)
        periods = torch.logspace(low, high, self.frequencies, device=seconds.device, dtype=torch.float32)
        angle = seconds.float()[..., None] * (2 * math.pi / periods)
        return self.time(torch.cat([angle.sin(), angle.cos()], -1).to(self.time.weight.dtype))
