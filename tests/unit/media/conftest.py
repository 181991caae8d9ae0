"""One desk for the tests of a file: starting the process that decodes takes a second."""

from collections.abc import Iterator

import pytest

from tests.support.media_reader import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("media"))
    with desk.reader:
        yield desk
