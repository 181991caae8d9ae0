"""Around the application: the key, type, size, load and time of a request, judged before its body is read."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m3l.config import ServeConfig
from serve_app.schemas import Problem

logger = logging.getLogger("ray.serve")
GUARDED = "/v1/"
BODIES = {"/v1/simulate": "application/json", "/v1/simulate/upload": "multipart/form-data"}
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """An ASGI application inside its limits; every refusal is a problem+json. `key` is the key's `digest`."""

    def __init__(self, app: ASGIApp, config: ServeConfig, key: bytes | None = None) -> None:
        self.app, self.config, self.key = app, config, key
        self.places = config.max_ongoing_requests + config.max_queued_requests
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def reply(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            if scope["path"].startswith(GUARDED):
                await self._guarded(scope, receive, reply)
            else:
                await self.app(scope, receive, reply)
        except Exception as error:
            if started:
                raise
            refusal = (
                error if isinstance(error, HTTPException) else HTTPException(500, "a mistake of ours; it is logged")
            )
            if refusal is not error:
                logger.exception("%s failed", scope["path"])
            await problem(scope, refusal)(scope, receive, reply)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check(scope, headers)
        self.open += 1
        try:
            async with asyncio.timeout(self.config.request_timeout_s):
                await self.app(scope, self._counted(receive), send)
        except TimeoutError:
            raise HTTPException(504, f"no answer in {self.config.request_timeout_s:g} s") from None
        finally:
            self.open -= 1

    def _check(self, scope: Scope, headers: Headers) -> None:
        if self.key and not hmac.compare_digest(digest(_given(headers)), self.key):
            raise HTTPException(401, "give the key as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"})
        expected = BODIES.get(scope["path"])
        if expected and scope["method"] == "POST" and headers.get("content-type", "").split(";")[0] != expected:
            raise HTTPException(415, f"the body must be {expected}")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.config.max_upload_bytes:
            raise self._too_large()
        if self.open >= self.places:
            raise HTTPException(429, "busy: every place in the queue is taken", {"Retry-After": "2"})

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:  # chunked bodies declare no length
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.config.max_upload_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"a request may have {self.config.max_upload_bytes:,} bytes")


def problem(scope: Scope, refusal: HTTPException, errors: list[str] | None = None) -> Response:
    """The refusal as RFC 9457's problem+json."""
    told = Problem(
        title=HTTPStatus(refusal.status_code).phrase,
        status=refusal.status_code,
        detail=refusal.detail,
        instance=scope["path"],
        request_id=Headers(scope=scope).get("x-request-id"),  # Serve's proxy makes one, and echoes it
        errors=errors,
    )
    headers: Mapping[str, str] = refusal.headers or {}
    return Response(
        told.model_dump_json(exclude_none=True),
        refusal.status_code,
        headers,
        media_type="application/problem+json",
    )


def digest(key: str) -> bytes:
    """What is kept of a key, so that the key itself never leaves the environment."""
    return hashlib.sha256(key.encode()).digest()


def _given(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
