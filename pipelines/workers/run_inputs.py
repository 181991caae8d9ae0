"""What a training run reads, resolved once in the driver. Neither this module nor what reads the rows needs PyTorch."""

from dataclasses import dataclass

from m3l.config import Config
from m3l.data import storage
from m3l.data.examples import history_folder, masked_fields, post_ids

VALIDATION_POSTS = 256  # held by every rank: bounded, whatever the corpus


@dataclass(frozen=True)
class RunInputs:
    """The rows that a training run reads.

    Attributes:
        posts: Folder of the posts.
        context: Folder of the frames that were retrieved for them.
        history: Folder of their histories; None where the model reads none.
        validation_ids: The posts that every rank holds to validate on.
        in_memory: Whether the ranks share all rows in memory; otherwise rows are streamed.
    """

    posts: str
    context: str
    history: str | None
    validation_ids: list[str]
    in_memory: bool

    @classmethod
    def of(cls, config: Config) -> "RunInputs":
        """The inputs of a configuration; ConfigError where histories are needed and missing."""
        posts, context = config.paths.of("posts"), config.paths.of("context")
        validation = post_ids(posts, "validation", masked_fields(config.tasks))[:VALIDATION_POSTS]
        fits = storage.size_bytes(context) <= config.train.cache_bytes
        history = history_folder(config.model.history, config.paths.of("history"), config.history)
        return cls(posts, context, history, validation, fits)
