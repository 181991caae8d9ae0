"""One media reader for all tests in this folder, because starting the decoder process takes two seconds."""

from collections.abc import Iterator

import pytest

from tests.support.media_reader import ReaderHarness


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
    harness = ReaderHarness(tmp_path_factory.mktemp("media"))
    with harness.reader:
        yield harness
