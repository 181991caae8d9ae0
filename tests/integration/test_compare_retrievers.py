"""The retrievers that the walk trains: the one that it uses, and those that it compares."""

from m3l.data import storage
from pipelines import compare_retrievers
from tests.support.walk import Walk


def test_retrievers_are_compared_on_held_out_posts(walk: Walk) -> None:
    folder = walk.config.paths.of("comparison")
    metrics = storage.read_json(f"{folder}/metrics.json")
    students = {"bce0.1-dfr0.9", "bce1-dfr0"}
    assert metrics["recall_at_10"].keys() == students | {"untrained", "teacher", "teacher_caption", "uniform"}
    assert all(0 < recall["mean"] <= 1 for recall in metrics["recall_at_10"].values())
    assert "0.1 BCE + 0.9 DFR" in storage.read_text(f"{walk.config.paths.of('report')}/index.html")
    parts = storage.parts(f"{folder}/found")
    again = compare_retrievers.main(walk.config)
    assert again["recall_at_10"] == metrics["recall_at_10"]
    assert storage.parts(f"{folder}/found") == parts


def test_the_same_seed_and_weights_give_the_same_retriever(walk: Walk) -> None:
    """`train-retriever` and `compare-retrievers` train alike, on two ranks that cannot share the posts evenly."""
    posts = storage.read_rows(walk.config.paths.of("posts"), ["split"])
    assert sum(post["split"] == "train" for post in posts) % 2
    retriever, compared = walk.config.paths.of("retriever"), f"{walk.config.paths.of('comparison')}/seed0"
    assert walk.config.retriever.bce_weight == 0.1 and walk.config.retriever.dfr_weight == 0.9
    for one, other in (("", "bce0.1-dfr0.9"), ("/teacher", "teacher")):
        digests = {
            storage.digest(f"{folder}/model.safetensors") for folder in (f"{retriever}{one}", f"{compared}/{other}")
        }
        assert len(digests) == 1
