"""Fixtures that the tiers share; shapes in signatures are checked while the tests run."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

from tests.support import s3_server

os.environ.update(s3_server.ENVIRONMENT)  # before Ray starts, whose workers inherit it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for tensors this small, threads cost more than they give

UNIT = Path(__file__).with_name("unit")
TRAINING = [f"m3l.training.{name}" for name in ("trainer", "batches", "augment", "loss", "optim", "task_schedule")]
CHECKED = ["m3l.model", "m3l.prompts.collator", *TRAINING, "m3l.retriever"]
assert all(map(find_spec, CHECKED)), "a module of CHECKED has moved"
install_import_hook(CHECKED, "beartype.beartype")  # here: a module that is imported earlier carries no checks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A unit test has 60 s unless it asks for more; the others have what pyproject.toml says."""
    for item in items:
        if UNIT in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(60))


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
    """One local Ray for every test that needs it, started as `m3l` starts it."""
    import ray

    from m3l.config import RayConfig
    from pipelines.runtime.session import connect

    connect(RayConfig())
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Any:
    """One walk through the pipeline; read it only. Here, because a killed sweep is compared with the walk's."""
    from tests.support.walk import walk

    return walk(tmp_path_factory.mktemp("walk"))


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an S3 bucket on a real server."""
    with s3_server.running(tmp_path_factory.mktemp("s3")) as uri:
        yield uri
