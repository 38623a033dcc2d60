"""What several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bucket import Bucket, running_bucket
from tests.emulator import Emulator, running_emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """A BigQuery emulator that all tests of the session talk to."""
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of Cloud Storage; processes started by the module's tests find it."""
    with running_bucket(tmp_path_factory.mktemp("credentials")) as bucket:
        yield bucket
