"""Middleware around the application: checks key, content type, size and load of a request before its body is read."""

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
    """ASGI middleware that enforces the service's limits and answers refusals as problem+json (RFC 9457).

    Args:
        app: The application to protect.
        config: The limits; paths below /v1/ are subject to them.
        key: The `digest` of the API key; None: no key is needed.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, key: bytes | None = None) -> None:
        self.app, self.config, self.key = app, config, key
        self.max_open = config.max_ongoing_requests + config.max_queued_requests
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        response_started = False

        async def reply(message: Message) -> None:
            nonlocal response_started
            if message["type"] == "http.response.start":
                response_started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            if scope["path"].startswith(GUARDED):
                await self._guarded(scope, receive, reply)
            else:
                await self.app(scope, receive, reply)
        except Exception as error:
            if response_started:
                raise
            refusal = (
                error
                if isinstance(error, HTTPException)
                else HTTPException(500, "internal error; see the server's log")
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
            raise HTTPException(504, f"no answer within {self.config.request_timeout_s:g} s") from None
        finally:
            self.open -= 1

    def _check(self, scope: Scope, headers: Headers) -> None:
        if self.key and not hmac.compare_digest(digest(_presented_key(headers)), self.key):
            raise HTTPException(401, "send the API key as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"})
        expected = BODIES.get(scope["path"])
        if expected and scope["method"] == "POST" and headers.get("content-type", "").split(";")[0] != expected:
            raise HTTPException(415, f"the body must be {expected}")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.config.max_upload_bytes:
            raise self._too_large()
        if self.open >= self.max_open:
            raise HTTPException(429, "busy: the queue is full", {"Retry-After": "2"})

    def _counted(self, receive: Receive) -> Receive:
        received_bytes = 0

        async def counted() -> Message:  # chunked bodies declare no length
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self.config.max_upload_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"a request may have at most {self.config.max_upload_bytes:,} bytes")


def problem(scope: Scope, refusal: HTTPException, errors: list[str] | None = None) -> Response:
    """Build the problem+json response (RFC 9457) of a refused request.

    Args:
        scope: The ASGI scope of the request.
        refusal: Status, detail and headers of the response.
        errors: One message per wrong field, for status 422.
    """
    body = Problem(
        title=HTTPStatus(refusal.status_code).phrase,
        status=refusal.status_code,
        detail=refusal.detail,
        instance=scope["path"],
        request_id=Headers(scope=scope).get("x-request-id"),  # set by Serve's proxy, which also echoes it
        errors=errors,
    )
    headers: Mapping[str, str] = refusal.headers or {}
    return Response(
        body.model_dump_json(exclude_none=True),
        refusal.status_code,
        headers,
        media_type="application/problem+json",
    )


def digest(key: str) -> bytes:
    """The SHA-256 of a key: only this leaves the environment, never the key itself."""
    return hashlib.sha256(key.encode()).digest()


def _presented_key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
