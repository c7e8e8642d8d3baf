"""An imitation of the Hub for the tests that fetch weights."""

import pytest
from huggingface_hub import close_session, constants


@pytest.fixture
def server(monkeypatch):
    """A Hub with the same files in three repositories, asked without pauses."""
    from hub_samples import FILES
    from loopback import Hub, Repo

    from addsr_cli.models import transfer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    close_session()
    running = Hub()
    running.repos = {f"org/{name}": Repo(dict(FILES)) for name in ("first", "second", "third")}
    yield running
    close_session()
    running.stop()


@pytest.fixture
def fetch(server):
    """Fetch a component from the imitation."""
    from addsr_cli.models import hub

    return lambda component, **more: hub.fetch(component, offline=False, endpoint=server.endpoint, **more)
