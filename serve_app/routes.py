"""The routes: the API, its health checks, the description of the model, and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from serve_app.middleware import problem
from serve_app.schemas import Answer, DraftWithFiles, DraftWithMedia, Problem
from serve_app.service import Service

PAGE = Path(__file__).parent / "page"
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, description in {
        401: "the API key is missing or wrong",
        413: "the request is too large",
        415: "a file is neither image nor video, or the body has the wrong content type",
        422: "a field is invalid; `errors` names each",
        429: "busy; try again after Retry-After seconds",
        504: "no answer within the time limit",
    }.items()
}


def application(service: Service, about: dict[str, Any]) -> FastAPI:
    """Build the web application around a service.

    Args:
        service: Answers the drafts; closed when the application shuts down.
        about: The description of the model, answered at /v2/models/m3l.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="M3L",
        version=about["versions"][0],
        description="Predicts how many likes a post will get, and writes a caption for it.",
        docs_url=None,  # FastAPI's own page loads scripts from a CDN
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.post(
        "/v1/simulate", responses=REFUSALS, summary="Predict a post whose media are given by URL, or that has none"
    )
    async def simulate(draft: DraftWithMedia) -> Answer:
        return await service.simulate(draft)

    @app.post("/v1/simulate/upload", responses=REFUSALS, summary="Predict a post whose media are uploaded")
    async def simulate_upload(
        draft: Annotated[DraftWithFiles, Form(media_type="multipart/form-data")],
    ) -> Answer:
        return await service.simulate_upload(draft)

    @app.get("/v2/health/live", summary="Whether the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether the model answers: 200, else 503")
    async def ready() -> Response:
        is_ready = await service.ready()
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @app.get("/v2/models/m3l", summary="The model and how it was trained")
    async def model() -> dict[str, Any]:
        return about

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def _refused(request: Request, error: Any) -> Response:
    return problem(request.scope, error)


async def _invalid(request: Request, error: Any) -> Response:
    messages = [f"{_location(e) or 'body'}: {e['msg']}" for e in error.errors()]
    return problem(request.scope, HTTPException(422, messages[0]), messages)


def _location(error: dict[str, Any]) -> str:
    parts = () if error["type"] == "json_invalid" else error["loc"][1:]  # the first part is always "body"
    return ".".join(map(str, parts))
