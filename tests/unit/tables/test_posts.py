import json
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from m3l.config import IngestConfig
from m3l.data.records import Post
from m3l.data.schemas import POSTS, REJECTED, to_table
from m3l.tables.posts import Deduplicator, Rejected, TableError, check_columns, parse_row, read_table

CONFIG = IngestConfig()
PHOTO = (
    "[Photo(previewUrl='https://pbs.twimg.com/media/E?name=small', fullUrl='https://pbs.twimg.com/media/E?name=large')]"
)
ROW = {
    "id": "0012",
    "date": "2020-12-12 00:47:00",
    "likes": "57",
    "content": "Tea &amp; toast ☕\n\n<mention> <hyperlink>",
    "username": "TimHortonsPH",
    "media": PHOTO,
    "inferred company": "tim hortons",
}


def post(**cells: Any) -> Post:
    parsed = parse_row(ROW | cells, 1, CONFIG)
    assert isinstance(parsed, Post), parsed
    return parsed


def reason(**cells: Any) -> str:
    parsed = parse_row(ROW | cells, 7, CONFIG)
    assert isinstance(parsed, Rejected), parsed
    assert parsed.row == 7
    return parsed.reason


def test_a_row_of_the_challenge_is_a_post() -> None:
    parsed = post()
    assert parsed.post_id == "0012"
    assert parsed.posted_at == datetime(2020, 12, 12, 0, 47, tzinfo=UTC)
    assert (parsed.username, parsed.company, parsed.likes) == ("TimHortonsPH", "tim hortons", 57)
    assert parsed.caption == "Tea & toast ☕\n\n<mention> <hyperlink>"
    assert [m.kind for m in parsed.media] == ["image"]


def test_html_entities_are_decoded_in_captions_alone() -> None:
    assert post(content="fish &amp;amp; chips &gt; AT&T &#39;n&#39; ?a=1&copy=2").caption == (
        "fish & chips > AT&T 'n' ?a=1&copy=2"
    )
    assert post(content=" &nbsp; &#32;").caption is None  # blank once it is decoded
    url = "https://pbs.twimg.com/media/E?format=jpg&amp;name=large"
    unchanged = post(id="1&amp;2", username="a&amp;b", keywords="x&amp;y", media=json.dumps([url]))
    assert (unchanged.post_id, unchanged.username, unchanged.keywords) == ("1&amp;2", "a&amp;b", "x&amp;y")
    assert unchanged.media[0].url == url
    rejected = parse_row(ROW | {"likes": "-1"}, 1, CONFIG)
    assert isinstance(rejected, Rejected) and "Tea &amp; toast" in rejected.raw


@pytest.mark.parametrize(
    ("cell", "post_id"),
    [(12, "12"), (12.0, "12"), ("12.0", "12.0"), ("0012", "0012"), (Decimal("12"), "12"), (2**62 + 1, str(2**62 + 1))],
)
def test_ids_are_text(cell: object, post_id: str) -> None:
    assert post(id=cell).post_id == post_id


@pytest.mark.parametrize(
    "cell",
    [
        "2020-12-12 00:47:00",
        " 2020-12-12T00:47:00Z ",
        "2020-12-12T02:47:00+02:00",
        "2020-12-12 00:47:00.000123456+00:00",
        datetime(2020, 12, 12, 0, 47, 0, 900),
        datetime(2020, 12, 11, 19, 47, tzinfo=timezone(timedelta(hours=-5))),
        pd.Timestamp("2020-12-12 00:47:00.000000001"),
    ],
)
def test_dates_become_utc(cell: object) -> None:
    assert post(date=cell).posted_at == datetime(2020, 12, 12, 0, 47, tzinfo=UTC)
    assert type(post(date=cell).posted_at) is datetime
    assert post(date=date(2020, 12, 12)).posted_at == datetime(2020, 12, 12, tzinfo=UTC)


