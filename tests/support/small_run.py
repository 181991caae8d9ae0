"""A run that is ready to be trained: a few posts with their contexts and an untrained retriever, made in a second."""

from pathlib import Path

from m3l.config import Config, override
from m3l.data import storage
from m3l.data.schemas import CONTEXT, POSTS, to_table
from m3l.retriever.clip import Retriever
from tests.support.posts import TINY, example


def small(run: Path, **settings: object) -> Config:
    """The configuration of the smallest model and of a run with 24 posts to train on and 4 to validate on."""
    config = override(TINY, {"paths.run": str(run), **settings})
    examples = [
        example(number, frames=number % 3, split="train" if number < 24 else "validation") for number in range(28)
    ]
    posts = [known.post for known in examples]
    contexts = [known.context.model_copy(update={"task": task.name}) for known in examples for task in config.tasks]
    storage.write_part(to_table(posts, POSTS), config.paths.of("posts"), ["posts"])
    storage.write_part(to_table(contexts, CONTEXT), config.paths.of("context"), ["contexts"])
    Retriever.build(config.retriever.clip, seed=0).save(config.paths.of("retriever"))
    return config
