"""posts/ + keyframes/ -> embeddings/ -> context/: for each post and task, the key frames that fit its prompt best."""

from m3l.config import Config, ConfigError
from m3l.data import storage
from pipelines.runtime.console import Summary
from pipelines.workers.embed import embed
from pipelines.workers.rank import rank


def main(config: Config) -> Summary:
    """Embed every key frame once, then keep `retriever.top_k` of them for every task of every post."""
    posts, retriever = config.paths.of("posts"), config.paths.of("retriever")
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    settings = f"{retriever}/retriever.json"
    if storage.read_text(settings) is None:
        raise ConfigError(f"{retriever} holds no retriever: run `m3l train-retriever` first")
    weights = storage.digest(f"{retriever}/model.safetensors", settings)
    embed(config, weights)
    return rank(config, weights)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