def test_what_the_model_predicts_may_be_missing() -> None:
    for absent in (None, "", " ", float("nan")):
        assert post(likes=absent).likes is None
        assert post(content=absent).caption is None
    row = {name: cell for name, cell in ROW.items() if name != "likes"}
    assert isinstance(parse_row(row, 1, CONFIG), Post)
    assert (post(likes="12.0").likes, post(likes=0).likes, post(likes="-0").likes) == (12, 0, 0)
    assert post(media="").media == ()
    assert post(**{"inferred company": " "}).company is None
    assert post(content="\0 a\0b \x07").caption == " a\0b "


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"id": ""}, "no id"),
        ({"id": None}, "no id"),
        ({"id": 1.2e18}, "bad id: 1.2e+18 has lost digits, store ids as text"),
        ({"username": " "}, "no username"),
        ({"username": ["a"]}, "bad username: ['a']"),
        ({"date": ""}, "no date"),
        ({"date": pd.NaT}, "no date"),
        ({"date": "2020-13-12 00:47:00"}, "bad date: '2020-13-12 00:47:00'"),
        ({"date": "yesterday"}, "bad date: 'yesterday'"),
        ({"date": 43811.03}, "bad date: '43811.03'"),
        ({"date": "0001-01-01T00:00:00+14:00"}, "bad date: '0001-01-01T00:00:00+14:00'"),
        ({"likes": "-3"}, "negative likes"),
        ({"likes": -3}, "negative likes"),
        ({"likes": 3.5}, "bad likes: '3.5'"),
        ({"likes": "nan"}, "bad likes: 'nan'"),
        ({"likes": float("inf")}, "bad likes: 'inf'"),
        ({"likes": "1,234"}, "bad likes: '1,234'"),
        ({"likes": True}, "bad likes: True"),
        ({"likes": "9" * 19}, "bad likes: '9999999999999999999'"),
        ({"split": "dev"}, "bad split: 'dev'"),
        ({"content": "caf\udce9"}, "not UTF-8: content"),
        ({"keywords": [["a"]]}, "bad keywords: ['a']"),
        ({"media": "[Poll()]"}, "bad media: an expression that is not media, Call"),
        ({"media": "x" * 200_000}, "bad media: 200,000 characters"),
    ],
)
def test_a_row_that_is_not_a_post_has_a_reason(cells: dict[str, Any], why: str) -> None:
    assert reason(**cells) == why


def test_a_rejected_row_is_saved_unchanged_up_to_its_limit() -> None:
    rejected = parse_row(ROW | {"likes": "-1", "content": "\udce9" + "é" * 5000}, 3, CONFIG)
    assert isinstance(rejected, Rejected)
    assert rejected.raw.startswith('{"id":"0012","date":"2020-12-12 00:47:00","likes":"-1","content":"?éé')
    assert len(rejected.raw) == 2000
    assert to_table([rejected], REJECTED).num_rows == 1


def test_a_split_is_read_from_the_table_or_drawn() -> None:
    assert post(split="test_time").split == "test_time"
    assert post(split="test_time", likes=None).split == "test_time"
    assert post(likes=None).split is None  # it is not used for training
    assert post(content="").split is not None  # some tasks need no caption


def test_only_the_first_post_of_an_id_is_admitted() -> None:
    unique = Deduplicator()
    rows = [ROW, ROW | {"likes": "x"}, ROW | {"id": "12"}, ROW]
    parsed = [unique.admit(parse_row(row, n, CONFIG), row, n) for n, row in enumerate(rows)]
    assert [getattr(p, "reason", "post") for p in parsed] == ["post", "bad likes: 'x'", "post", "duplicate id"]
    assert isinstance(parsed[3], Rejected) and (parsed[3].row, parsed[3].id) == (3, "0012")


def test_column_names_match_in_any_case_and_with_spaces() -> None:
    check_columns([" ID", "Date", "CAPTION", "username ", "Media", "Company"])
    row = {" ID": 1, "Date": "2020-12-12", "CAPTION": "a", "username ": "b", "Media": "", "Company": "c"}
    parsed = parse_row(row, 1, CONFIG)
    assert isinstance(parsed, Post) and (parsed.caption, parsed.company) == ("a", "c")
    both = parse_row(ROW | {"company": "other"}, 1, CONFIG)
    assert isinstance(both, Post) and both.company == "tim hortons"


