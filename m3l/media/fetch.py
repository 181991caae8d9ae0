"""Fetching a media URL into a local file: only from the media root or from allowed hosts, within limits."""

import asyncio
import posixpath
import re
import socket
import ssl
import tempfile
import time
from functools import cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from pyarrow import fs

from m3l.config import MediaConfig
from m3l.media.errors import MediaError

MAX_REDIRECTS = 3
CHUNK_BYTES = 2**20
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def fetch(url: str, folder: Path, config: MediaConfig, media_root: str | None = None) -> Path:
    """The local file that a URL refers to.

    Args:
        url: A path or file: URL below `media_root`, or an https: URL on one of `config.allowed_hosts`.
        folder: Where a copy goes if the file is not local.
        config: Allowed hosts, `max_bytes`, and `fetch_timeout_s` for the whole transfer.
        media_root: A local folder or a storage URI such as s3://...; None: local paths are refused.

    Raises:
        MediaError: `not_allowed`, `not_found`, `too_big`, `timeout` or `fetch_failed`.
    """
    scheme_match = _SCHEME.match(url)
    match scheme_match and scheme_match[1].lower():
        case "https":
            return _download(url, folder, config)
        case None:
            path = url
        case "file" if url[5:7] != "//" or url[5:8] == "///":
            path = unquote(url[5:].removeprefix("//"))
        case scheme:
            raise MediaError("not_allowed", f"{scheme}: URLs are not supported")
    if media_root is None:
        raise MediaError("not_allowed", "a local path, but paths.media_root is not set")
    if "://" in media_root:
        return _copy_from_storage(media_root, path, folder, config)
    return _local_file(Path(media_root), path, config)


def _local_file(root: Path, path: str, config: MediaConfig) -> Path:
    try:
        root = root.resolve()
        file = (root / path).resolve()  # an absolute path replaces the root, and is checked like any other
        if not file.is_relative_to(root):
            raise MediaError("not_allowed", "outside of paths.media_root")
        if not file.is_file():
            raise MediaError("not_found", "no such file below paths.media_root")
        _check_size(file.stat().st_size, config)
    except (OSError, ValueError, RuntimeError):  # unreadable, a NUL byte in the path, a loop of links
        raise MediaError("not_found", "cannot be read") from None
    return file


def _copy_from_storage(root: str, path: str, folder: Path, config: MediaConfig) -> Path:
    relative = posixpath.normpath(path)
    if relative.startswith(("/", "../")) or relative == "..":
        raise MediaError("not_allowed", "outside of paths.media_root")
    deadline = time.monotonic() + config.fetch_timeout_s
    try:
        store, base = fs.FileSystem.from_uri(root)
        info = store.get_file_info(f"{base.rstrip('/')}/{relative}")
        if info.type != fs.FileType.File:
            raise MediaError("not_found", "no such file below paths.media_root")
        _check_size(info.size, config)
        with store.open_input_stream(info.path) as stream, _new_file(folder) as file:
            while chunk := stream.read(CHUNK_BYTES):
                _append(chunk, file, config)
                if time.monotonic() > deadline:
                    raise _timeout_error(config)
    except (OSError, ValueError) as error:
        raise MediaError("fetch_failed", error) from None
    return Path(file.name)


def _download(url: str, folder: Path, config: MediaConfig) -> Path:
    async def within_time() -> Path:
        # One limit for name resolution, handshakes, redirects and all chunks: with a limit for each read, a server
        # that sends a byte now and then could go on for days.
        async with asyncio.timeout(config.fetch_timeout_s):
            return await _get(url, folder, config)

    try:
        return asyncio.run(within_time())
    except TimeoutError:
        raise _timeout_error(config) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise MediaError("fetch_failed", f"{type(error).__name__} {error}") from None


async def _get(url: str, folder: Path, config: MediaConfig) -> Path:
    for _ in range(1 + MAX_REDIRECTS):
        host, address = await _resolve(url, config)
        # Connect to the address that was checked, so that a second DNS answer cannot redirect the connection; the
        # certificate is still checked against the host. Proxies, cookies and netrc are not used.
        async with (
            _client() as client,
            client.stream(
                "GET",
                httpx.URL(url).copy_with(host=address),
                headers={"Host": host, "Accept-Encoding": "identity"},
                extensions={"sni_hostname": host},
            ) as response,
        ):
            if response.has_redirect_location:
                url = urljoin(url, response.headers["location"])
                continue
            if response.status_code in {404, 410}:
                raise MediaError("not_found", f"HTTP {response.status_code}")
            if response.status_code != 200:
                raise MediaError("fetch_failed", f"HTTP {response.status_code}")
            _check_size(int(response.headers.get("content-length", 0)), config)
            with _new_file(folder) as file:
                async for chunk in response.aiter_raw():
                    _append(chunk, file, config)
            return Path(file.name)
    raise MediaError("fetch_failed", f"more than {MAX_REDIRECTS} redirects")


async def _resolve(url: str, config: MediaConfig) -> tuple[str, str]:
    """The host of an allowed URL and its public IP address; raises MediaError `not_allowed` for any other URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "@" in parts.netloc or parts.port not in {None, 443}:
        raise MediaError("not_allowed", "only plain https: URLs on port 443 are allowed")
    if host not in config.allowed_hosts:
        raise MediaError("not_allowed", f"host {host} is not in media.allowed_hosts")
    answers = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in answers]
    if not addresses or not all(map(_is_public, addresses)):
        raise MediaError("not_allowed", f"host {host} has an address in a private network")
    return host, addresses[0]


def _is_public(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_tls_context(), trust_env=False, follow_redirects=False, timeout=None)


@cache  # loading the root certificates takes longer than most downloads
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _check_size(size: int, config: MediaConfig) -> None:
    if size > config.max_bytes:
        raise MediaError("too_big", f"{size:,} bytes, media.max_bytes is {config.max_bytes:,}")


def _new_file(folder: Path) -> IO[bytes]:
    return tempfile.NamedTemporaryFile(dir=folder, delete=False)


def _append(chunk: bytes, file: IO[bytes], config: MediaConfig) -> None:
    file.write(chunk)
    _check_size(file.tell(), config)


def _timeout_error(config: MediaConfig) -> MediaError:
    return MediaError("timeout", f"fetching took longer than media.fetch_timeout_s, {config.fetch_timeout_s:g} s")
