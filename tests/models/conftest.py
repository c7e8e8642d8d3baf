"""A way to fetch components in the tests of models."""

import pytest


@pytest.fixture
def fetch(server):
    """Fetch a component from the imitation."""
    from addsr_cli.models import hub

    return lambda component, **more: hub.fetch(component, offline=False, endpoint=server.endpoint, **more)