def test_columns_that_a_table_lacks_are_not_required_and_stay_empty() -> None:
    table = {name: cell for name, cell in ROW.items() if name not in ("id", "date", "media")}
    with pytest.raises(TableError, match=r"^missing column 'id', 'date', 'media': found"):
        check_columns(table)
    with pytest.raises(TableError, match="missing column 'id': found"):
        check_columns(table, ["date", "media"])
    with pytest.raises(TableError, match=r"ingest\.lacks names column 'id', which is there: found"):
        check_columns(ROW, ["id"])
    lacking = IngestConfig(lacks=("id", "date", "media"), test_share=0.5)
    check_columns(table, lacking.lacks)
    parsed = [parse_row(table, number, lacking) for number in range(200)]
    assert [p.post_id for p in parsed if isinstance(p, Post)] == [str(number) for number in range(200)]
    assert all(isinstance(p, Post) and p.posted_at is None and p.media == () for p in parsed)
    assert {p.split for p in parsed if isinstance(p, Post)} == {"train", "validation", "test_random"}
    assert to_table(parsed, POSTS).num_rows == 200
    with pytest.raises(ValueError, match="time_cut: posts without a date"):
        IngestConfig(lacks=("date",), time_cut=datetime(2020, 1, 1))


@pytest.mark.parametrize(
    ("cell", "keywords"),
    [
        ("['man', 'ice cream', \"o'clock\", 'man']", "man, ice cream, o'clock"),
        (["man", "", "dog"], "man, dog"),
        ("man,dog , man", "man, dog"),
        ("[]", None),
        (" ", None),
        (None, None),
    ],
)
def test_each_keyword_is_listed_once(cell: object, keywords: str | None) -> None:
    assert post(keywords=cell).keywords == keywords


def test_missing_columns_are_named_in_one_line() -> None:
    with pytest.raises(
        TableError, match=r"^missing column 'date', 'media', 'likes' or 'content': found 'id', 'username'$"
    ):
        check_columns(["id", "username"])
    with pytest.raises(TableError, match="more than one column 'id'"):
        check_columns([*ROW, "ID "])


def test_every_row_is_a_post_or_rejected_whatever_its_cells_hold() -> None:
    dice = random.Random(11)
    odd: list[Any] = [None, "", "nan", "\0", "\ud800", "9" * 5000, b"x", 10**30, 10**5000, 1e308, float("nan"), True]
    odd += [[], [[]], {}, {"a": {}}, [None], object(), 1j, Decimal("NaN"), Decimal("1E+99999"), timedelta(1), ROW]
    odd += [pd.NaT, pd.NA, date.min, datetime.max, datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))]
    odd += [[{"type": 3}], [{"type": "photo", "url": pd.NA}], [{"type": "video", "variants": [3]}]]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    odd += [deep, [{"type": deep}], [{"type": "gif", "variants": [{"url": "a.mp4", "contentType": deep}]}]]
    unique, kinds, count = Deduplicator(), Counter[str](), 4000
    everything = []
    for number in range(count):
        row: dict[str, Any] = ROW | {"id": str(dice.randrange(3000))}
        for name in dice.sample([*ROW, "split", "keywords", "other"], dice.randrange(3)):
            row[name] = dice.choice(odd)
        if dice.random() < 0.02:
            row.pop(dice.choice(list(row)))
        parsed = unique.admit(parse_row(row, number, CONFIG), row, number)
        kinds["post" if isinstance(parsed, Post) else parsed.reason.split(":")[0]] += 1
        everything.append(parsed)
    posts = to_table([p for p in everything if isinstance(p, Post)], POSTS)
    rejected = to_table([p for p in everything if isinstance(p, Rejected)], REJECTED)
    assert posts.num_rows + rejected.num_rows == count
    assert kinds["post"] > 1000 and kinds["duplicate id"] > 100 and kinds["bad media"] > 100


def test_a_file_becomes_posts_and_rejected_rows(tmp_path: Path) -> None:
    lines = [ROW | {"id": n, "media": [{"type": "photo", "fullUrl": "a.jpg"}]} for n in range(5)]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, [*lines, lines[0]])) + "\n{broken")
    unique = Deduplicator()
    rows = [row for chunk in read_table(str(tmp_path / "posts.jsonl"), 2) for row in chunk]
    check_columns(rows[0])
    parsed = [unique.admit(parse_row(row, n, CONFIG), row, n) for n, row in enumerate(rows)]
    assert [type(p) for p in parsed] == [Post] * 5 + [Rejected] * 2
    assert [p.reason for p in parsed if isinstance(p, Rejected)] == [
        "duplicate id",
        "bad row: not a JSON object: {broken",
    ]
