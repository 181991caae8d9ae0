import re
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from m3l.report.build import build_report
from m3l.report.headlines import headlines
from m3l.report.labels import compact, number
from m3l.report.tables import tables

LIKES = {
    "r2_log1p": {"model": 0.87, "model_without_media": 0.55, "trees_metadata": 0.66, "noise_floor": 0.94},
    "rmse": {"model": 92.0, "trees_metadata": 151.0},
}


@cache
def jpeg() -> bytes:
    """Noise, the image that compresses worst."""
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(360, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def gallery_post(**fields: Any) -> dict[str, Any]:
    frames = [
        {"image": jpeg(), "time_s": t, "score": 0.3, "effect": 0.01, "shows": ["cat"] if t < 2 else []}
        for t in range(10)
    ]
    post = {
        "post_id": "1",
        "username": "brand",
        "posted_at": "2020-07-19T00:07:00Z",
        "caption": "a cat",
        "actual_caption": "the cat",
        "likes": 1234.4,
        "likes_low": 800.0,
        "likes_high": 2000.0,
        "actual_likes": 1500,
        "duration_s": 10.0,
        "frames": frames,
        "spans": [{"subject": "cat", "start_s": 0.0, "end_s": 2.0}],
        "cold_account": True,
        "why": [{"part": "media", "effect": 0.405}, {"part": "posted_at", "effect": -0.105}],
    }
    return post | fields


def report_data(points: int = 2000, posts: int = 12) -> dict[str, Any]:
    return {
        "metrics": {
            "likes": LIKES,
            "splits": {
                "test_time": {"likes": LIKES, "intervals": {"likes": {"r2_log1p": {"model": [0.85, 0.89]}}}},
                "mine": {"r2_log1p": {"model": 0.5}},
            },
            "intervals": {"likes": {"r2_log1p": {"model": [0.85, 0.89]}}, "captions": {"bleu4": {"model": [0.5, 0.7]}}},
            "coverage": {
                "overall": {"80": {"measured": 0.81, "posts": 90, "by_chance": [0.7, 0.9]}},
                "cold_accounts": {},
                "calibrated_on": {"known_accounts": 100, "cold_accounts": 20, "cold_rows": "hidden"},
            },
            "why": {
                "posts": 64,
                "size": {"media": 0.5, "caption": 0.1},
                "sign_agreement": {"overall": 0.86},
                "counted": {"overall": 71},
            },
            "captions": {
                "subject_named": {"model": 0.9, "shuffled_media": 0.2},
                "order_right": 0.7,
                "cider": 2.3,
                "bleu4": 0.61,
                "beside": {"nearest_post": {"bleu4": 0.31, "cider": 1.1}, "constant": {"bleu4": 0.01}},
            },
            "retrieval": {
                "recall_at_10": {"model": 0.7, "plain_top": 0.65, "uniform": 0.4},
                "mrr": 0.8,
                "reciprocal_rank": {"model": 0.8, "plain_top": 0.81, "uniform": 0.6},
            },
            "run": {"seed": 0, "posts": 2000, "train_posts": 1546, "seconds": {"train": 410.0}},
        },
        "points": [(float(n), 1.1 * n, ("test_random", "test_time")[n % 2]) for n in range(points)],
        "noise_sd": 0.35,
        "curves": {"train": [{"step": s, "nll": 3 / (s + 1), "mse": None if s % 2 else 1.0} for s in range(90)]},
        "gallery": [gallery_post()] * posts,
        "tune": [{"params": {"train.cut": 50.0}, "objective": 0.81}, {"params": {"train.lr": 0.1}}],
        "comparison": {
            "recall_at_10": {
                "bce0.1-dfr0.9": {"mean": 0.92, "sd": 0.01, "seeds": [0.91, 0.93]},
                "bce1-dfr0": {"mean": 0.71, "sd": 0.02, "seeds": [0.69, 0.73]},
                "uniform": {"mean": 0.65, "sd": 0.0, "seeds": [0.65, 0.65]},
            },
            "mrr": {"bce0.1-dfr0.9": {"mean": 0.97, "sd": 0.0, "seeds": [0.97, 0.97]}},
            "posts": 240,
            "seeds": [0, 1],
        },
        "card": {"Cannot do": "photographs"},
    }


class Page(HTMLParser):
    """Every tag with its attributes, and the text between them."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.inside = "", ""
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside != "style":
            self.words += " " + " ".join(data.split())


def build_page(data: dict[str, Any], folder: Path) -> Page:
    return Page(build_report(data, str(folder)))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return build_page(report_data(), tmp_path_factory.mktemp("report"))


def test_the_page_loads_nothing_from_elsewhere(complete: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in complete.tags}
    for _, attributes in complete.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("data:image/", "#")), attributes
    assert not re.search(r"https?://|@import|url\((?!#)", complete.source)


def test_the_page_shows_all_results_and_stays_small(complete: Page) -> None:
    texts = [
        "87%",
        "+32",
        "boosted trees on metadata: 66%",
        "best possible (noise floor): 94%",
        "1,234 likes",
        "1,500 actual",
    ]
    texts += [
        "0.870 0.850 to 0.890",
        "Likes: later posts",
        "0.610 0.500 to 0.700",
        "The account's previous caption",
        "81% 70% to 90%",
        "New account",
        "All media +50%",
        "Posting time −10%",
        "In 86% of 71 cases",
        "Likes: mine",
        "train: nll",
        "train.cut",
        "photographs",
        "0.1 BCE + 0.9 DFR 0.920 ± 0.010 0.970",
        "BCE only 0.710 ± 0.020 –",
        "on 2 seeds and 240 held-out posts",
        "This model Most similar frames Evenly spaced frames",
        "Recall@10 0.700 0.650 0.400",
    ]
    for text in texts:
        assert text in complete.words, text
    assert sum(tag == "img" for tag, _ in complete.tags) == 120
    assert len(complete.source) < 5_000_000


def test_the_page_is_reproducible(tmp_path: Path) -> None:
    first, again = (build_page(report_data(points=20, posts=1), tmp_path).source for _ in range(2))
    assert first == again


def test_charts_follow_the_light_and_dark_themes(complete: Page) -> None:
    charts = re.findall(r"<svg.*?</svg>", complete.source, re.DOTALL)
    assert len(charts) > 2
    assert not re.search(r"#[0-9a-f]{6}\b", " ".join(charts))


def test_user_written_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> &lt;img src=http://x onerror=1&gt; $\\frac$"
    post = gallery_post(
        username=evil, caption=evil, actual_caption=evil, spans=[{"subject": evil, "start_s": 0, "end_s": 1}]
    )
    page = build_page({"gallery": [post], "card": {evil: evil}, "points": [(1, 2, evil), (3, 4, evil)]}, tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert all((a.get("src") or "data:").startswith("data:") and "onerror" not in a for _, a in page.tags)
    assert "<script>alert(1)</script> &lt;img src" in page.words  # as it was written, entities included


@pytest.mark.parametrize("part", ["metrics", "points", "curves", "gallery", "tune", "comparison", "card", "noise_sd"])
def test_any_part_may_be_missing(part: str, tmp_path: Path) -> None:
    data = {name: value for name, value in report_data(points=20, posts=1).items() if name != part}
    assert "How well" in build_page(data, tmp_path).words


def test_a_report_without_data_is_a_page_with_a_title(tmp_path: Path) -> None:
    page = build_page({}, tmp_path)
    assert "h2" not in {tag for tag, _ in page.tags}
    assert "nan" not in page.words.lower() and "none" not in page.words.lower()


def test_what_was_not_measured_is_left_out_instead_of_shown_as_0(tmp_path: Path) -> None:
    metrics = {
        "likes": {"r2_log1p": {"model": 0.4, "noise_floor": None}, "rmse": {"model": None}},
        "captions": {"subject_named": {"model": None}, "rouge_l": 0.2, "cider": None},
    }
    page = build_page({"metrics": metrics}, tmp_path)
    assert "40%" in page.words and "20%" in page.words
    for absent in ("noise floor", "what is shown", "RMSE", "CIDEr", "of the relevant frames", "0%;"):
        assert absent not in page.words, absent


def test_posts_with_little_data_are_shown(tmp_path: Path) -> None:
    bare = {"post_id": "1", "username": "a", "posted_at": "2020-01-01T00:00:00Z"}
    broken = bare | {"frames": [{"image": b"no picture", "time_s": 0.0}], "likes": 0.0, "spans": None}
    page = build_page({"gallery": [bare, broken]}, tmp_path)
    assert "No frame could be read." in page.words
    assert "img" not in {tag for tag, _ in page.tags}


def test_a_baseline_that_is_better_gives_a_warning() -> None:
    likes = {"r2_log1p": {"model": 0.5, "model_without_media": 0.52, "trees_metadata": 0.6, "account_median": 0.4}}
    r2, media = headlines({"likes": likes})
    assert r2.warning == "It does not beat: boosted trees on metadata."
    assert media.figure == "−2" and media.warning == "The media do not improve the prediction."


def test_the_best_of_each_column_is_marked_but_never_the_noise_floor() -> None:
    (table,) = tables({"likes": LIKES})
    assert table.columns == ["R² (log likes)", "RMSE (likes)"]
    best = {name: [cell.best for cell in cells] for name, cells in table.rows}
    assert best.pop("This model") == [True, True]
    assert not any(map(any, best.values()))


def test_data_of_the_wrong_shape_are_an_error_that_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="gallery"):
        build_report({"gallery": [{"username": "a"}]}, str(tmp_path))


def test_numbers_are_short() -> None:
    assert [compact(v) for v in (7, 950, 1234, 13_200, 999_700, 4.5e6)] == [
        "7",
        "950",
        "1.23k",
        "13k",
        "1M",
        "4.5M",
    ]
    assert [number(v) for v in (None, float("nan"), 12, 0.5, -0.04, 92.1, 7304.2, 1e-4)] == (
        ["–", "–", "12", "0.500", "−0.040", "92.1", "7,304", "0.0001"]
    )
