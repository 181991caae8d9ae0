"""One request's way, with a stand-in for the model across the process boundary."""

import asyncio
import io
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import UploadFile
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from m3l.config import Config
from m3l.data.records import Prediction
from serve_app.routes import PAGE
from serve_app.schemas import DraftWithFiles, DraftWithMedia
from serve_app.service import Service

TOLD = Prediction(post_id="1", likes=10, likes_low=5, likes_high=20, caption="Up")


def model(*replies: Prediction | str | Exception) -> SimpleNamespace:
    """A handle whose `tell` gives one reply after the other."""
    left = iter(replies)

    async def tell(*_: object) -> Prediction | str:
        reply = next(left)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return SimpleNamespace(tell=SimpleNamespace(remote=tell))


def simulate(*replies: Prediction | str | Exception) -> float | None:
    service = Service(Config(), model(*replies))
    try:
        draft = DraftWithMedia(username="nasa", posted_at="2021-07-20T15:00")
        return asyncio.run(service.simulate(draft)).likes
    finally:
        service.close()


def test_a_replica_that_dies_is_asked_again_once():
    assert simulate(ActorDiedError(), TOLD) == 10
    with pytest.raises(HTTPException) as refused:
        simulate(ActorDiedError(), ActorDiedError(), TOLD)
    assert refused.value.status_code == 503


def test_a_model_of_captions_alone_tells_no_likes():
    assert simulate(TOLD.model_copy(update={"likes": None, "likes_low": None, "likes_high": None})) is None


def test_a_full_queue_says_when_to_come_back():
    with pytest.raises(HTTPException) as refused:
        simulate(BackPressureError(num_queued_requests=2, max_queued_requests=2))
    assert refused.value.status_code == 429 and refused.value.headers["Retry-After"]


def test_a_post_that_the_model_fails_on_is_an_error_of_ours():
    with pytest.raises(HTTPException) as refused:
        simulate("RuntimeError")
    assert refused.value.status_code == 500


def test_a_time_without_a_zone_is_utc():
    draft = DraftWithMedia(username="nasa", posted_at="2021-07-20T15:00")
    same = DraftWithMedia(username="nasa", posted_at="2021-07-20T17:00+02:00")
    assert draft.posted_at == same.posted_at and draft.posted_at.isoformat() == "2021-07-20T15:00:00+00:00"


def test_uploads_leave_nothing_behind_and_their_names_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    headers = Headers({"content-type": "image/jpeg"})
    file = UploadFile(io.BytesIO(b"\xff\xd8 no picture"), filename="../../escaped.jpg", headers=headers)
    service = Service(Config(), model(TOLD))
    draft = DraftWithFiles(username="nasa", posted_at="2021-07-20T15:00", files=[file])
    answer = asyncio.run(service.simulate_upload(draft))
    service.close()
    assert answer.media_errors[0].name == "../../escaped.jpg"
    assert list(tmp_path.iterdir()) == []


def test_the_page_refers_to_nothing_outside_and_writes_no_markup():
    for path in Path(PAGE).iterdir():
        text = path.read_text()
        assert not re.search(r"(https?:)?//(?!\s)[a-z]+\.[a-z]", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", text), path
