"""Which requests `Guard` passes on to the application, and how it refuses the others."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from m3l.config import ServeConfig
from serve_app.middleware import Guard, digest

JSON = {"content-type": "application/json"}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.3)
    await hello(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("an internal secret")


def ask(app: Guard, *headers: dict[str, str], path: str = "/v1/simulate") -> list[httpx.Response]:
    """The responses to one request per set of headers, all sent at the same time."""

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://m3l") as client:
            return await asyncio.gather(*(client.post(path, content=b"{}", headers=JSON | h) for h in headers))

    return asyncio.run(all_at_once())


def statuses(responses: list[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


def test_every_api_request_needs_the_key_if_one_is_set():
    guard = Guard(hello, ServeConfig(), digest("sésame"))
    headers: list[dict[Any, Any]] = [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic sésame".encode()},
        {"authorization": "Bearer sésame".encode("latin-1")},
        {"x-api-key": "sésame".encode("latin-1")},
    ]
    responses = ask(guard, *headers)
    assert statuses(responses) == [401, 401, 401, 200, 200]
    assert responses[0].headers["www-authenticate"] == "Bearer"
    assert responses[0].headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/openapi.json"])
def test_health_checks_and_page_need_no_key(path):
    assert statuses(ask(Guard(hello, ServeConfig(), digest("key")), {}, path=path)) == [200]


def test_requests_beyond_the_queue_get_429_with_retry_after_and_the_queue_empties_again():
    guard = Guard(slow, ServeConfig(max_ongoing_requests=1, max_queued_requests=1))
    responses = ask(guard, {}, {}, {})
    assert statuses(responses) == [200, 200, 429]
    assert int(responses[2].headers["retry-after"]) > 0
    assert statuses(ask(guard, {})) == [200]


def test_a_request_that_times_out_gets_504_and_leaves_the_queue():
    guard = Guard(slow, ServeConfig(request_timeout_s=0.05))
    assert statuses(ask(guard, {})) == [504]
    assert guard.open == 0


def test_an_internal_error_reveals_no_details():
    (response,) = ask(Guard(broken, ServeConfig()), {})
    assert response.status_code == 500
    assert "secret" not in response.text and response.json()["title"] == "Internal Server Error"
