"""Fetching: only from the media root or from an allowed host, within limits."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import httpx
import pytest
from pyarrow import fs

from m3l.config import MediaConfig
from m3l.media import fetch as module
from m3l.media.errors import MediaError
from m3l.media.fetch import fetch

HOSTS = ("media.example", "other.example", "127.0.0.1")
CONFIG = MediaConfig(allowed_hosts=HOSTS, max_bytes=1000, fetch_timeout_s=2)
PRIVATE = ("127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]")
Handler = Callable[[httpx.Request], httpx.Response | Coroutine[None, None, httpx.Response]]
Web = Callable[[Handler], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a b%20.jpg").write_bytes(b"inside")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "a.jpg").write_bytes(b"beside")
    return root


def error_kind(url: str, folder: Path, root: Path | str | None = None, config: MediaConfig = CONFIG) -> str:
    with pytest.raises(MediaError) as caught:
        fetch(url, folder, config, None if root is None else str(root))
    assert str(caught.value).startswith(caught.value.kind)
    assert "\n" not in str(caught.value)
    return caught.value.kind


def test_files_below_the_root_are_read_in_place(root: Path, tmp_path: Path) -> None:
    inside = root / "sub" / "a b%20.jpg"
    relative = ["sub/a b%20.jpg", "./sub/../sub/a b%20.jpg", "file:sub/a b%2520.jpg"]
    for url in (*relative, str(inside), inside.as_uri()):
        assert fetch(url, tmp_path, CONFIG, str(root)) == inside.resolve()


def test_files_outside_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "up").symlink_to(tmp_path)
    outside = [
        "../secret.jpg",
        "../root-2/a.jpg",
        "sub/../../secret.jpg",
        "link.jpg",
        "up/secret.jpg",
        "/etc/passwd",
        (tmp_path / "secret.jpg").as_uri(),
        "file:%2e%2e/secret.jpg",
        "file://elsewhere/secret.jpg",
    ]
    assert {url: error_kind(url, tmp_path, root) for url in outside} == dict.fromkeys(outside, "not_allowed")
    assert error_kind("sub/a b%20.jpg", tmp_path, None) == "not_allowed"


def test_only_regular_files_of_bounded_size_are_read(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "pipe.mp4")
    (root / "loop").symlink_to(root / "loop")
    (root / "big.mp4").write_bytes(bytes(1001))
    for url in ("pipe.mp4", "sub", "missing.mp4", "loop", "nul\0.mp4", "x" * 5000):
        assert error_kind(url, tmp_path, root) == "not_found"
    assert error_kind("big.mp4", tmp_path, root) == "too_big"


def test_other_schemes_are_not_read(root: Path, tmp_path: Path) -> None:
    for url in (
        "http://media.example/a.jpg",
        "ftp://media.example/a.jpg",
        "data:image/png;base64,AAAA",
        "concat:a.mp4|b.mp4",
        "s3://bucket/a.mp4",
        "HTTPS://evil.example/a.jpg",
        "https://media.example.evil.example/a.jpg",
        "https://media.example:8443/a.jpg",
        "https://user@media.example/a.jpg",
        "https://media.example@evil.example/a.jpg",
        "https:///a.jpg",
    ):
        assert error_kind(url, tmp_path, root) == "not_allowed", url


def test_the_root_can_be_a_storage_uri(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FileSystem:
        @staticmethod
        def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
            return fs.SubTreeFileSystem(str(root.parent), fs.LocalFileSystem()), "root"

    monkeypatch.setattr(module.fs, "FileSystem", FileSystem)
    copy = fetch("sub/a b%20.jpg", tmp_path, CONFIG, "s3://bucket/root")
    assert copy.parent == tmp_path
    assert copy.read_bytes() == b"inside"
    assert error_kind("../secret.jpg", tmp_path, "s3://bucket/root") == "not_allowed"
    assert error_kind("sub/../../secret.jpg", tmp_path, "s3://bucket/root") == "not_allowed"
    assert error_kind("missing.jpg", tmp_path, "s3://bucket/root") == "not_found"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    """Replaces the network by a handler, and DNS by one public address."""

    def answer(host: str, *_: object, **__: object) -> list[object]:
        address = host if host[0].isdigit() else "93.184.216.34"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    def install(handler: Handler) -> None:
        client = lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler), timeout=None)  # noqa: E731
        monkeypatch.setattr(module, "_client", client)
        monkeypatch.setattr(socket, "getaddrinfo", answer)

    return install


async def one_chunk(body: bytes) -> AsyncIterator[bytes]:
    yield body


def test_the_request_goes_to_the_address_that_was_checked(web: Web, tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://93.184.216.34/a.jpg?name=small"
        assert request.headers["host"] == request.extensions["sni_hostname"] == "media.example"
        return httpx.Response(200, content=one_chunk(b"picture"))

    web(handler)
    assert fetch("https://media.example/a.jpg?name=small", tmp_path, CONFIG).read_bytes() == b"picture"


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_even_for_allowed_hosts(host: str, tmp_path: Path) -> None:
    config = MediaConfig(allowed_hosts=(host.strip("[]"),))
    assert error_kind(f"https://{host}/a.jpg", tmp_path, config=config) == "not_allowed"


def test_redirects_are_checked_again(web: Web, tmp_path: Path) -> None:
    hops = {
        "/1": "/2",
        "/2": "https://other.example/3",
        "/out": "https://evil.example/",
        "/in": "https://127.0.0.1/",
        "/plain": "http://media.example/3",
        "/round": "/round",
    }

    def handler(request: httpx.Request) -> httpx.Response:
        if location := hops.get(request.url.path):
            return httpx.Response(302, headers={"location": location})
        return httpx.Response(200, content=one_chunk(request.headers["host"].encode()))

    web(handler)
    assert fetch("https://media.example/1", tmp_path, CONFIG).read_text() == "other.example"
    for path in ("out", "in", "plain"):
        assert error_kind(f"https://media.example/{path}", tmp_path) == "not_allowed"
    assert error_kind("https://media.example/round", tmp_path) == "fetch_failed"


def test_oversized_and_failed_downloads_are_errors(web: Web, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100)

    def handler(request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/long":
                return httpx.Response(200, headers={"content-length": "1001"}, content=bytes(1001))
            case "/endless":
                return httpx.Response(200, content=endless())
            case "/down":
                raise httpx.ConnectError("down")
        return httpx.Response(int(request.url.path[1:]))

    web(handler)
    expected = {
        "long": "too_big",
        "endless": "too_big",
        "down": "fetch_failed",
        "404": "not_found",
        "500": "fetch_failed",
    }
    assert {path: error_kind(f"https://media.example/{path}", tmp_path) for path in expected} == expected


def test_one_timeout_covers_dns_redirects_headers_and_chunks(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server keeps sending a little, so that no single read would time out."""

    async def drops() -> AsyncIterator[bytes]:
        for _ in range(500):
            await asyncio.sleep(0.02)
            yield b"."

    async def handler(request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/drops":
                return httpx.Response(200, content=drops())
            case "/round":
                await asyncio.sleep(0.2)
                return httpx.Response(302, headers={"location": "/round"})
        await asyncio.sleep(3600)
        raise AssertionError("waited for an hour")

    web(handler)
    config = CONFIG.model_copy(update={"fetch_timeout_s": 0.3})
    for path in ("drops", "round", "headers"):
        assert error_kind(f"https://media.example/{path}", tmp_path, config=config) == "timeout", path
    answer = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: (time.sleep(0.5), answer(*a, **k))[1])
    assert error_kind("https://media.example/drops", tmp_path, config=config) == "timeout"
