"""A media URL as a local file: only from the media root or from the hosts on the list, within limits."""

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
    """The local file of a URL: itself where it lies below `media_root`, else a copy in `folder`.

    Relative paths and file: URLs are looked up below `media_root` (a folder, or a store such as s3://...),
    and https: URLs on `config.allowed_hosts`; all else is a MediaError `not_allowed`.
    """
    found = _SCHEME.match(url)
    match found and found[1].lower():
        case "https":
            return _download(url, folder, config)
        case None:
            path = url
        case "file" if url[5:7] != "//" or url[5:8] == "///":
            path = unquote(url[5:].removeprefix("//"))
        case scheme:
            raise MediaError("not_allowed", f"{scheme}: URLs like this are not read")
    if media_root is None:
        raise MediaError("not_allowed", "a local path, and no paths.media_root is set")
    if "://" in media_root:
        return _copy(media_root, path, folder, config)
    return _local(Path(media_root), path, config)


def _local(root: Path, path: str, config: MediaConfig) -> Path:
    try:
        root = root.resolve()
        found = (root / path).resolve()  # an absolute path replaces the root, and is judged like any other
        if not found.is_relative_to(root):
            raise MediaError("not_allowed", "outside of paths.media_root")
        if not found.is_file():
            raise MediaError("not_found", "no such file below paths.media_root")
        _check_size(found.stat().st_size, config)
    except (OSError, ValueError, RuntimeError):  # unreadable, a NUL byte, a loop of links
        raise MediaError("not_found", "cannot be read") from None
    return found


def _copy(root: str, path: str, folder: Path, config: MediaConfig) -> Path:
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
                    raise _too_slow(config)
    except (OSError, ValueError) as error:
        raise MediaError("fetch_failed", error) from None
    return Path(file.name)


def _download(url: str, folder: Path, config: MediaConfig) -> Path:
    async def within_time() -> Path:
        # Over names, handshakes, redirects and all chunks: a limit of each read lets a server that sends a byte
        # now and then go on for days.
        async with asyncio.timeout(config.fetch_timeout_s):
            return await _get(url, folder, config)

    try:
        return asyncio.run(within_time())
    except TimeoutError:
        raise _too_slow(config) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise MediaError("fetch_failed", f"{type(error).__name__} {error}") from None


async def _get(url: str, folder: Path, config: MediaConfig) -> Path:
    for _ in range(1 + MAX_REDIRECTS):
        host, address = await _checked(url, config)
        # The connection goes to the address that was checked, so that a second answer of the DNS cannot
        # move it; the certificate is still the host's. No proxy, cookie or netrc of ours takes part.
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


async def _checked(url: str, config: MediaConfig) -> tuple[str, str]:
    """The host of an allowed URL and the global address to reach it at; MediaError `not_allowed`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "@" in parts.netloc or parts.port not in {None, 443}:
        raise MediaError("not_allowed", "only plain https: URLs on port 443 are read")
    if host not in config.allowed_hosts:
        raise MediaError("not_allowed", f"host {host} is not in media.allowed_hosts")
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    addresses = [str(place[0]) for *_, place in found]
    if not addresses or not all(map(_is_global, addresses)):
        raise MediaError("not_allowed", f"host {host} has an address inside a private network")
    return host, addresses[0]


def _is_global(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_tls(), trust_env=False, follow_redirects=False, timeout=None)


@cache  # loading the root certificates takes longer than most requests
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _check_size(size: int, config: MediaConfig) -> None:
    if size > config.max_bytes:
        raise MediaError("too_big", f"{size:,} bytes, media.max_bytes is {config.max_bytes:,}")


def _new_file(folder: Path) -> IO[bytes]:
    return tempfile.NamedTemporaryFile(dir=folder, delete=False)


def _append(chunk: bytes, file: IO[bytes], config: MediaConfig) -> None:
    file.write(chunk)
    _check_size(file.tell(), config)


def _too_slow(config: MediaConfig) -> MediaError:
    return MediaError("timeout", f"no whole file in media.fetch_timeout_s, {config.fetch_timeout_s:g} s")
