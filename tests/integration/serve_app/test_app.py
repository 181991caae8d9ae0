"""The deployed service over HTTP: Ray Serve, a real bundle, real media."""

import base64
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from math import log1p
from pathlib import Path

import httpx
import pytest

from m3l.config import Config, MediaConfig, Paths, RayConfig, ServeConfig
from m3l.data.records import Media, Post
from m3l.media.reader import read_key_frames
from pipelines.serve import deployed

DRAFT = {"username": "nasa", "posted_at": "2021-07-20T15:00:00Z", "caption": "Sunrise"}
LIMIT = 300_000


@pytest.fixture(scope="module")
def service(
    local_ray: None, tiny_bundle: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of the running service, whose media root contains clip.mp4."""
    root = tmp_path_factory.mktemp("root")
    shutil.copy(video, root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = Config(
        paths=Paths(bundle=str(tiny_bundle), media_root=str(root)),
        serve=ServeConfig(port=port, max_upload_bytes=LIMIT, api_key_env="M3L_TEST_KEY"),
        ray=RayConfig(frames_cpus=0.5),
        media=MediaConfig(allowed_hosts=("allowed.example",)),
    )
    with deployed(config) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_an_uploaded_video_gets_likes_a_caption_and_frames(service, video):
    answer = service.post("/v1/simulate/upload", data=DRAFT, files={"files": video.open("rb")}).json()
    assert 0 <= answer["likes_low"] < answer["likes"] < answer["likes_high"]
    assert [interval["level"] for interval in answer["intervals"]] == [50, 80, 95]
    assert isinstance(answer["caption"], str)
    assert answer["error"] is None and answer["media_errors"] == []
    assert 1 <= len(answer["frames"]) <= 3
    times = [frame["time_s"] for frame in answer["frames"]]
    assert times == sorted(times) and times[-1] < 2
    kind, _, image = answer["frames"][0]["image"].partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(image).startswith(b"\xff\xd8")


def test_online_predictions_equal_offline_ones_even_in_a_batch(service, tiny_bundle, video):
    from m3l.inference.simulator import Simulator

    media = Media(kind="video", url="clip.mp4")
    post = Post(
        post_id="1", username="nasa", posted_at=datetime(2021, 7, 20, 15, tzinfo=UTC), caption="Sunrise", media=(media,)
    )
    read = read_key_frames(media, MediaConfig(), str(video.parent))
    offline = Simulator.load(str(tiny_bundle)).simulate([post], [[read]])[0]
    asked = DRAFT | {"media": [{"kind": "video", "url": "clip.mp4"}]}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.post("/v1/simulate", json=asked).json(), range(4)))
    for online in answers:
        assert online["likes"] == pytest.approx(offline.likes, rel=1e-3)
        assert online["caption"] == offline.caption
        assert [frame["time_s"] for frame in online["frames"]] == [frame.time_s for frame in offline.frames]


def test_a_post_without_media_is_predicted_and_the_answer_says_so(service):
    answer = service.post("/v1/simulate", json=DRAFT).json()
    assert answer["likes"] > 0 and answer["frames"] == []
    assert answer["error"]


def test_a_new_account_gets_no_intervals_if_none_were_calibrated(service):
    answer = service.post("/v1/simulate", json=DRAFT | {"username": "stranger"}).json()
    assert answer["likes"] > 0 and answer["intervals"] == []
    assert answer["likes_low"] is None and answer["likes_high"] is None


def test_urls_that_are_not_allowed_are_listed_and_never_fetched(service):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        port = trap.getsockname()[1]
        urls = [f"http://127.0.0.1:{port}/a.jpg", f"https://127.0.0.1:{port}/a.jpg", "file:///etc/hostname", "../a.jpg"]
        media = [{"kind": "image", "url": url} for url in urls]
        response = service.post("/v1/simulate", json=DRAFT | {"media": media})
        with pytest.raises(TimeoutError):
            trap.accept()
    assert response.status_code == 200
    assert [item["name"] for item in response.json()["media_errors"]] == urls
    assert all(item["error"].startswith("not_allowed") for item in response.json()["media_errors"])


def test_a_corrupt_file_is_listed_and_the_others_are_used(service, video):
    files = [("files", ("broken.jpg", b"\xff\xd8 no picture")), ("files", ("clip.mp4", video.read_bytes()))]
    answer = service.post("/v1/simulate/upload", data=DRAFT, files=files).json()
    assert [item["name"] for item in answer["media_errors"]] == ["broken.jpg"]
    assert answer["frames"]


def test_an_answer_is_explained_on_request(service, video):
    files = [("files", ("clip.mp4", video.read_bytes()))]
    assert service.post("/v1/simulate/upload", data=DRAFT, files=files).json()["why"] is None
    answer = service.post("/v1/simulate/upload", data=DRAFT | {"why": True}, files=files).json()
    by_part = {effect["part"]: effect for effect in answer["why"]}
    assert {"media", "username", "posted_at", "frame"} <= by_part.keys()
    assert sum(effect["part"] == "frame" for effect in answer["why"]) == len(answer["frames"])
    without_media = service.post("/v1/simulate", json=DRAFT).json()
    change = log1p(answer["likes"]) - log1p(without_media["likes"])
    assert by_part["media"]["effect"] == pytest.approx(change, abs=1e-3)


def test_a_body_above_the_limit_is_refused_with_or_without_a_declared_length(service):
    large = b'{"username": "' + b"x" * LIMIT + b'"}'
    for content in (large, iter([large[: LIMIT // 2], large[LIMIT // 2 :]])):
        response = service.post("/v1/simulate", content=content, headers={"content-type": "application/json"})
        assert_problem(response, 413)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"{}", "username"),
        (b'{"username": "a", "posted_at": "yesterday"}', "posted_at"),
        (b'{"username": "a", "posted_at": "2021-07-20T15:00Z", "likes": -1}', "likes"),
        (b'{"username": "a", "posted_at": "2021-07-20T15:00Z", "captoin": "x"}', "captoin"),
        (
            b'{"username": "a", "posted_at": "2021-07-20T15:00Z", "media": [{"kind": "pdf", "url": "x"}]}',
            "media.0.kind",
        ),
    ],
)
def test_an_invalid_field_is_named(service, body, field):
    response = service.post("/v1/simulate", content=body, headers={"content-type": "application/json"})
    assert_problem(response, 422)
    assert response.json()["errors"][0].startswith(f"{field}:")


def test_other_content_types_are_refused(service):
    assert_problem(service.post("/v1/simulate", content=b"username=nasa"), 415)
    text = {"files": ("notes.txt", b"words", "text/plain")}
    assert_problem(service.post("/v1/simulate/upload", data=DRAFT, files=text), 415)


def test_every_response_has_exactly_one_request_id(service):
    assert service.get("/nowhere", headers={"x-request-id": "mine"}).headers.get_list("x-request-id") == ["mine"]
    response = service.get("/nowhere")
    assert_problem(response, 404)
    assert response.headers.get_list("x-request-id") == [response.json()["request_id"]]


def test_health_checks_and_the_description_of_the_model(service):
    assert service.get("/-/healthz").status_code == 200
    assert service.get("/v2/health/live").json() == {"live": True}
    assert service.get("/v2/health/ready").json() == {"ready": True}
    model = service.get("/v2/models/m3l").json()
    assert (model["name"], model["config"]) == ("m3l", "tiny-test")
    assert [task["masked"] for task in model["tasks"]] == ["caption", "likes"]
    assert model["training"]["intervals"]["known"]["rows"] == 40
    assert model["training"]["accounts"] == 1
    assert {"/v1/simulate", "/v1/simulate/upload"} <= service.get("/openapi.json").json()["paths"].keys()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_have_a_strict_content_security_policy(service, path):
    response = service.get(path)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    assert "default-src 'self'; img-src 'self' data: blob:" in response.headers["content-security-policy"]
    assert service.get("/page/style.css").status_code == service.get("/page/page.js").status_code == 200


def test_a_killed_model_replica_is_replaced(service):
    import ray

    model = next(actor for actor in ray.util.list_named_actors(all_namespaces=True) if "#Model#" in actor["name"])
    ray.kill(ray.get_actor(**model), no_restart=True)
    response = service.post("/v1/simulate", json=DRAFT)
    assert response.status_code in {200, 503}
    if response.status_code == 503:
        assert_problem(response, 503)
        assert int(response.headers["retry-after"]) > 0
    done = threading.Event()
    for _ in range(60):
        if service.get("/v2/health/ready").status_code == 200:
            break
        done.wait(0.5)
    assert service.post("/v1/simulate", json=DRAFT).status_code == 200


def assert_problem(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= response.json().keys()
