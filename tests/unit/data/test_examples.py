"""Posts with their histories and contexts, read by id."""

from pathlib import Path

import pytest

from m3l.config import ConfigError, HistoryConfig, load
from m3l.data import storage
from m3l.data.examples import (
    history_folder,
    load_examples,
    load_history,
    masked_fields,
    post_ids,
    task_examples,
    with_histories,
)
from m3l.data.folder_settings import check_settings
from m3l.data.records import COMPANY, Context, ContextFrame, History, Post
from m3l.data.schemas import CONTEXT, HISTORY, POSTS, to_table

SETTINGS = HistoryConfig()
TASKS = load("tiny").tasks


@pytest.fixture
def posts(tmp_path: Path) -> str:
    rows = [
        Post(post_id="1", username="a", posted_at=None, caption="x", likes=3, split="train"),
        Post(post_id="2", username="a", posted_at=None, likes=4, split="train"),
        Post(post_id="3", username="b", posted_at=None, caption="y", likes=5, split="validation"),
    ]
    storage.write_part(to_table(rows, POSTS), str(tmp_path / "posts"), ["posts"])
    return str(tmp_path / "posts")


@pytest.fixture
def histories(tmp_path: Path) -> str:
    folder = str(tmp_path / "history")
    rows = [{"post_id": i, "history": History(posts=int(i)).model_dump()} for i in "123"]
    storage.write_part(to_table(rows, HISTORY), folder, ["accounts"])
    company = {"post_id": "2", "history": History(recent=1.5, weight=2.0).model_dump()}
    storage.write_part(to_table([company], HISTORY), f"{folder}/{COMPANY}", ["companies"])
    return folder


def test_posts_of_a_split_have_every_field(posts: str) -> None:
    assert masked_fields(TASKS) == ("caption", "likes")
    assert post_ids(posts, "train", masked_fields(TASKS)) == ["1"]
    assert post_ids(posts, "train", ("likes",)) == ["1", "2"]


def test_every_task_reads_its_own_context(posts: str, histories: str, tmp_path: Path) -> None:
    first, second = (task.name for task in TASKS)
    frame = ContextFrame(media_id="m", time_s=0.0, score=1.0, image=b"x")
    context = Context(post_id="2", task=second, frames=(frame,))
    storage.write_part(to_table([context], CONTEXT), str(tmp_path / "context"), ["contexts"])
    table = load_examples(posts, str(tmp_path / "context"), ["3", "2"], histories)
    without, with_context = task_examples(table, TASKS)
    assert [example.post.post_id for example in (without[first], with_context[first])] == ["3", "2"]
    assert without[second].context.error == with_context[first].context.error == "no context"
    assert with_context[second].context == context
    assert with_context[first].post.history == History(posts=2, company_recent=1.5, company_weight=2.0)
    assert with_context[second].without_frames().context.frames == ()


def test_a_history_includes_the_company_if_there_is_one(histories: str) -> None:
    assert load_history(histories, "1") == History(posts=1)
    post = Post(post_id="2", username="a", posted_at=None)
    (loaded,) = with_histories([post], histories)
    assert loaded.history == History(posts=2, company_recent=1.5, company_weight=2.0)
    with pytest.raises(KeyError):
        load_history(histories, "4")


def test_histories_are_read_only_if_the_model_reads_them(tmp_path: Path) -> None:
    assert history_folder(False, str(tmp_path / "absent"), SETTINGS) is None
    with pytest.raises(ConfigError, match="holds no histories: run `m3l history` first"):
        history_folder(True, str(tmp_path / "absent"), SETTINGS)


def test_histories_must_be_computed_as_at_prediction_time(histories: str) -> None:
    check_settings(histories, {"history": SETTINGS.model_dump(mode="json"), "rows": 3})
    assert history_folder(True, histories, SETTINGS) == histories
    with pytest.raises(ConfigError, match=r"history\.lag_days: .* was written with 0\.0"):
        history_folder(True, histories, HistoryConfig(lag_days=1.0))
