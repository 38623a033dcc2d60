"""What several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator import Emulator, running_emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """A BigQuery emulator that all tests of the session talk to."""
    with running_emulator() as emulator:
        yield emulator
