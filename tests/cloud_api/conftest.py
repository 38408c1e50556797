"""Meta on loopback for the tests of the channel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.messaging.meta import Meta, meta_on_loopback


@pytest.fixture
def meta(settings) -> Iterator[Meta]:
    """Meta on loopback, which the product takes for the real one."""
    with meta_on_loopback() as server:
        settings.SIGMA_GRAPH_URL = server.graph_url
        yield server
