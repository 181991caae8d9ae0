"""How `Service` answers a request, with a fake for the model behind the process boundary."""

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

PREDICTION = Prediction(post_id="1", likes=10, likes_low=5, likes_high=20, caption="Up")


def model(*replies: Prediction | str | Exception) -> SimpleNamespace:
    """A fake deployment handle: each call of `predict` returns or raises the next reply."""
    remaining = iter(replies)

    async def predict(*_: object) -> Prediction | str:
        reply = next(remaining)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return SimpleNamespace(predict=SimpleNamespace(remote=predict))


def simulate(*replies: Prediction | str | Exception) -> float | None:
    service = Service(Config(), model(*replies))
    try:
        draft = DraftWithMedia(username="nasa", posted_at="2021-07-20T15:00")
        return asyncio.run(service.simulate(draft)).likes
    finally:
        service.close()


def test_a_request_is_retried_once_if_the_replica_dies():
    assert simulate(ActorDiedError(), PREDICTION) == 10
    with pytest.raises(HTTPException) as refused:
        simulate(ActorDiedError(), ActorDiedError(), PREDICTION)
    assert refused.value.status_code == 503


def test_a_model_that_only_writes_captions_predicts_no_likes():
    assert simulate(PREDICTION.model_copy(update={"likes": None, "likes_low": None, "likes_high": None})) is None


def test_a_full_queue_gets_429_with_retry_after():
    with pytest.raises(HTTPException) as refused:
        simulate(BackPressureError(num_queued_requests=2, max_queued_requests=2))
    assert refused.value.status_code == 429 and refused.value.headers["Retry-After"]


def test_a_post_that_the_model_fails_on_gets_500():
    with pytest.raises(HTTPException) as refused:
        simulate("RuntimeError")
    assert refused.value.status_code == 500


def test_a_time_without_a_time_zone_is_utc():
    draft = DraftWithMedia(username="nasa", posted_at="2021-07-20T15:00")
    same = DraftWithMedia(username="nasa", posted_at="2021-07-20T17:00+02:00")
    assert draft.posted_at == same.posted_at and draft.posted_at.isoformat() == "2021-07-20T15:00:00+00:00"


def test_uploads_are_deleted_and_their_names_never_used_as_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    headers = Headers({"content-type": "image/jpeg"})
    file = UploadFile(io.BytesIO(b"\xff\xd8 no picture"), filename="../../escaped.jpg", headers=headers)
    service = Service(Config(), model(PREDICTION))
    draft = DraftWithFiles(username="nasa", posted_at="2021-07-20T15:00", files=[file])
    answer = asyncio.run(service.simulate_upload(draft))
    service.close()
    assert answer.media_errors[0].name == "../../escaped.jpg"
    assert list(tmp_path.iterdir()) == []


def test_the_page_loads_nothing_external_and_inserts_no_markup():
    for path in Path(PAGE).iterdir():
        text = path.read_text()
        assert not re.search(r"(https?:)?//(?!\s)[a-z]+\.[a-z]", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", text), path
