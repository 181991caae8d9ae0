"""The routes: the API, its health and description, and the page."""

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
        "description": why,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, why in {
        401: "no key, or a wrong one",
        413: "too large",
        415: "neither image nor video, or another kind of body",
        422: "a field is wrong: `errors` says which",
        429: "busy: try again after Retry-After seconds",
        504: "no answer in time",
    }.items()
}


def application(service: Service, about: dict[str, Any]) -> FastAPI:
    """The web application around a service; `about` describes the model that answers."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="M3L",
        version=about["versions"][0],
        description="How many likes a post will get, and the caption that suits it.",
        docs_url=None,  # FastAPI's own loads from a CDN
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.post("/v1/simulate", responses=REFUSALS, summary="Media by URL, or none")
    async def simulate(draft: DraftWithMedia) -> Answer:
        return await service.simulate(draft)

    @app.post("/v1/simulate/upload", responses=REFUSALS, summary="Media as files")
    async def simulate_upload(
        draft: Annotated[DraftWithFiles, Form(media_type="multipart/form-data")],
    ) -> Answer:
        return await service.simulate_upload(draft)

    @app.get("/v2/health/live", summary="The process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="The model answers: 200, else 503")
    async def ready() -> Response:
        answers = await service.ready()
        return JSONResponse({"ready": answers}, 200 if answers else 503)

    @app.get("/v2/models/m3l", summary="Which model this is, and what it was trained on")
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
    found = [(e["msg"], () if e["type"] == "json_invalid" else e["loc"][1:]) for e in error.errors()]
    wrong = [f"{'.'.join(map(str, where)) or 'body'}: {what}" for what, where in found]
    return problem(request.scope, HTTPException(422, wrong[0]), wrong)
