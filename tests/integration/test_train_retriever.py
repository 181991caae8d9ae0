"""The retriever's training on Ray Train: the ranks share the rows alike, so the same seed gives the same weights."""

from pathlib import Path

from m3l.config import Config, load
from m3l.data import storage
from m3l.data.schemas import KEYFRAMES, POSTS, to_table
from pipelines import train_retriever
from tests.integration.test_retrieve import post, read

ROWS = 21  # two ranks cannot share them evenly, and of one post nothing could be read


def trained(run: Path) -> Config:
    config = load(
        "tiny", [f"paths.run={run}", "retriever.teacher_epochs=1", "retriever.batch_size=8", "ray.block_rows=4"]
    )
    posts = [post(i, f"{i}.mp4").model_copy(update={"split": "train", "caption": f"sea {i}"}) for i in range(ROWS)]
    files = [read(f"{i}.mp4", 2 + i % 5 if i != 3 else 0) for i in range(ROWS)]
    storage.write_part(to_table(posts, POSTS), config.paths.of("posts"), ["posts"])
    storage.write_part(to_table(files, KEYFRAMES), config.paths.of("keyframes"), ["files"])
    train_retriever.main(config)
    return config


def test_the_same_seed_gives_the_same_retriever(local_ray: None, tmp_path: Path) -> None:
    one, two = (trained(tmp_path / name) for name in ("one", "two"))
    for name in ("model.safetensors", "teacher/model.safetensors", "curve.json"):
        digests = {storage.digest(f"{config.paths.of('retriever')}/{name}") for config in (one, two)}
        assert len(digests) == 1, name
