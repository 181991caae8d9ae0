"""Shapes in signatures are checked while tests run; a tiny InstructBLIP, a local Ray, an S3 server."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from jaxtyping import install_import_hook

from tests.support import s3_server

os.environ.update(s3_server.ENVIRONMENT)  # before Ray starts, whose workers inherit it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for tensors this small, threads cost more than they give

# Here, because a module that is imported earlier would carry no checks.
install_import_hook(
    ["m3l.model", "m3l.prompts.collator", "m3l.training.trainer", "m3l.training.task_schedule", "m3l.retriever"],
    "beartype.beartype",
)


@pytest.fixture(scope="session")
def processor() -> Any:
    """The processor of `TINY`; read it only."""
    from m3l.model.build import build_processor
    from tests.support.posts import TINY, WORDS

    return build_processor(TINY.model, WORDS)


@pytest.fixture(scope="session")
def model(processor: Any) -> Any:
    """The model of `TINY` at step 0, in evaluation mode; read it only."""
    from m3l.model.build import build_model
    from tests.support.posts import TINY

    return build_model(TINY.model, processor, seed=0).eval()


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray of our own for every test that needs it, as `m3l` would start it."""
    import ray

    from m3l.config import RayConfig
    from pipelines.runtime.session import connect

    connect(RayConfig())
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an S3 bucket."""
    with s3_server.running(tmp_path_factory.mktemp("s3")) as uri:
        yield uri
